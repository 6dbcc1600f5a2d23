"""The events of runs as they are published: one example of each."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from common.outbox.payloads import EXAMPLE_TIME, Payload
from uploads.event_examples import ACTOR, FILE
from uploads.events import FailureReason
from uploads.workflows import events

_COMPLETED = events.RunSnapshot(
    id=UUID("019ceb9b-0d60-7d92-8e1b-c47f5a3b2019"),
    status="completed",
    attempt=1,
    started_at=EXAMPLE_TIME - timedelta(seconds=9),
    completed_at=EXAMPLE_TIME,
    output_text="# Report\n\nAll is well in the north.",
    output_url=None,
    warnings=["Page 7 could not be read."],
    cost=Decimal("0.0042"),
)
_FAILED = _COMPLETED.model_copy(
    update={"status": "failed", "attempt": 3, "output_text": "", "warnings": [], "cost": None}
)
_WORKFLOW = events.WorkflowReference(
    id=UUID("019ceb8f-7730-7f08-95d3-b16e2a4c8d07"), slug="extract-text", name="Extract text"
)
_FILE = events.FileReference(id=FILE.id, original_filename=FILE.original_filename)
OF_RUNS: Mapping[str, Payload] = {
    "workflow_run.completed": events.WorkflowRunCompleted(
        run=_COMPLETED, workflow=_WORKFLOW, file=_FILE, actor=ACTOR
    ),
    "workflow_run.failed": events.WorkflowRunFailed(
        run=_FAILED,
        workflow=_WORKFLOW,
        file=_FILE,
        actor=ACTOR,
        error=FailureReason(code="time_limit", message="The run took longer than 600 s."),
    ),
}
