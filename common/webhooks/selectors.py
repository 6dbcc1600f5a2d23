"""Queries of events, deliveries and health of endpoints. For staff: of all users."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from common.errors import InvalidInput, NotFound
from common.ids import first_id
from common.models import DeliveryStatus, OutboxEvent, WebhookAttempt, WebhookDelivery
from common.pagination import Page, paginate

ATTEMPTS_SHOWN = 100
HEALTH_WINDOW = timedelta(hours=24)
HEALTH_ATTEMPTS = 1000  # at most, so that the cost is bounded
BACKLOG_CAP = 1000


@dataclass(frozen=True)
class Health:
    """The health of an endpoint, from up to 1,000 attempts of the last 24 hours.

    `success_rate` is 0 to 1. Times are in milliseconds. `backlog` counts deliveries that wait or
    are being sent, up to 1,000.
    """

    attempts: int = 0
    success_rate: float | None = None
    p95_ms: int | None = None
    last_attempt_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_error: str = ""
    backlog: int = 0


_HEALTH = """
    SELECT endpoint.id, count(recent.id) AS attempts,
        avg((recent.error = '')::int)::float AS success_rate,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY recent.duration_ms)::int AS p95_ms,
        max(recent.started_at) AS last_attempt_at,
        max(recent.started_at) FILTER (WHERE recent.error <> '') AS last_failure_at,
        coalesce((array_agg(recent.error ORDER BY recent.id DESC)
            FILTER (WHERE recent.error <> ''))[1], '') AS last_error,
        (SELECT count(*) FROM (
            SELECT 1 FROM webhook_delivery WHERE endpoint_id = endpoint.id
            AND status IN ('pending', 'sending') LIMIT %(backlog)s) AS waiting) AS backlog
    FROM webhook_endpoint AS endpoint LEFT JOIN LATERAL (
        SELECT id, started_at, duration_ms, error FROM webhook_attempt
        WHERE endpoint_id = endpoint.id AND id >= %(since)s ORDER BY id DESC LIMIT %(attempts)s
    ) AS recent ON true
    WHERE endpoint.id = ANY(%(endpoints)s::uuid[]) GROUP BY endpoint.id
"""


def health_of(endpoint_ids: Collection[UUID]) -> dict[UUID, Health]:
    """The health of some endpoints, by id."""
    with connection.cursor() as cursor:
        cursor.execute(
            _HEALTH,
            {
                "since": first_id(timezone.now() - HEALTH_WINDOW),
                "attempts": HEALTH_ATTEMPTS,
                "backlog": BACKLOG_CAP,
                "endpoints": list(endpoint_ids),
            },
        )
        return {row[0]: Health(*row[1:]) for row in cursor.fetchall()}


def events_page(
    *,
    event_type: str | None = None,
    status: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[OutboxEvent]:
    """All events, newest first. Raises InvalidInput `invalid_status` or `invalid_cursor`."""
    events = OutboxEvent.objects.all()
    if event_type:
        events = events.filter(event_type=event_type)
    if status:
        events = events.filter(status=_known(status))
    return paginate(events, cursor=cursor, limit=limit)


def events_after(event_id: UUID, *, limit: int = 1000) -> list[OutboxEvent]:
    """The events after an id, oldest first. `first_id` gives the id of a moment."""
    events = OutboxEvent.objects.filter(id__gt=event_id)
    return list(events.order_by("id")[:limit])


def get_event(*, event_id: UUID) -> OutboxEvent:
    """An event with its deliveries and their endpoints. Raises NotFound `event_not_found`."""
    deliveries = WebhookDelivery.objects.select_related("endpoint").order_by("id")
    events = OutboxEvent.objects.prefetch_related(Prefetch("deliveries", deliveries))
    event = events.filter(id=event_id).first()
    if event is None:
        raise event_not_found(event_id)
    return event


def event_not_found(event_id: UUID) -> NotFound:
    return NotFound("event_not_found", f"There is no event {event_id}.")


def deliveries_page(
    *,
    endpoint_id: UUID | None = None,
    status: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[WebhookDelivery]:
    """Deliveries, newest first, with event and endpoint.

    Raises InvalidInput `invalid_status` or `invalid_cursor`.
    """
    deliveries = _deliveries()
    if endpoint_id:
        deliveries = deliveries.filter(endpoint_id=endpoint_id)
    if status:
        deliveries = deliveries.filter(status=_known(status))
    return paginate(deliveries, cursor=cursor, limit=limit)


def get_delivery(*, delivery_id: UUID) -> WebhookDelivery:
    """Raises NotFound `delivery_not_found`."""
    delivery = _deliveries().filter(id=delivery_id).first()
    if delivery is None:
        raise NotFound("delivery_not_found", f"There is no delivery {delivery_id}.")
    return delivery


def attempts_of(delivery: WebhookDelivery) -> list[WebhookAttempt]:
    """The newest attempts first, a bounded number of them."""
    attempts = WebhookAttempt.objects.filter(delivery=delivery)
    return list(attempts.order_by("-number")[:ATTEMPTS_SHOWN])


def _deliveries() -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.select_related("event", "endpoint")


def _known(status: str) -> str:
    if status not in DeliveryStatus.values:
        choices = ", ".join(DeliveryStatus.values)
        raise InvalidInput("invalid_status", f"status is one of {choices}")
    return status
