"""The payloads of run events. (File events: `uploads.events`.)"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from accounts.principals import PORTAL
from common.outbox.payloads import READERS_ONLY, Payload
from uploads.events import Actor, FailureReason, actor
from uploads.models import WorkflowRun

OUTPUT_LENGTH = 16_384  # characters of a run's output that an event carries


class WorkflowReference(Payload):
    id: UUID
    slug: str
    name: str


class FileReference(Payload):
    id: UUID
    original_filename: str


class RunSnapshot(Payload):
    """A run of a workflow on a file, after it has ended."""

    id: UUID
    status: str
    attempt: int
    """How often it was tried, from 1."""
    started_at: datetime
    completed_at: datetime
    output_text: Annotated[str, Field(max_length=OUTPUT_LENGTH), READERS_ONLY]
    """The beginning of what it found out; all of it when `output_url` is null."""
    output_url: Annotated[str | None, READERS_ONLY]
    """A signed link to the whole result."""
    warnings: list[str] = []
    """What of the file could not be read although the run completed, for people."""
    cost: Decimal | None
    """An amount as decimal text; null when the run cost nothing."""


class WorkflowRunCompleted(Payload):
    """A workflow finished its work on a file."""

    run: RunSnapshot
    workflow: WorkflowReference
    file: FileReference
    actor: Actor


class WorkflowRunFailed(WorkflowRunCompleted):
    """A workflow gave up on a file, which is as it was."""

    error: FailureReason


def run_event(event_type: str, run: WorkflowRun, *, output_url: str | None) -> WorkflowRunCompleted:
    """The payload for a run that has ended."""
    values: dict[str, Any] = {
        "run": RunSnapshot(
            id=run.id,
            status=run.status,
            attempt=run.attempt,
            started_at=run.started_at or run.created_at,
            completed_at=run.completed_at or run.updated_at,
            output_text=run.output_text[:OUTPUT_LENGTH],
            output_url=output_url,
            warnings=run.warnings,
            cost=run.cost,
        ),
        "workflow": WorkflowReference.model_validate(run.workflow, from_attributes=True),
        "file": FileReference.model_validate(run.file, from_attributes=True),
        "actor": actor(run.owner, PORTAL),
    }
    if event_type == "workflow_run.failed":
        error = FailureReason(code=run.error_code, message=run.error_message)
        return WorkflowRunFailed(**values, error=error)
    return WorkflowRunCompleted(**values)
