"""Claims due deliveries, sends them and records what became of them.

A delivery is claimed by a lease, in a short transaction of its own; it is sent with no transaction
open; its result is written only while the lease still stands. A worker that dies in between loses
nothing: the lease ends and another sends the same event, with the same id, again.
"""

import logging
import random
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import Error, transaction
from django.db.models import F, Min, OuterRef, QuerySet, Subquery
from django.utils import timezone

from common.errors import DooritoError
from common.ids import uuid7
from common.models import (
    DeliveryStatus,
    OutboxEvent,
    TimeStampedQuerySet,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from common.services import endpoints, kicks, outbox, webhook

logger = logging.getLogger(__name__)

SENDERS = 32  # deliveries that one run has under way at once
SENDERS_PER_ENDPOINT = 8  # so that endpoints that hang leave room for the others
RUN_SECONDS = 30.0  # then the run ends, so that a worker can be stopped; another kick goes on
POLL_SECONDS = 0.25  # how often a run that waits for slow receivers looks for new deliveries
LEASE_MARGIN = timedelta(seconds=30)  # beyond the send's timeout: name resolution, a busy machine
RETRY_AFTER_MAX = timedelta(hours=24)
JITTER = 0.2
EXHAUSTED = "No attempt of the retry schedule is left."
# What recording can raise; a stop from outside, such as a task's time limit, is none of these.
RECORDING_FAULTS = (Error, ArithmeticError, ValueError)

InFlight = dict[Future[webhook.Result], WebhookDelivery]


def run(*, seconds: float = RUN_SECONDS, senders: int = SENDERS) -> int:
    """Send what is due until nothing is, or `seconds` are over; how many results were recorded.

    Asks for another run at the time of the next retry, when the sweep would come later.
    """
    recorded = 0
    end = monotonic() + seconds
    with ThreadPoolExecutor(senders, thread_name_prefix="webhook") as pool:
        in_flight: InFlight = {}
        try:
            while True:
                claimed = _start(pool, in_flight, senders) if monotonic() < end else 0
                if not in_flight:
                    break
                # A full claim may have left more that is due; take that before waiting long.
                recorded += _finish(in_flight, timeout=0 if claimed else POLL_SECONDS)
        finally:
            # Also when the task is told to stop: what was sent is recorded.
            while in_flight:
                recorded += _finish(in_flight, timeout=None)
    _ask_for_next_run()
    return recorded


def _start(pool: ThreadPoolExecutor, in_flight: InFlight, senders: int) -> int:
    """Claim and begin as many deliveries as there is room for."""
    busy = Counter(delivery.endpoint_id for delivery in in_flight.values())
    claimed = claim(limit=senders - len(in_flight), busy=busy)
    for delivery in claimed:
        in_flight[pool.submit(_attempt, delivery)] = delivery
    return len(claimed)


def _attempt(delivery: WebhookDelivery) -> webhook.Result:
    """Send a leased delivery, without the database. A secret that is unreadable is a failure."""
    started_at = timezone.now()
    try:
        message = _message(delivery)
    except DooritoError as exc:
        return webhook.failure(exc.message, started_at=started_at)
    return webhook.send(message)


def _finish(in_flight: InFlight, *, timeout: float | None) -> int:
    done, _ = wait(in_flight, timeout=timeout, return_when=FIRST_COMPLETED)
    for future in done:
        # A stop from outside leaves it in flight, so that what was sent is still recorded.
        _conclude(in_flight[future], future)
        del in_flight[future]
    return len(done)


def _conclude(delivery: WebhookDelivery, future: Future[webhook.Result]) -> None:
    """Record what became of a delivery. A fault on the way costs no other delivery its result."""
    fault = future.exception()
    if fault is None:
        try:
            record(delivery, future.result())
            return
        except RECORDING_FAULTS as exc:
            fault = exc
    logger.error("Delivery %s has no usable result", delivery.id, exc_info=fault)
    failure = webhook.failure(webhook.internal_error(fault), started_at=timezone.now())
    try:
        record(delivery, failure)
    except RECORDING_FAULTS:
        logger.exception("Delivery %s is left to the end of its lease", delivery.id)


def _message(delivery: WebhookDelivery) -> webhook.Message:
    return webhook.Message(
        url=delivery.endpoint.url,
        secrets=[delivery.endpoint.secret],
        event_id=delivery.event_id,
        event_type=delivery.event.event_type,
        delivery_id=delivery.id,
        body=outbox.body(delivery.event),
    )


def _ask_for_next_run() -> None:
    own = open_deliveries().filter(endpoint=OuterRef("pk")).order_by("due_at").values("due_at")
    next_due = WebhookEndpoint.objects.aggregate(next=Min(Subquery(own[:1])))["next"]
    sweep = timezone.now() + timedelta(minutes=settings.OUTBOX_SWEEP_INTERVAL_MINUTES)
    if next_due is not None and next_due < sweep:
        kicks.request(next_due)


def open_deliveries() -> TimeStampedQuerySet:
    """What is not over yet; the partial index `webhook_delivery_due` has exactly these rows."""
    return WebhookDelivery.objects.filter(status__in=outbox.OPEN)


def _lock_due(*, limit: int, full: list[UUID]) -> list[WebhookDelivery]:
    """Lock what may be claimed now, oldest first: retries that are due and leases that ended.

    Each endpoint but the full ones offers no more than one worker's share of it, so that the cost
    does not grow with what waits for any of them.
    """
    return list(
        WebhookDelivery.objects.raw(
            "SELECT due.* FROM webhook_endpoint AS endpoint CROSS JOIN LATERAL ("
            " SELECT * FROM webhook_delivery WHERE endpoint_id = endpoint.id"
            " AND status IN ('pending', 'sending') AND due_at <= %(now)s"
            " ORDER BY due_at LIMIT %(share)s FOR UPDATE SKIP LOCKED"
            ") AS due WHERE endpoint.id <> ALL(%(full)s::uuid[])"
            " ORDER BY due.due_at LIMIT %(limit)s",
            {
                "now": timezone.now(),
                "share": SENDERS_PER_ENDPOINT,
                "full": full,
                "limit": limit,
            },
        )
    )


def claim(*, limit: int, busy: Counter[UUID]) -> list[WebhookDelivery]:
    """Take up to `limit` due deliveries for this worker, with event and endpoint loaded.

    `busy` counts the worker's deliveries under way by endpoint; none gets more than its share.
    """
    if limit <= 0:
        return []
    full = [endpoint for endpoint, count in busy.items() if count >= SENDERS_PER_ENDPOINT]
    while True:
        with transaction.atomic(durable=True):
            due = _lock_due(limit=limit, full=full)
            claimed = lease(_share(_without_exhausted(_without_disabled(due)), busy))
        if claimed or not due:
            return claimed


def _without_disabled(due: list[WebhookDelivery]) -> list[WebhookDelivery]:
    """Deliveries to active endpoints; the others fail here, without an attempt."""
    endpoint_ids = {delivery.endpoint_id for delivery in due}
    active = set(
        WebhookEndpoint.objects.filter(id__in=endpoint_ids, is_active=True).values_list(
            "id", flat=True
        )
    )
    disabled = [d for d in due if d.endpoint_id not in active]
    endpoints.fail_deliveries(disabled, error=endpoints.DISABLED)
    return [d for d in due if d.endpoint_id in active]


def _without_exhausted(due: list[WebhookDelivery]) -> list[WebhookDelivery]:
    """Deliveries with an attempt left; the others fail here, or they would be sent for ever.

    They are here because a worker died in the last attempt, or the schedule was shortened.
    """
    steps = len(settings.PORTAL_RETRY_SCHEDULE)
    exhausted = [d for d in due if d.schedule_step >= steps]
    endpoints.fail_deliveries(exhausted, error=EXHAUSTED)
    return [d for d in due if d.schedule_step < steps]


def _share(due: list[WebhookDelivery], busy: Counter[UUID]) -> list[WebhookDelivery]:
    counts = busy.copy()
    share = []
    for delivery in due:
        if counts[delivery.endpoint_id] < SENDERS_PER_ENDPOINT:
            counts[delivery.endpoint_id] += 1
            share.append(delivery)
    return share


def lease(deliveries: list[WebhookDelivery]) -> list[WebhookDelivery]:
    """Mark locked rows as this worker's until the lease ends; they count as attempted from now."""
    if not deliveries:
        return []
    lease_id = uuid7()
    rows = WebhookDelivery.objects.filter(id__in=[delivery.id for delivery in deliveries])
    rows.update(
        status=DeliveryStatus.SENDING,
        lease_id=lease_id,
        due_at=timezone.now() + _lease_time(),
        attempt_count=F("attempt_count") + 1,
        schedule_step=F("schedule_step") + 1,
    )
    leased = {row.id: row for row in rows.select_related("event", "endpoint")}
    return [leased[delivery.id] for delivery in deliveries]


def _lease_time() -> timedelta:
    return timedelta(seconds=settings.PORTAL_WEBHOOK_TIMEOUT_SECONDS) + LEASE_MARGIN


def record(delivery: WebhookDelivery, result: webhook.Result) -> WebhookAttempt | None:
    """Write an attempt and what follows from it; None when the lease was lost: then nothing is."""
    if result.is_gone:
        # Before the delivery is over: a crash in between sends once more and hears 410 again.
        endpoints.deactivate(delivery.endpoint_id)
    held = WebhookDelivery.objects.filter(
        id=delivery.id, lease_id=delivery.lease_id, status=DeliveryStatus.SENDING
    )
    with transaction.atomic():
        if not held.change(lease_id=None, last_error=result.error, **_outcome(delivery, result)):
            logger.warning("Delivery %s: the lease was lost, its result is dropped", delivery.id)
            return None
        attempt = WebhookAttempt.objects.create(
            delivery=delivery,
            number=delivery.attempt_count,
            started_at=result.started_at,
            duration_ms=result.duration_ms,
            response_status=result.status,
            response_body=result.body,
            error=result.error,
        )
        outbox.roll_up([delivery.event_id])
    return attempt


def _outcome(delivery: WebhookDelivery, result: webhook.Result) -> dict[str, Any]:
    now = timezone.now()
    if result.is_delivered:
        return {"status": DeliveryStatus.DELIVERED, "delivered_at": now}
    schedule = settings.PORTAL_RETRY_SCHEDULE
    if result.is_gone or delivery.schedule_step >= len(schedule):
        return {"status": DeliveryStatus.FAILED}
    pause = retry_pause(schedule[delivery.schedule_step], result)
    return {"status": DeliveryStatus.PENDING, "due_at": now + pause}


def retry_pause(scheduled: float, result: webhook.Result) -> timedelta:
    """The wait before the next attempt: `scheduled` seconds with jitter, or what was asked for.

    `Retry-After` counts with 429 and 503 only, never shortens a wait, and ends at a day.
    """
    jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, keeps no secret
    pause = timedelta(seconds=scheduled * jitter)
    if result.status in (429, 503) and result.retry_after is not None:
        return max(pause, min(timedelta(seconds=result.retry_after), RETRY_AFTER_MAX))
    return pause


def retry_failed(deliveries: QuerySet[WebhookDelivery]) -> int:
    """Start failed deliveries to active endpoints again, from the first step; how many it were."""
    failed = deliveries.filter(status=DeliveryStatus.FAILED, endpoint__is_active=True)
    with transaction.atomic():
        now = timezone.now()
        event_ids = set(failed.values_list("event_id", flat=True))
        # Events before deliveries, the order in which the purge locks them.
        list(
            OutboxEvent.objects.filter(id__in=event_ids)
            .select_for_update(no_key=True)
            .order_by("id")
            .values_list("id")
        )
        started = failed.filter(event__in=event_ids).update(
            status=DeliveryStatus.PENDING, due_at=now, schedule_step=0
        )
        outbox.roll_up(event_ids)
        transaction.on_commit(lambda: kicks.request(now), robust=True)
    return started


def send_test(*, endpoint_id: UUID) -> WebhookAttempt:
    """Send `webhook.test` to one endpoint, once and at once; what came of it.

    It is an event like any other in the lists, except that it is not tried again.
    Raises NotFound `webhook_not_found`.
    """
    endpoint = endpoints.get(endpoint_id=endpoint_id)
    with transaction.atomic():
        event_id = uuid7()
        event = OutboxEvent.objects.create(
            id=event_id,
            event_type="webhook.test",
            idempotency_key=str(event_id),
            aggregate_type="webhook",
            aggregate_id=endpoint.id,
            payload={"webhook": {"id": endpoint.id, "url": endpoint.url}},
        )
        delivery = WebhookDelivery.objects.create(
            event=event,
            endpoint=endpoint,
            due_at=timezone.now(),
            schedule_step=len(settings.PORTAL_RETRY_SCHEDULE),
        )
        (delivery,) = lease([delivery])
    attempt = record(delivery, _attempt(delivery))
    if attempt is None:
        raise endpoints.not_found(endpoint_id)
    return attempt
