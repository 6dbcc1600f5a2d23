"""The event outbox: facts and their deliveries, written in the transaction of the change."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Prefetch
from django.db.models.signals import post_save

from common import content_types, journal
from common.db import database_now
from common.ids import first_id
from common.models import (
    DeliveryStatus,
    OutboxEvent,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from common.outbox import kicks
from common.outbox.types import event_types, subscribes

OPEN = (DeliveryStatus.PENDING, DeliveryStatus.SENDING)
FINISHED = (DeliveryStatus.DELIVERED, DeliveryStatus.FAILED)


@dataclass(frozen=True)
class Subject:
    """What an event is about: the values that endpoints filter by."""

    user_id: UUID | None = None
    batch_id: UUID | None = None
    content_type: str = ""


NO_SUBJECT = Subject()


def emit_event(
    *,
    event_type: str,
    idempotency_key: str,
    aggregate_type: str,
    aggregate_id: UUID,
    payload: dict[str, Any],
    subject: Subject = NO_SUBJECT,
) -> OutboxEvent:
    """Write an event and one delivery per subscribed endpoint in the caller's transaction.

    `payload` is the `data` of the envelope. If (event_type, idempotency_key) exists already, that
    event is returned and nothing is written. Raises RuntimeError outside a transaction, ValueError
    for an unregistered event type.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("emit_event must be called inside the transaction of the change.")
    if event_type not in event_types:
        raise ValueError(f"Unknown event type: {event_type}")
    event = OutboxEvent(
        event_type=event_type,
        idempotency_key=idempotency_key,
        aggregate_type=aggregate_type,
        aggregate_id=aggregate_id,
        payload=payload,
        **asdict(subject),
        **asdict(journal.origin()),
    )
    endpoints = _subscribed(event)
    if not endpoints:
        event.status = DeliveryStatus.DELIVERED
    if not _insert(event):
        return OutboxEvent.objects.get(event_type=event_type, idempotency_key=idempotency_key)
    journal.tell_after_commit(
        "event_emitted",
        event_id=event.id,
        event_type=event_type,
        about=f"{aggregate_type}:{aggregate_id}",
        deliveries=len(endpoints),
    )
    if endpoints:
        _deliver(event, endpoints)
    return event


_INSERT = """
    INSERT INTO outbox_event (id, created_at, updated_at, event_type, schema_version,
        aggregate_type, aggregate_id, idempotency_key, payload, user_id, batch_id, content_type,
        status, request_id, traceparent)
    VALUES (%s, statement_timestamp(), statement_timestamp(), %s, %s,
        %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (event_type, idempotency_key) DO NOTHING RETURNING created_at
"""


def _insert(event: OutboxEvent) -> bool:
    """Whether the event is new. One statement, because it runs for every stored file."""
    values: list[Any] = [
        event.id,
        event.event_type,
        event.schema_version,
        event.aggregate_type,
        event.aggregate_id,
        event.idempotency_key,
        json.dumps(event.payload, cls=DjangoJSONEncoder),
        event.user_id,
        event.batch_id,
        event.content_type,
        event.status,
        event.request_id,
        event.traceparent,
    ]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, values)
        row = cursor.fetchone()
    if row is None:
        return False
    event.created_at = event.updated_at = row[0]
    event._state.adding = False
    post_save.send(sender=OutboxEvent, instance=event, created=True)
    return True


def _subscribed(event: OutboxEvent) -> list[WebhookEndpoint]:
    """The endpoints that take an event, locked against removal until the commit.

    Otherwise a removal could break the delivery's foreign key and fail the whole transaction.
    Emitters share this lock, and changes of an endpoint do not wait for it.
    """
    endpoints = WebhookEndpoint.objects.raw(
        "SELECT id, event_types, content_types, user_id, batch_id, retry_schedule"
        " FROM webhook_endpoint"
        " WHERE is_active AND (expires_at IS NULL OR expires_at > statement_timestamp())"
        " FOR KEY SHARE"
    )
    return [endpoint for endpoint in endpoints if takes(endpoint, event)]


