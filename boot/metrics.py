"""`/metrics`, for Prometheus.

What lasts is counted by the database (`common.tallies`): it is the same whichever process or
machine is asked, also after a restart, so that of several web servers the `max` is to be taken.
Durations of requests and the pool of connections are those of the web server that answers, all its
processes together.
"""

import hmac
import ipaddress
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, Gauge, Histogram, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from accounts.client_address import client_address
from boot import heartbeats, metrics_files, readiness
from common import tallies
from common.db import DATABASE_GONE
from common.models import DeliveryStatus
from common.tallies import Count
from common.version import VERSION
from uploads.files.acceptance import viruses
from uploads.models import FileStatus, RunStatus, SessionStatus, Workflow

_DURATIONS = Histogram(
    "doorito_request_duration_seconds",
    "Requests, from their arrival to the beginning of their answer.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
_POOL = Gauge(
    "doorito_pool_connections",
    "Connections to the database of the web server's processes.",
    ["state"],
    multiprocess_mode="livesum",
)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_POOL_SECONDS = 1.0  # the pool is looked at so often, at the end of a request

_OLDEST_DELIVERY = """
    SELECT extract(epoch FROM statement_timestamp() - min(oldest.due_at))
    FROM webhook_endpoint AS endpoint CROSS JOIN LATERAL (
        SELECT due_at FROM webhook_delivery
        WHERE endpoint_id = endpoint.id AND status IN ('pending', 'sending')
        ORDER BY due_at LIMIT 1
    ) AS oldest WHERE oldest.due_at <= statement_timestamp()
"""
_OLDEST_RUN = """
    SELECT extract(epoch FROM statement_timestamp() - min(oldest.due_at))
    FROM workflow CROSS JOIN LATERAL (
        SELECT due_at FROM workflow_run
        WHERE workflow_id = workflow.id AND status = 'pending' ORDER BY due_at LIMIT 1
    ) AS oldest WHERE oldest.due_at <= statement_timestamp()
"""

# Files that are read through first are among them.
_OLDEST_CHECK = """
    SELECT extract(epoch FROM statement_timestamp() - min(finalizing_at)) FROM upload_session
    WHERE status IN ('init', 'in_progress') AND finalizing_at IS NOT NULL
"""

# --- Of requests ----------------------------------------------------------------------------------


class _PoolWatch:
    next_look = 0.0  # monotonic


def note_request(*, method: str, route: str, status: int, seconds: float) -> None:
    """Count a request. `route` is the pattern of its address, not the address."""
    known = method if method in _METHODS else "other"
    _DURATIONS.labels(known, route, f"{status // 100}xx").observe(seconds)
    if time.monotonic() >= _PoolWatch.next_look:
        _PoolWatch.next_look = time.monotonic() + _POOL_SECONDS
        _note_pool()


def _note_pool() -> None:
    pool = connection.pool  # type: ignore[attr-defined]  # of PostgreSQL's backend
    if pool is None:
        return
    stats = pool.get_stats()
    size, idle = stats["pool_size"], stats["pool_available"]
    _POOL.labels("used").set(size - idle)
    _POOL.labels("idle").set(idle)
    _POOL.labels("waited_for").set(stats["requests_waiting"])
    _POOL.labels("limit").set(stats["pool_max"])


# --- Of the database ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Counts:
    """Counts by kind, with zeros for states that were never met."""

    counts: list[Count]

    def present(self, kind: str, states: Iterable[str], *, amount: bool = False) -> dict[str, int]:
        found = dict.fromkeys(map(str, states), 0)
        for count in self.of(kind):
            found[count.state] = count.present_amount if amount else count.present
        return found

    def entered(self, kind: str, states: Iterable[str]) -> dict[str, int]:
        found = dict.fromkeys(map(str, states), 0)
        return found | {count.state: count.entered for count in self.of(kind)}

    def of(self, kind: str) -> list[Count]:
        return [count for count in self.counts if count.kind == kind]


class DatabaseCollector(Collector):
    """Asks the database at each scrape; a few statements, whatever the number of rows."""

    def collect(self) -> Iterator[Metric]:
        try:
            families = [*self._families()]
        except DATABASE_GONE:
            yield _gauge("doorito_database_up", "Whether the database answers.", 0)
            return
        yield _gauge("doorito_database_up", "Whether the database answers.", 1)
        yield from families

    def _families(self) -> Iterator[Metric]:
        tallies.fold()
        counts = _Counts(tallies.read())
        yield from _files(counts)
        yield from _deliveries(counts)
        yield from _runs(counts)
        yield from _tasks(counts)
        yield _heartbeats()
        yield _gauge(
            "doorito_oldest_checking_seconds",
            "How long the file waits that has been checked for longest; 0 if there is none.",
            _age(_OLDEST_CHECK),
        )


class MachineCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        version = GaugeMetricFamily("doorito_info", "The portal's version.", labels=["version"])
        version.add_metric([VERSION], 1)
        yield version
        disk = shutil.disk_usage(settings.DOORITO_DATA_DIR)
        reserve = settings.PORTAL_DISK_RESERVE
        yield _gauge("doorito_disk_size_bytes", "The data directory's disk.", disk.total)
        yield _gauge("doorito_disk_free_bytes", "What is free of it.", disk.free)
        yield _gauge("doorito_disk_reserve_bytes", "What uploads leave free of it.", reserve)
        if viruses.is_on():
            up = not readiness.watched_scanner.outcome().problems
            yield _gauge("doorito_scanner_up", "Whether the virus scanner answers.", up)


def _files(counts: _Counts) -> Iterator[Metric]:
    stored = [count for count in counts.of("file") if count.state == FileStatus.STORED]
    uploads = sum(count.entered for count in stored)
    size = sum(count.entered_amount for count in stored)
    yield _counter("doorito_uploads", "Files stored so far.", uploads)
    yield _counter("doorito_uploaded_bytes", "Their bytes.", size)
    yield _by_state(
        "doorito_files",
        "Files in each state; deleted ones are kept as rows only.",
        counts.present("file", FileStatus),
    )
    yield _by_state(
        "doorito_file_bytes",
        "Bytes of files in each state; uploading ones count as announced.",
        counts.present("file", FileStatus, amount=True),
    )
    yield _counters_by_state(
        "doorito_file_transitions",
        "Files that came into each state.",
        counts.entered("file", FileStatus),
    )
    yield _by_state(
        "doorito_sessions",
        "Upload sessions in each state.",
        counts.present("session", SessionStatus),
    )
    yield _counters_by_state(
        "doorito_session_transitions",
        "Upload sessions that came into each state.",
        counts.entered("session", SessionStatus),
    )


def _deliveries(counts: _Counts) -> Iterator[Metric]:
    yield _by_state(
        "doorito_deliveries",
        "Deliveries of events in each state.",
        counts.present("delivery", DeliveryStatus),
    )
    ended = (DeliveryStatus.DELIVERED, DeliveryStatus.FAILED)
    entered = counts.entered("delivery", DeliveryStatus)
    yield _counters_by_state(
        "doorito_delivery_outcomes",
        "Deliveries that ended, by their outcome.",
        {str(state): entered[state] for state in ended},
    )
    yield _counters_by_state(
        "doorito_delivery_attempts",
        "Attempts of deliveries, by their outcome.",
        counts.entered("attempt", ended),
    )
    yield _gauge(
        "doorito_oldest_pending_delivery_seconds",
        "How long the delivery waits that has been due for longest; 0 if none is due.",
        _age(_OLDEST_DELIVERY),
    )


def _runs(counts: _Counts) -> Iterator[Metric]:
    tasks = {str(pk): task for pk, task in Workflow.objects.values_list("id", "task_name")}
    present: dict[tuple[str, ...], int] = {}
    for count in counts.of("run"):
        key = (count.state, tasks.get(count.label, "(gone)"))
        present[key] = present.get(key, 0) + count.present
    for task in tasks.values():
        for state in (RunStatus.PENDING, RunStatus.RUNNING):
            present.setdefault((str(state), task), 0)
    runs = GaugeMetricFamily(
        "doorito_runs", "Runs in each state, by their task.", labels=["state", "task"]
    )
    for labels, value in sorted(present.items()):
        runs.add_metric(labels, value)
    yield runs
    ended = CounterMetricFamily(
        "doorito_run_transitions",
        "Runs that came into each state, by their task.",
        labels=["state", "task"],
    )
    for count in counts.of("run_task"):
        ended.add_metric([count.state, count.label], count.entered)
    yield ended
    yield _gauge(
        "doorito_oldest_pending_run_seconds",
        "How long the run waits that has been due for longest; 0 if none is due.",
        _age(_OLDEST_RUN),
    )


def _tasks(counts: _Counts) -> Iterator[Metric]:
    labels = ["task", "outcome"]
    ended = CounterMetricFamily(
        "doorito_tasks", "Tasks of the background, sweeps above all, that ended.", labels=labels
    )
    seconds = CounterMetricFamily("doorito_task_seconds", "What they took.", labels=labels)
    last = GaugeMetricFamily(
        "doorito_task_last_success_timestamp_seconds",
        "When a task last succeeded, by the database's clock.",
        labels=["task"],
    )
    for count in counts.of("task"):
        ended.add_metric([count.label, count.state], count.entered)
        seconds.add_metric([count.label, count.state], count.entered_amount / 1000)
        if count.state == "succeeded":
            last.add_metric([count.label], count.at.timestamp())
    yield from (ended, seconds, last)


def _heartbeats() -> Metric:
    ages: dict[str, float] = {}
    for sign in heartbeats.read():
        for served in sign.serves:
            ages[served] = min(ages.get(served, sign.seconds_ago), sign.seconds_ago)
    family = GaugeMetricFamily(
        "doorito_heartbeat_age_seconds",
        "When a worker of each queue, and the scheduler (beat), was last heard of.",
        labels=["serves"],
    )
    for served, age in sorted(ages.items()):
        family.add_metric([served], age)
    return family


def _age(statement: str) -> float:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        (seconds,) = cursor.fetchone()
    return float(seconds or 0)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(name, about, value=value)


def _by_state(name: str, about: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=["state"])
    for state, value in values.items():
        family.add_metric([state], value)
    return family


def _counters_by_state(name: str, about: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, about, labels=["state"])
    for state, value in values.items():
        family.add_metric([state], value)
    return family


# --- The answer -----------------------------------------------------------------------------------


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics, to whoever has the token or asks from an address that may."""
    if not _may_read(request):
        said = "Metrics are for PORTAL_METRICS_NETWORKS, or with the token PORTAL_METRICS_TOKEN.\n"
        return HttpResponse(said, status=403, content_type="text/plain; charset=utf-8")
    encode, content_type = exposition.choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(_registry()), content_type=content_type)


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    if metrics_files.folder is not None:
        MultiProcessCollector(registry, path=str(metrics_files.folder))
    else:
        registry.register(_DURATIONS)
        registry.register(_POOL)
    registry.register(MachineCollector())
    registry.register(DatabaseCollector())
    return registry


def _may_read(request: HttpRequest) -> bool:
    token = settings.PORTAL_METRICS_TOKEN
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if token and scheme.lower() == "bearer":
        return hmac.compare_digest(given.strip().encode(), token.encode())
    address = client_address(request)
    try:
        client = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(client in ipaddress.ip_network(net) for net in settings.PORTAL_METRICS_NETWORKS)
