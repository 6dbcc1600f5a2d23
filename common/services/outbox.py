"""The event outbox: facts and their deliveries, written in the transaction of the change."""

import json
from collections.abc import Iterable
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import Case, Exists, OuterRef, Prefetch, Value, When
from django.utils import timezone

from common.models import (
    DeliveryStatus,
    OutboxEvent,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from common.services import kicks

EVENT_TYPES = frozenset(
    {
        "file.uploaded",
        "file.expiring",
        "file.processed",
        "file.deleted",
        "file.failed",
        "batch.completed",
        "workflow_run.completed",
        "workflow_run.failed",
        "webhook.test",
        "webhook.disabled",
    }
)
OPEN = (DeliveryStatus.PENDING, DeliveryStatus.SENDING)
FINISHED = (DeliveryStatus.DELIVERED, DeliveryStatus.FAILED)

_PENDING, _SENDING, _DELIVERED, _FAILED = map(Value, DeliveryStatus.values)


def emit_event(
    *,
    event_type: str,
    idempotency_key: str,
    aggregate_type: str,
    aggregate_id: UUID,
    payload: dict[str, Any],
) -> OutboxEvent:
    """Write a fact and one delivery per subscribed endpoint into the caller's transaction.

    `payload` is the `data` of the envelope. A repeated (event_type, idempotency_key) is the same
    fact: the event that stands is returned and nothing is written. Raises RuntimeError outside a
    transaction, ValueError for an event type that receivers cannot know.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("emit_event must be called inside the transaction of the change.")
    if event_type not in EVENT_TYPES:
        raise ValueError(f"Unknown event type: {event_type}")
    event, is_new = OutboxEvent.objects.get_or_create(
        event_type=event_type,
        idempotency_key=idempotency_key,
        defaults={
            "aggregate_type": aggregate_type,
            "aggregate_id": aggregate_id,
            "payload": payload,
        },
    )
    if is_new:
        _subscribe(event)
    return event


def _subscribe(event: OutboxEvent) -> None:
    due_at = timezone.now() + timedelta(seconds=settings.PORTAL_RETRY_SCHEDULE[0])
    # Locked against removal until the commit, or the delivery's foreign key would fail there and
    # take the reported change with it. Emitters share this lock; changes of an endpoint pass it.
    endpoints = WebhookEndpoint.objects.raw(
        "SELECT id, event_types FROM webhook_endpoint WHERE is_active FOR KEY SHARE"
    )
    deliveries = [
        WebhookDelivery(event=event, endpoint_id=endpoint.id, due_at=due_at)
        for endpoint in endpoints
        if subscribes(endpoint.event_types, event.event_type)
    ]
    if not deliveries:
        event.status = DeliveryStatus.DELIVERED
        event.save(update_fields=["status", "updated_at"])
        return
    WebhookDelivery.objects.bulk_create(deliveries)
    # Robust: the change is committed by then, and a failed hint must not look like its failure.
    transaction.on_commit(lambda: kicks.request(due_at), robust=True)


def subscribes(patterns: Iterable[str], event_type: str) -> bool:
    """Whether an endpoint's filter (`file.uploaded`, `file.*`, nothing for all) takes a type."""
    patterns = list(patterns)
    return not patterns or any(
        pattern in ("*", event_type)
        or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
        for pattern in patterns
    )


def envelope(event: OutboxEvent) -> dict[str, Any]:
    """What a receiver gets: the payload in the shape of Standard Webhooks."""
    return {
        "id": str(event.id),
        "type": event.event_type,
        "timestamp": event.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "schema_version": event.schema_version,
        "data": event.payload,
    }


def body(event: OutboxEvent) -> bytes:
    """The envelope's bytes, the same on every attempt: jsonb keeps no order, so keys are sorted."""
    return json.dumps(
        envelope(event),
        cls=DjangoJSONEncoder,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()


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


def roll_up(event_ids: Iterable[UUID]) -> None:
    """Set events' status from their deliveries', after a change of these in this transaction.

    `sending` while some are open and one was tried, `failed` when all are over and one failed.
    The rows are locked first, in a statement of their own: of two workers that finish an event's
    last two deliveries, the later one then sees both.
    """
    ids = list(event_ids)
    events = OutboxEvent.objects.filter(id__in=ids)
    list(events.select_for_update(no_key=True).order_by("id").values_list("id"))
    own = WebhookDelivery.objects.filter(event=OuterRef("pk"))
    is_open = Exists(own.filter(status__in=OPEN))
    events.update(
        status=Case(
            When(is_open & Exists(own.filter(attempt_count__gt=0)), then=_SENDING),
            When(is_open, then=_PENDING),
            When(Exists(own.filter(status=DeliveryStatus.FAILED)), then=_FAILED),
            default=_DELIVERED,
        )
    )


def purge_events(limit: int) -> int:
    """Delete up to `limit` finished events older than OUTBOX_RETENTION_HOURS; how many it were."""
    before = timezone.now() - timedelta(hours=settings.OUTBOX_RETENTION_HOURS)
    with transaction.atomic():
        old = OutboxEvent.objects.filter(status__in=FINISHED, created_at__lt=before)
        ids = list(old.locked().values_list("id", flat=True)[:limit])
        WebhookAttempt.objects.filter(delivery__event__in=ids).delete()
        OutboxEvent.objects.filter(id__in=ids).delete()
    return len(ids)
