"""Events, endpoints and deliveries for tests; every one is new unless it is named."""

from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from common.ids import uuid7
from common.models import DeliveryStatus, OutboxEvent, WebhookDelivery, WebhookEndpoint
from common.services import outbox, webhook

_numbers = count(1)


def make_endpoint(*, url: str = "http://127.0.0.1:9/hook", **fields: Any) -> WebhookEndpoint:
    """An endpoint as it stands in the database, whatever the guard says of its URL."""
    fields.setdefault("secret", webhook.new_secret())
    return WebhookEndpoint.objects.create(url=url, **fields)


def make_event(
    *,
    event_type: str = "file.uploaded",
    idempotency_key: str | None = None,
    aggregate_type: str = "file",
    aggregate_id: UUID | None = None,
    payload: dict[str, Any] | None = None,
) -> OutboxEvent:
    """An event, emitted and committed, with a delivery for each endpoint there is."""
    with transaction.atomic():
        return outbox.emit_event(
            event_type=event_type,
            idempotency_key=idempotency_key or f"key-{next(_numbers)}",
            aggregate_type=aggregate_type,
            aggregate_id=aggregate_id or uuid7(),
            payload={"file": {"size_bytes": 3}} if payload is None else payload,
        )


def make_delivery(
    *,
    endpoint: WebhookEndpoint | None = None,
    status: DeliveryStatus = DeliveryStatus.PENDING,
    due_at: datetime | None = None,
    **fields: Any,
) -> WebhookDelivery:
    """A delivery of an event of its own, due since a second."""
    event = OutboxEvent.objects.create(
        event_type="file.uploaded",
        idempotency_key=f"key-{next(_numbers)}",
        aggregate_type="file",
        aggregate_id=uuid7(),
        payload={"file": {"size_bytes": 3}},
    )
    return WebhookDelivery.objects.create(
        event=event,
        endpoint=endpoint or make_endpoint(),
        status=status,
        due_at=due_at or timezone.now() - timedelta(seconds=1),
        **fields,
    )
