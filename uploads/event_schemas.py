"""The contract with receivers: a JSON Schema and an example for each type of event.

They are made from the typed payloads. Version 1 changes by addition only, so nothing is closed
against further members.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from pydantic.json_schema import GenerateJsonSchema

from common.errors import NotFound
from common.outbox import payloads as webhooks
from common.outbox.payloads import Payload
from uploads import events
from uploads.workflows import events as runs

VERSION = 1
PAYLOADS = events.PAYLOADS | runs.PAYLOADS | webhooks.PAYLOADS

_NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
_EVENT_ID = "019ceb9b-3c48-7f6e-b0a5-6f1d2c7e8a90"
_FILE_ID = UUID("019ceb9a-f1d0-7c3a-9d52-4be07a6c1f28")
_BATCH_ID = UUID("019ceb9a-e0a4-7b11-8c6f-35d9f02e7b64")
_WEBHOOK_ID = UUID("019ceb90-5528-7ad4-a3c1-0e9b8d7f6521")
_REASON = events.FailureReason(code="aborted", message="The upload was aborted.")
_ACTOR = events.Actor(user_id=UUID("019ceb80-0c10-7e55-b2f4-91a6c3d8e70f"), email="ada@example.org")
_FILE = events.FileSnapshot(
    id=_FILE_ID,
    original_filename="report.pdf",
    relative_path="2026/report.pdf",
    content_type="application/pdf",
    detected_type="application/pdf",
    size_bytes=482_133,
    sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    storage=events.StoragePointer(backend="local", bucket="", key=_FILE_ID.hex),
    url=f"https://portal.example.org/f/{_FILE_ID.hex}:signature",
    expires_at=_NOW + timedelta(hours=24),
    batch_id=_BATCH_ID,
    metadata={"project": "north"},
)
_FAILED_FILE = _FILE.model_copy(
    update={
        "detected_type": "",
        "sha256": "",
        "storage": events.StoragePointer(backend="", bucket="", key=""),
        "expires_at": None,
    }
)
_COMPLETED_RUN = runs.RunSnapshot(
    id=UUID("019ceb9b-0d60-7d92-8e1b-c47f5a3b2019"),
    status="completed",
    attempt=1,
    started_at=_NOW - timedelta(seconds=9),
    completed_at=_NOW,
    output_text="# Report\n\nAll is well in the north.",
    output_url=None,
    cost=Decimal("0.0042"),
)
_FAILED_RUN = _COMPLETED_RUN.model_copy(
    update={"status": "failed", "attempt": 3, "output_text": "", "cost": None}
)
_WORKFLOW = runs.WorkflowReference(
    id=UUID("019ceb8f-7730-7f08-95d3-b16e2a4c8d07"), slug="extract-text", name="Extract text"
)
_WORKED_ON = runs.FileReference(id=_FILE_ID, original_filename=_FILE.original_filename)
_EXAMPLES: dict[str, Payload] = {
    "file.uploaded": events.FileUploaded(file=_FILE, actor=_ACTOR),
    "file.expiring": events.FileExpiring(file=_FILE, actor=_ACTOR),
    "file.processed": events.FileProcessed(file=_FILE, actor=_ACTOR),
    "file.deleted": events.FileDeleted(file=_FILE, actor=_ACTOR),
    "file.failed": events.FileFailed(file=_FAILED_FILE, actor=_ACTOR, error=_REASON),
    "batch.completed": events.BatchEvent(
        batch=events.BatchSnapshot(
            id=_BATCH_ID,
            name="Reports of March",
            status="partial",
            total_files=12,
            stored_count=11,
            failed_count=1,
        ),
        actor=_ACTOR,
    ),
    "workflow_run.completed": runs.WorkflowRunCompleted(
        run=_COMPLETED_RUN, workflow=_WORKFLOW, file=_WORKED_ON, actor=_ACTOR
    ),
    "workflow_run.failed": runs.WorkflowRunFailed(
        run=_FAILED_RUN,
        workflow=_WORKFLOW,
        file=_WORKED_ON,
        actor=_ACTOR,
        error=events.FailureReason(code="time_limit", message="The run took longer than 600 s."),
    ),
    "webhook.test": webhooks.WebhookTest(
        webhook=webhooks.TestedWebhook(id=_WEBHOOK_ID, url="https://runner.example.org/hook")
    ),
    "webhook.disabled": webhooks.WebhookDisabled(
        webhook=webhooks.DisabledWebhook(
            id=_WEBHOOK_ID,
            description="The runner in the north",
            host="runner.example.org",
            reason="failing",
            consecutive_failures=1000,
            failing_since=_NOW - timedelta(hours=5),
            disabled_at=_NOW,
        )
    ),
}


@dataclass(frozen=True)
class Field:
    """A member of an event's data, as `file.sha256`; `kind` is its JSON type and format."""

    path: str
    kind: str
    description: str


class _WithoutTitles(GenerateJsonSchema):
    """A title that repeats the name of its field tells nobody anything."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def path(event_type: str) -> str:
    """Where a type's schema is served."""
    return f"/schemas/{event_type}.v{VERSION}.json"


def example(event_type: str) -> dict[str, Any]:
    """A whole event as a receiver gets it. Raises NotFound `schema_not_found`."""
    _payload(event_type)
    return {
        "id": _EVENT_ID,
        "type": event_type,
        "timestamp": _NOW.isoformat().replace("+00:00", "Z"),
        "schema_version": VERSION,
        "data": _EXAMPLES[event_type].to_json(),
    }


def schema(event_type: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a whole event. Raises NotFound `schema_not_found`."""
    return {"$id": settings.PUBLIC_URL + path(event_type), **_schema(event_type)}


def _payload(event_type: str) -> type[Payload]:
    if event_type not in PAYLOADS:
        raise NotFound("schema_not_found", f"There is no event type {event_type}.")
    return PAYLOADS[event_type]


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
    """What the data of an event holds, to its leaves. Raises NotFound `schema_not_found`."""
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
