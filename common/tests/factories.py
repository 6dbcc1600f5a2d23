"""Endpoints, events, deliveries and attempts for tests; every one is new unless it is named."""

import dataclasses
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from django.db import models, transaction
from django.utils import timezone

from common.ids import first_id, uuid7
from common.models import (
    DeliveryStatus,
    OutboxEvent,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from common.outbox import events
from common.outbox import schemas as event_schemas
from common.webhooks import sending
from common.webhooks.endpoint_settings import EndpointSettings

_numbers = count(1)


def make_endpoint(*, url: str = "http://127.0.0.1:9/hook", **fields: Any) -> WebhookEndpoint:
    """An endpoint as it stands in the database, whatever the guard says of its URL."""
    fields.setdefault("secret", sending.new_secret())
    return WebhookEndpoint.objects.create(url=url, **fields)


def chosen_of(endpoint: WebhookEndpoint) -> EndpointSettings:
    """What was chosen about an endpoint."""
    return EndpointSettings(
        **{
            field.name: getattr(endpoint, field.name)
            for field in dataclasses.fields(EndpointSettings)
        }
    )


def make_earlier_endpoint(**fields: Any) -> WebhookEndpoint:
    """One that was there, but disabled, when the events of the last days happened."""
    return make_older(make_endpoint(**fields), hours=100)


def make_payload(event_type: str = "file.uploaded") -> dict[str, Any]:
    """What is valid as the data of such an event."""
    return event_schemas.example(event_type)["data"]


def make_event(
    *,
    event_type: str = "file.uploaded",
    idempotency_key: str | None = None,
    aggregate_type: str = "file",
    aggregate_id: UUID | None = None,
    payload: dict[str, Any] | None = None,
    subject: events.Subject = events.NO_SUBJECT,
) -> OutboxEvent:
    """An event, emitted and committed, with a delivery for each endpoint there is."""
    with transaction.atomic():
        return events.emit_event(
            event_type=event_type,
            idempotency_key=idempotency_key or f"key-{next(_numbers)}",
            aggregate_type=aggregate_type,
            aggregate_id=aggregate_id or uuid7(),
            payload=make_payload(event_type) if payload is None else payload,
            subject=subject,
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
        payload=make_payload(),
    )
    return WebhookDelivery.objects.create(
        event=event,
        endpoint=endpoint or make_endpoint(),
        status=status,
        due_at=due_at or timezone.now() - timedelta(seconds=1),
        **fields,
    )


def make_attempt(
    *, delivery: WebhookDelivery | None = None, number: int = 1, **fields: Any
) -> WebhookAttempt:
    """An attempt that went well, unless an `error` is given."""
    delivery = delivery or make_delivery()
    defaults = {
        "started_at": timezone.now(),
        "duration_ms": 12,
        "request_headers": {"webhook-id": str(delivery.event_id)},
        "response_status": 500 if fields.get("error") else 200,
        "response_headers": {"content-type": "text/plain"},
        "response_body": "ok",
    }
    return WebhookAttempt.objects.create(
        delivery=delivery, endpoint_id=delivery.endpoint_id, number=number, **defaults | fields
    )


def make_older[Row: models.Model](row: Row, *, hours: float) -> Row:
    """The same row as if it had been made so long ago: its id and its time of creation."""
    made_at = row.created_at - timedelta(hours=hours)
    older = UUID(int=first_id(made_at).int | row.id.int & (2**62 - 1))  # as random as before
    rows = type(row).objects
    with transaction.atomic():  # foreign keys are checked at its end
        if isinstance(row, OutboxEvent):
            row.deliveries.update(event=older)
        if isinstance(row, WebhookDelivery):
            row.attempts.update(delivery=older)
        rows.filter(id=row.id).update(id=older, created_at=made_at)
    return rows.get(id=older)
