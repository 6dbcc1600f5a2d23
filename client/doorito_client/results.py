"""What the portal answers, as typed records. Sizes in bytes, moments with a time zone.

A record takes the members of the answer that it has a field for: the portal may add others.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID


@dataclass(frozen=True)
class Problem:
    """Why something failed."""

    code: str
    message: str


@dataclass(frozen=True)
class Checking:
    """Of a file that is all there and not stored yet; `waits_for` says why that takes long."""

    waits_for: Problem | None


@dataclass(frozen=True)
class File:
    """`status` is uploading, checking (all there and not stored yet), stored, processed (a runner
    consumed it), deleted or failed.
    """

    id: UUID
    original_filename: str
    relative_path: str
    content_type: str
    detected_type: str
    size_bytes: int
    sha256: str
    status: str
    batch_id: UUID | None
    metadata: dict[str, Any]
    created_at: datetime
    stored_at: datetime | None
    expires_at: datetime | None
    processed_at: datetime | None
    deleted_at: datetime | None
    error: Problem | None
    checking: Checking | None
    content_url: str


@dataclass(frozen=True)
class Consumption(File):
    """`claim_url` is the only way to the bytes, until `claim_expires_at`."""

    claim_url: str
    claim_expires_at: datetime


@dataclass(frozen=True)
class Session:
    """An upload in parts. `received_parts` are ranges of numbers, `1-50,52`."""

    session_id: UUID
    file_id: UUID
    status: str
    size_bytes: int
    chunk_size_bytes: int
    total_parts: int
    received_parts: str
    error: Problem | None
    checking: Checking | None


@dataclass(frozen=True)
class Batch:
    """`status` is init, in_progress, complete, partial or failed."""

    id: UUID
    name: str
    status: str
    total_files: int
    stored_count: int
    failed_count: int
    expected_files: int | None
    created_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True)
class Usage:
    """`used` may exceed `limit` where that was lowered; no limit is None."""

    used: int
    limit: int | None


@dataclass(frozen=True)
class AccountUsage:
    """Of files that are uploading or stored."""

    bytes: Usage
    files: Usage
    uploads_under_way: Usage


@dataclass(frozen=True)
class Event:
    id: UUID
    type: str
    status: str
    aggregate_type: str
    aggregate_id: UUID
    batch_id: UUID | None
    content_type: str
    created_at: datetime


@dataclass(frozen=True)
class Delivery:
    """An event for a webhook; `status` is pending, sending, delivered or failed."""

    id: UUID
    event_id: UUID
    event_type: str
    webhook_id: UUID
    webhook_url: str
    status: str
    attempt_count: int
    next_attempt_at: datetime | None
    last_error: str
    created_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True)
class EventDetail(Event):
    """`envelope` is what receivers get."""

    envelope: dict[str, Any]
    deliveries: list[Delivery]


@dataclass(frozen=True)
class Workflow:
    id: UUID
    slug: str
    name: str
    description: str
    task: str
    accepted_types: list[str]
    config_schema: dict[str, Any]


@dataclass(frozen=True)
class RunWorkflow:
    id: UUID
    slug: str
    name: str


@dataclass(frozen=True)
class RunFile:
    id: UUID
    original_filename: str


@dataclass(frozen=True)
class Progress:
    """`percent` is None where it is not known."""

    percent: float | None
    message: str


@dataclass(frozen=True)
class RunResult:
    file_id: UUID
    filename: str
    size_bytes: int
    sha256: str
    content_url: str


@dataclass(frozen=True)
class Run:
    """`status` is pending, running, completed, failed or cancelled."""

    id: UUID
    workflow: RunWorkflow
    file: RunFile
    status: str
    progress: Progress
    attempt: int
    attempts_left: int
    created_at: datetime
    completed_at: datetime | None
    result: RunResult | None
    error: Problem | None

    @property
    def is_over(self) -> bool:
        return self.status in {"completed", "failed", "cancelled"}


@dataclass(frozen=True)
class RunDetail(Run):
    output_text: str | None
    output_is_cut: bool
    config: dict[str, Any]


@dataclass(frozen=True)
class Webhook:
    id: UUID
    url: str
    description: str
    event_types: list[str]
    content_types: list[str]
    is_active: bool
    disabled_reason: str
    consecutive_failures: int
    created_at: datetime


@dataclass(frozen=True)
class NewWebhook(Webhook):
    """`secret` signs what it is sent, and is told this once."""

    secret: str = field(repr=False)


@dataclass(frozen=True)
class WebhookTest:
    """`response_status` is None where no answer came."""

    succeeded: bool
    duration_ms: int
    error: str
    response_status: int | None
    response_body: str


def from_json(kind: Any, value: Any) -> Any:
    """A value of JSON as the type that a field is annotated with."""
    if get_origin(kind) is UnionType:
        inner = next(each for each in get_args(kind) if each is not NoneType)
        return None if value is None else from_json(inner, value)
    if get_origin(kind) is list:
        return [from_json(get_args(kind)[0], each) for each in value]
    if kind is UUID:
        return UUID(value)
    if kind is datetime:
        return datetime.fromisoformat(value)
    if isinstance(kind, type) and is_dataclass(kind):
        types = _types(kind)
        return kind(**{name: from_json(types[name], value[name]) for name in types})
    return value


def to_json(value: Any) -> Any:
    """The same back: what `--json` prints."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, list):
        return [to_json(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
