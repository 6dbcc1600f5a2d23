"""Emits the events of runs. Call inside the transaction that changes the run."""

from common.models import OutboxEvent
from common.outbox.events import Subject, emit_event
from uploads.files.links import LinkKind, link
from uploads.models import WorkflowRun
from uploads.workflows import events


def announce_run(event_type: str, run: WorkflowRun, *, fact: str = "") -> OutboxEvent:
    """Emit one event each time a run ends; a retried run can end more than once.

    `fact` tells an end without an attempt of its own from that of the attempt before it.
    """
    return emit_event(
        event_type=event_type,
        idempotency_key=f"{run.id}#{run.attempt}{fact}",
        aggregate_type="workflow_run",
        aggregate_id=run.id,
        payload=events.run_event(event_type, run, output_url=_output_url(run)).to_json(),
        subject=Subject(
            user_id=run.owner_id,
            batch_id=run.file.batch_id,
            content_type=run.file.detected_type,
        ),
    )


def _output_url(run: WorkflowRun) -> str | None:
    return link(LinkKind.FILE, run.result_file_id) if run.result_file_id else None
