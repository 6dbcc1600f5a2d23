"""Payloads of events: typed, versioned, changed by addition only.

A payload is the `data` of an event's envelope (see `common.outbox.events`). Each app defines
those of its own events as subclasses of Payload; the JSON Schemas are made from them. What a
docstring here says is published with the schema: receivers read it.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from common.models import WebhookEndpoint


class Payload(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class TestedWebhook(Payload):
    id: UUID
    url: str


class WebhookTest(Payload):
    """Somebody asked for a test, to see whether the receiver works. It is not tried again."""

    webhook: TestedWebhook


class DisabledWebhook(Payload):
    id: UUID
    description: str
    host: str
    """Of its URL, whose path may be a secret between others."""
    reason: str
    """`manual`, `gone` (it answered 410) or `failing` (for too long)."""
    consecutive_failures: int
    failing_since: datetime | None
    disabled_at: datetime


class WebhookDisabled(Payload):
    """An endpoint was disabled and gets no more events. It goes to the other endpoints."""

    webhook: DisabledWebhook


PAYLOADS: dict[str, type[Payload]] = {
    "webhook.test": WebhookTest,
    "webhook.disabled": WebhookDisabled,
}


def webhook_test(endpoint: WebhookEndpoint) -> WebhookTest:
    return WebhookTest(webhook=TestedWebhook(id=endpoint.id, url=endpoint.url))


def webhook_disabled(endpoint: WebhookEndpoint, *, disabled_at: datetime) -> WebhookDisabled:
    return WebhookDisabled(
        webhook=DisabledWebhook(
            id=endpoint.id,
            description=endpoint.description,
            host=endpoint.host,
            reason=endpoint.disabled_reason,
            consecutive_failures=endpoint.consecutive_failures,
            failing_since=endpoint.failing_since,
            disabled_at=disabled_at,
        )
    )