def _deliver(event: OutboxEvent, endpoints: list[WebhookEndpoint]) -> None:
    deliveries = [
        WebhookDelivery(
            event=event,
            endpoint_id=endpoint.id,
            due_at=event.created_at + timedelta(seconds=retry_schedule(endpoint)[0]),
        )
        for endpoint in endpoints
    ]
    WebhookDelivery.objects.bulk_create(deliveries)
    first = min(delivery.due_at for delivery in deliveries)
    # Robust: the change is committed by then, and a failed hint must not look like its failure.
    transaction.on_commit(lambda: kicks.request(first), robust=True)


def retry_schedule(endpoint: WebhookEndpoint) -> list[int]:
    """Seconds to wait before each attempt, including the first."""
    return endpoint.retry_schedule or settings.PORTAL_RETRY_SCHEDULE


def takes(endpoint: WebhookEndpoint, event: OutboxEvent) -> bool:
    """Whether an event passes all filters of an endpoint, enabled or not.

    A filter by content type does not apply to events that are not about a file.
    """
    return (
        subscribes(endpoint.event_types, event.event_type)
        and endpoint.user_id in (None, event.user_id)
        and endpoint.batch_id in (None, event.batch_id)
        and (
            not (event.content_type and endpoint.content_types)
            or content_types.matches(endpoint.content_types, event.content_type)
        )
    )


def events_of(*, aggregate_type: str, aggregate_id: UUID, limit: int = 50) -> list[OutboxEvent]:
    """An object's events, newest first, with deliveries, their endpoints and their attempts."""
    deliveries = (
        WebhookDelivery.objects.select_related("endpoint")
        .prefetch_related(Prefetch("attempts", WebhookAttempt.objects.order_by("number")))
        .order_by("id")
    )
    events = (
        OutboxEvent.objects.filter(aggregate_type=aggregate_type, aggregate_id=aggregate_id)
        .prefetch_related(Prefetch("deliveries", deliveries))
        .order_by("-id")
    )
    return list(events[:limit])


# Both take a list of events' ids. A change of deliveries locks their events first, in order of
# their ids: of two workers that finish the last two deliveries of one, the later then sees both.
LOCK = "SELECT id FROM outbox_event WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
ROLL_UP = """
    UPDATE outbox_event AS event SET status = rolled.status, updated_at = now()
    FROM (
        SELECT changed.id, CASE
            WHEN bool_or(delivery.status IN ('pending', 'sending'))
                THEN CASE WHEN max(attempt_count) > 0 THEN 'sending' ELSE 'pending' END
            WHEN bool_or(delivery.status = 'failed') THEN 'failed'
            ELSE 'delivered' END AS status
        FROM unnest(%s::uuid[]) AS changed(id)
        LEFT JOIN webhook_delivery AS delivery ON delivery.event_id = changed.id
        GROUP BY changed.id
    ) AS rolled
    WHERE event.id = rolled.id AND event.status <> rolled.status
"""


def lock(event_ids: Collection[UUID]) -> None:
    """Lock events before their deliveries are changed."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [list(event_ids)])


def roll_up(event_ids: Collection[UUID]) -> None:
    """Set the status of events from their deliveries, after these changed in this transaction.

    `sending` while some are open and one was tried, `failed` when all have ended and one failed.
    """
    if not event_ids:
        return
    lock(event_ids)
    with connection.cursor() as cursor:
        cursor.execute(ROLL_UP, [list(event_ids)])


def purge_events(limit: int) -> int:
    """Delete up to `limit` ended events older than OUTBOX_RETENTION_HOURS. Returns how many."""
    before = first_id(database_now() - timedelta(hours=settings.OUTBOX_RETENTION_HOURS))
    with transaction.atomic():
        old = OutboxEvent.objects.filter(status__in=FINISHED, id__lt=before)
        ids = list(old.locked().values_list("id", flat=True)[:limit])
        WebhookAttempt.objects.filter(delivery__event__in=ids).delete()
        OutboxEvent.objects.filter(id__in=ids).delete()
    return len(ids)


def purge_details(limit: int) -> int:
    """Delete headers and bodies of up to `limit` old attempts. Returns how many."""
    before = first_id(database_now() - timedelta(hours=settings.PORTAL_WEBHOOK_DETAIL_HOURS))
    detailed = WebhookAttempt.objects.filter(request_headers__isnull=False, id__lt=before)
    ids = list(detailed.order_by("id").values_list("id", flat=True)[:limit])
    WebhookAttempt.objects.filter(id__in=ids).update(
        request_headers=None, response_headers=None, response_body=""
    )
    return len(ids)
