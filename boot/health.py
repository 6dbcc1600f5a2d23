"""Whether the portal works, for load balancers, monitors and people.

`/healthz/` asks whether requests can be served, `/readyz/` whether everything does its work. The
details of a failure are in the log only. `/metrics` (`boot.metrics`) and `/probe/`
(`boot.reflection`) are answered here too.
"""

import logging
from collections.abc import Callable, Iterator

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from boot import lifeline, process_report, readiness
from boot.metrics import metrics
from boot.process_report import ProcessState
from boot.readiness import Outcome, Watched, look
from boot.reflection import PATH, reflect
from common.version import VERSION
from uploads.files.acceptance import viruses

logger = logging.getLogger(__name__)


class HealthMiddleware:
    """Answers before the host name is looked at: load balancers probe by address, not by name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return _VIEWS.get(request.path_info, self._get_response)(request)


@never_cache
@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """200 when requests can be served, else 503."""
    is_up = not _told(look("database", readiness.database)).problems
    return JsonResponse(
        {
            "status": "ok" if is_up else "unavailable",
            "database": "ok" if is_up else "unreachable",
            "version": VERSION,
        },
        status=200 if is_up else 503,
    )


@never_cache
@require_safe
def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when nothing is known to be wrong, else 503 with `problems`, a sentence each.

    `checks` has the outcome of each check and its time in milliseconds.
    """
    outcomes = [_told(outcome) for outcome in _outcomes()]
    supervisor = lifeline.supervisor()
    states = _process_states(supervisor)
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    if supervisor is not None and not states:
        problems.append("The supervisor does not tell which processes run.")
    problems += [_process_problem(name, state) for name, state in states.items() if not state.is_up]
    return JsonResponse(
        {
            "status": "unavailable" if problems else "ok",
            "checks": {
                outcome.name: {
                    "status": "failed" if outcome.problems else "ok",
                    "milliseconds": outcome.milliseconds,
                }
                for outcome in outcomes
            },
            "processes": {name: "up" if state.is_up else "down" for name, state in states.items()},
            "problems": list(dict.fromkeys(problems)),
            "version": VERSION,
        },
        status=503 if problems else 200,
    )


_migrations = readiness.Migrations()
_storage = Watched("storage", readiness.storage)
_broker = Watched("broker", readiness.broker)


def _outcomes() -> Iterator[Outcome]:
    """What needs the database is not asked while it does not answer."""
    database = look("database", readiness.database)
    yield database
    if not database.problems:
        yield look("migrations", _migrations.check)
        yield look("workers", readiness.workers)
    yield _broker.outcome()
    yield _storage.outcome()
    if viruses.is_on():
        yield readiness.watched_scanner.outcome()
    yield look("disk", readiness.disk)


def _told(outcome: Outcome) -> Outcome:
    if outcome.problems:
        logger.error("Not ready: %s: %s", outcome.name, outcome.detail)
    return outcome


def _process_problem(name: str, state: ProcessState) -> str:
    if not state.last_stop:
        return f"{name} has not started yet."
    times = "once" if state.stops_in_a_row == 1 else f"{state.stops_in_a_row} times in a row"
    return f"{name} is down. It has stopped {times}, at last with {state.last_stop}."


_VIEWS: dict[str, Callable[[HttpRequest], HttpResponseBase]] = {
    PATH: reflect,
    "/metrics": metrics,
    "/metrics/": metrics,
    "/healthz/": healthz,
    "/healthz": healthz,
    "/readyz/": readyz,
    "/readyz": readyz,
}


def _process_states(supervisor: int | None) -> dict[str, ProcessState]:
    """By name; none when the processes are looked after by somebody else."""
    if supervisor is None:
        return {}
    return process_report.read(settings.DOORITO_DATA_DIR, supervisor=supervisor) or {}
