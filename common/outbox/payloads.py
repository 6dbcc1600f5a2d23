"""Payloads of events: typed and versioned. They may only be extended.

A payload is the `data` of an event's envelope (see `common.outbox.events`). Each app defines the
payloads of its events as subclasses of Payload; the JSON Schemas are generated from them.
Docstrings in here are published with the schemas: receivers read them.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from common.models import WebhookEndpoint

HIDDEN = "(hidden)"
EXAMPLE_TIME = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)  # of the events that are published


class _ReadersOnly:
    """See READERS_ONLY."""


# Marks a member, in its annotation, that gives away a file's content or a link to it.
READERS_ONLY = _ReadersOnly()


class Payload(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    @classmethod
    def hidden(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The data of a payload of this class without members marked READERS_ONLY, at any depth."""
        shown = dict(data)
        for name, field in cls.model_fields.items():
            if not data.get(name):
                continue
            if READERS_ONLY in field.metadata:
                shown[name] = HIDDEN
            elif isinstance(field.annotation, type) and issubclass(field.annotation, Payload):
                shown[name] = field.annotation.hidden(data[name])
        return shown


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
    """The host of its URL. The path is left out: it may be a secret of the receiver."""
    reason: str
    """`manual`, `gone` (it answered 410) or `failing` (for too long)."""
    consecutive_failures: int
    failing_since: datetime | None
    disabled_at: datetime


class WebhookDisabled(Payload):
    """An endpoint was disabled and gets no more events. It goes to the other endpoints."""

    webhook: DisabledWebhook


_EXAMPLE_ID = UUID("019ceb90-5528-7ad4-a3c1-0e9b8d7f6521")
EXAMPLES: dict[str, Payload] = {
    "webhook.test": WebhookTest(
        webhook=TestedWebhook(id=_EXAMPLE_ID, url="https://runner.example.org/hook")
    ),
    "webhook.disabled": WebhookDisabled(
        webhook=DisabledWebhook(
            id=_EXAMPLE_ID,
            description="The runner in the north",
            host="runner.example.org",
            reason="failing",
            consecutive_failures=1000,
            failing_since=EXAMPLE_TIME - timedelta(hours=5),
            disabled_at=EXAMPLE_TIME,
        )
    ),
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
