"""Events as receivers and users see them."""

import json
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder

from common.models import OutboxEvent
from common.outbox.payloads import HIDDEN
from common.outbox.types import event_types


class Fact(Protocol):
    """An OutboxEvent, or a row with the same values."""

    @property
    def id(self) -> UUID: ...
    @property
    def event_type(self) -> str: ...
    @property
    def schema_version(self) -> int: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def payload(self) -> dict[str, Any]: ...
    @property
    def request_id(self) -> str: ...
    @property
    def traceparent(self) -> str: ...


def envelope(event: Fact) -> dict[str, Any]:
    """What a receiver gets: the payload in the shape of Standard Webhooks."""
    return {
        "id": str(event.id),
        "type": event.event_type,
        "timestamp": event.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "schema_version": event.schema_version,
        "data": event.payload,
    }


def body(event: Fact) -> bytes:
    """The envelope's bytes, the same for every attempt. jsonb keeps no order: keys are sorted."""
    return json.dumps(
        envelope(event),
        cls=DjangoJSONEncoder,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()


def envelope_for(reader: Any, event: OutboxEvent) -> dict[str, Any]:
    """What `reader`, a principal, may see of an event. Every page and answer calls this.

    Seeing events and reading the files that they are about are different permissions: values that
    give access to a file's content are hidden from readers without the second.
    """
    kind = event_types.kind_of(event.event_type)
    if kind and kind.may_read(reader, event):
        return envelope(event)
    return envelope(event) | {"data": _hidden(event)}


def _hidden(event: OutboxEvent) -> dict[str, Any]:
    if event.event_type not in event_types:  # it is unknown which members are secret
        return dict.fromkeys(event.payload, HIDDEN)
    return event_types.example_of(event.event_type).hidden(event.payload)
