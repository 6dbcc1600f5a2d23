"""Webhooks, deliveries and events as JSON."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Schema
from pydantic import Field, StrictInt

from common.http.schemas import Moment, RequestBody
from common.models import (
    DeliveryStatus,
    OutboxEvent,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from common.pagination import Page
from common.webhooks.endpoint_settings import EndpointSettings, readable_headers
from common.webhooks.selectors import Health

_EVENT_TYPES = "Types, or `file.*` for all of a kind. Empty takes all."
_CONTENT_TYPES = "Of files: `application/pdf`, `image/*`. Empty takes all."
_USER = "Only events about this user's files."
_BATCH = "Only events about this batch and its files."
_HEADERS = "Sent with every attempt; answers show their names only."
_SCHEDULE = "Seconds to wait before each attempt, the first included. Null takes the portal's."
_TIMEOUT = "Of one attempt. Null takes the portal's."


class WebhookIn(RequestBody):
    url: str
    description: str = ""
    event_types: list[str] = Field(default_factory=list, description=_EVENT_TYPES)
    content_types: list[str] = Field(default_factory=list, description=_CONTENT_TYPES)
    user_id: UUID | None = Field(None, description=_USER)
    batch_id: UUID | None = Field(None, description=_BATCH)
    headers: dict[str, str] = Field(default_factory=dict, description=_HEADERS)
    retry_schedule: list[StrictInt] | None = Field(None, description=_SCHEDULE)
    timeout_seconds: StrictInt | None = Field(None, description=_TIMEOUT)

    def to_settings(self) -> EndpointSettings:
        return EndpointSettings(**dict(self))


class WebhookPatch(WebhookIn):
    """Give what changes; the rest stays as it is."""

    # Made, not given, so that the description of the API names no default.
    url: str = Field(default_factory=str)
    description: str = Field(default_factory=str)

    def changes(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class HealthOut(Schema):
    """How the latest attempts went: up to 1,000 of the last 24 hours.

    `success_rate` is 0 to 1. `backlog` is what waits or is being sent, counted up to 1,000.
    """

    attempts: int
    success_rate: float | None
    p95_ms: int | None
    last_attempt_at: datetime | None
    last_failure_at: datetime | None
    last_error: str
    backlog: int


class WebhookOut(Schema):
    id: UUID
    url: str
    description: str
    event_types: list[str]
    content_types: list[str]
    user_id: UUID | None
    batch_id: UUID | None
    header_names: list[str] | None = Field(
        description="Null when they cannot be decrypted: give the headers again."
    )
    retry_schedule: list[int] | None
    timeout_seconds: int | None
    is_active: bool
    disabled_reason: str = Field(
        description="`manual`, `gone` (it answered 410), `failing` (for too long); empty if active."
    )
    disabled_at: datetime | None
    expires_at: datetime | None = Field(description="Of a temporary one, such as a listener's.")
    consecutive_failures: int
    failing_since: datetime | None
    recovering: bool = Field(description="Events that it missed are being looked for.")
    health: HealthOut
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, endpoint: WebhookEndpoint, health: Health) -> "WebhookOut":
        return cls(**_webhook_values(endpoint, health))


class CreatedWebhookOut(WebhookOut):
    """With the secret that signs: keep it. Lists never show it."""

    secret: str

    @classmethod
    def of(cls, endpoint: WebhookEndpoint, health: Health) -> "CreatedWebhookOut":
        return cls(**_webhook_values(endpoint, health), secret=endpoint.secret)


class WebhookList(Schema):
    items: list[WebhookOut]
    next_cursor: str | None


class SecretOut(Schema):
    """`old_secrets_expire_at`: until then replaced secrets sign beside this one."""

    secret: str
    old_secrets_expire_at: datetime | None


class RevokedOut(Schema):
    """How many old secrets sign no more."""

    revoked: int


class RecoverIn(RequestBody):
    since: Moment


class DeliveryAttemptOut(Schema):
    """One HTTP request. Headers and body are null and empty once they were purged."""

    number: int
    started_at: datetime
    duration_ms: int
    succeeded: bool
    error: str
    request_headers: dict[str, Any] | None = Field(description="Custom values are hidden.")
    response_status: int | None = Field(description="Null when no response came.")
    response_headers: dict[str, Any] | None
    response_body: str = Field(description="Its first 4 KiB.")

    @classmethod
    def of(cls, attempt: WebhookAttempt) -> "DeliveryAttemptOut":
        return cls(**_attempt_values(attempt))


class TestOut(DeliveryAttemptOut):
    """What came of a test event."""

    __test__ = False  # nothing for pytest to collect

    delivery_id: UUID

    @classmethod
    def of(cls, attempt: WebhookAttempt) -> "TestOut":
        return cls(**_attempt_values(attempt), delivery_id=attempt.delivery_id)


class DeliveryOut(Schema):
    id: UUID
    event_id: UUID
    event_type: str
    webhook_id: UUID
    webhook_url: str
    status: str = Field(description="`pending`, `sending`, `delivered` or `failed`.")
    attempt_count: int
    next_attempt_at: datetime | None
    last_error: str
    created_at: datetime
    delivered_at: datetime | None

    @classmethod
    def of(cls, delivery: WebhookDelivery) -> "DeliveryOut":
        return cls(**_delivery_values(delivery))


class DeliveryDetailOut(DeliveryOut):
    attempts: list[DeliveryAttemptOut] = Field(description="The latest 100, newest first.")

    @classmethod
    def of_attempts(
        cls, delivery: WebhookDelivery, attempts: Sequence[WebhookAttempt]
    ) -> "DeliveryDetailOut":
        made = [DeliveryAttemptOut.of(attempt) for attempt in attempts]
        return cls(**_delivery_values(delivery), attempts=made)


class DeliveryList(Schema):
    items: list[DeliveryOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page[WebhookDelivery]) -> "DeliveryList":
        items = [DeliveryOut.of(delivery) for delivery in page.items]
        return cls(items=items, next_cursor=page.next_cursor)


class EventOut(Schema):
    id: UUID
    type: str
    status: str = Field(description="Of its deliveries together.")
    aggregate_type: str = Field(description="What it is about: `file`, `batch`, …")
    aggregate_id: UUID
    user_id: UUID | None
    batch_id: UUID | None
    content_type: str
    created_at: datetime

    @classmethod
    def of(cls, event: OutboxEvent) -> "EventOut":
        return cls(**_event_values(event))


class EventDetailOut(EventOut):
    """`envelope` is the body that receivers get.

    `data.file.url` in it is hidden from those who may not read that file.
    """

    envelope: dict[str, Any]
    deliveries: list[DeliveryOut]

    @classmethod
    def of_envelope(cls, event: OutboxEvent, envelope: dict[str, Any]) -> "EventDetailOut":
        return cls(
            **_event_values(event),
            envelope=envelope,
            deliveries=[DeliveryOut.of(delivery) for delivery in event.deliveries.all()],
        )


class EventList(Schema):
    items: list[EventOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page[OutboxEvent]) -> "EventList":
        items = [EventOut.of(event) for event in page.items]
        return cls(items=items, next_cursor=page.next_cursor)


class RedeliverIn(RequestBody):
    webhook_id: UUID | None = Field(
        None, description="Only to this one, even if the event was not meant for it."
    )


class RedeliveryOut(Schema):
    """What is sent again."""

    deliveries: list[DeliveryOut]

    @classmethod
    def of(cls, deliveries: Sequence[WebhookDelivery]) -> "RedeliveryOut":
        return cls(deliveries=[DeliveryOut.of(delivery) for delivery in deliveries])


def _webhook_values(endpoint: WebhookEndpoint, health: Health) -> dict[str, Any]:
    same = set(WebhookOut.model_fields) - {"header_names", "recovering", "health"}
    return {name: getattr(endpoint, name) for name in same} | {
        "header_names": _header_names(endpoint),
        "recovering": endpoint.recovery_after is not None,
        "health": HealthOut.from_orm(health),
    }


def _header_names(endpoint: WebhookEndpoint) -> list[str] | None:
    """A key that is lost must not hide the endpoint, nor the others."""
    headers = readable_headers(endpoint)
    return None if headers is None else sorted(headers)


def _attempt_values(attempt: WebhookAttempt) -> dict[str, Any]:
    same = set(DeliveryAttemptOut.model_fields) - {"succeeded"}
    return {name: getattr(attempt, name) for name in same} | {"succeeded": not attempt.error}


def _delivery_values(delivery: WebhookDelivery) -> dict[str, Any]:
    derived = {"event_type", "webhook_id", "webhook_url", "next_attempt_at"}
    same = set(DeliveryOut.model_fields) - derived
    is_pending = delivery.status == DeliveryStatus.PENDING
    return {name: getattr(delivery, name) for name in same} | {
        "event_type": delivery.event.event_type,
        "webhook_id": delivery.endpoint_id,
        "webhook_url": delivery.endpoint.url,
        "next_attempt_at": delivery.due_at if is_pending else None,
    }


def _event_values(event: OutboxEvent) -> dict[str, Any]:
    same = set(EventOut.model_fields) - {"type"}
    return {name: getattr(event, name) for name in same} | {"type": event.event_type}
