"""The contract with receivers: a JSON Schema and an example for each type of event.

They are generated from the typed payloads. Later releases of version 1 may add members, so the
schemas allow additional ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from pydantic.json_schema import GenerateJsonSchema

from common.errors import NotFound
from common.outbox.payloads import EXAMPLE_TIME, Payload
from common.outbox.types import event_types

VERSION = 1
_EVENT_ID = "019ceb9b-3c48-7f6e-b0a5-6f1d2c7e8a90"


@dataclass(frozen=True)
class Field:
    """A member of an event's data, such as `file.sha256`. `kind` is its JSON type and format."""

    path: str
    kind: str
    description: str


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out titles, which only repeat the names of fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def path(event_type: str) -> str:
    """The path where the schema of an event type is served."""
    return f"/schemas/{event_type}.v{VERSION}.json"


def example(event_type: str) -> dict[str, Any]:
    """A complete event as a receiver gets it. Raises NotFound `schema_not_found`."""
    return {
        "id": _EVENT_ID,
        "type": event_type,
        "timestamp": EXAMPLE_TIME.isoformat().replace("+00:00", "Z"),
        "schema_version": VERSION,
        "data": _payload(event_type).to_json(),
    }


def schema(event_type: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a complete event. Raises NotFound `schema_not_found`."""
    return {"$id": settings.PUBLIC_URL + path(event_type), **_schema(event_type)}


def _payload(event_type: str) -> Payload:
    if event_type not in event_types:
        raise NotFound("schema_not_found", f"There is no event type {event_type}.")
    return event_types.example_of(event_type)


@cache
def _schema(event_type: str) -> dict[str, Any]:
    payload = _payload(event_type)
    data = payload.model_json_schema(mode="serialization", schema_generator=_WithoutTitles)
    definitions = data.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": event_type,
        "description": data.pop("description"),
        "type": "object",
        "required": ["id", "type", "timestamp", "schema_version", "data"],
        "properties": {
            "id": {
                "type": "string",
                "format": "uuid",
                "description": "Of the event: the same on every attempt, and the `webhook-id`.",
            },
            "type": {"const": event_type},
            "timestamp": {
                "type": "string",
                "format": "date-time",
                "description": "When it happened, in UTC.",
            },
            "schema_version": {"const": VERSION},
            "data": data,
        },
        "$defs": definitions,
        "examples": [example(event_type)],
    }


def fields(event_type: str) -> list[Field]:
    """The members of an event's data, down to the leaves. Raises NotFound `schema_not_found`."""
    event = _schema(event_type)
    return list(_fields(event["properties"]["data"], event["$defs"], prefix=""))


def _fields(node: dict[str, Any], definitions: dict[str, Any], *, prefix: str) -> Iterator[Field]:
    for name, child in node["properties"].items():
        if reference := child.get("$ref"):
            below = definitions[reference.rpartition("/")[2]]
            yield from _fields(below, definitions, prefix=f"{prefix}{name}.")
        else:
            kinds = " or ".join(_kind(each) for each in child.get("anyOf", [child]))
            yield Field(f"{prefix}{name}", kinds, child.get("description", ""))


def _kind(node: dict[str, Any]) -> str:
    return " ".join(filter(None, (node["type"], node.get("format"))))
