"""What users do with runs: start, cancel, retry. (Workers: `uploads.workflows.claims`.)"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from accounts.principals import Principal
from common import content_types
from common.errors import Conflict, UnsupportedType
from uploads import selectors
from uploads.files.lifecycle import require_readable
from uploads.models import (
    FileStatus,
    IngestFile,
    RunStatus,
    RunTrigger,
    Workflow,
    WorkflowRun,
)
from uploads.workflows import claims
from uploads.workflows import selectors as run_selectors
from uploads.workflows.queue import accepts, enqueue, enqueue_all, kick_after_commit

_TYPES_SHOWN = 5
_CHUNK = 500  # files of a batch that are handled in one transaction


@dataclass(frozen=True)
class BulkStart:
    """How many files of a batch got a run. Skipped: type refused, not stored, already active."""

    started: int
    skipped: int


def start_run(
    *, principal: Principal, file_id: UUID, workflow: Workflow, config: dict[str, Any] | None = None
) -> WorkflowRun:
    """Start a workflow on a stored file. `config`, already checked, replaces the workflow's own.

    Raises NotFound, Gone `file_deleted` or `file_consumed`, Conflict `file_not_stored`,
    `workflow_inactive` or `run_active`, UnsupportedType `type_not_accepted`.
    """
    found = selectors.get_file(principal=principal, file_id=file_id)
    with transaction.atomic():
        file = IngestFile.objects.select_for_update().timed().get(id=found.id)
        require_readable(file)
        _require_startable(workflow, file)
        run = enqueue(
            workflow, file, trigger=RunTrigger.USER, started_by=principal.owner, config=config
        )
        kick_after_commit()
    if run is None:
        raise _active_already(workflow, file)
    return run


def start_on_batch(*, principal: Principal, batch_id: UUID, workflow: Workflow) -> BulkStart:
    """Start a workflow on every stored file of a batch that it accepts. Safe to repeat.

    Raises NotFound `batch_not_found`, Conflict `workflow_inactive`.
    """
    batch = selectors.get_batch(principal=principal, batch_id=batch_id)
    _require_active(workflow)
    files = IngestFile.objects.filter(batch=batch).order_by("id")
    started = seen = 0
    chunk = list(files.values_list("id", flat=True)[:_CHUNK])
    while chunk:
        seen += len(chunk)
        started += _start_on(chunk, workflow=workflow, principal=principal)
        chunk = list(files.filter(id__gt=chunk[-1]).values_list("id", flat=True)[:_CHUNK])
    return BulkStart(started=started, skipped=seen - started)


def start_on_files(
    *, principal: Principal, file_ids: Sequence[UUID], workflow: Workflow
) -> BulkStart:
    """Start a workflow on those of an owner's stored files that it accepts. Safe to repeat.

    Raises Conflict `workflow_inactive`.
    """
    _require_active(workflow)
    own = selectors.files_of(principal).filter(id__in=file_ids).order_by("id")
    ids = list(own.values_list("id", flat=True))
    started = sum(
        _start_on(ids[begin : begin + _CHUNK], workflow=workflow, principal=principal)
        for begin in range(0, len(ids), _CHUNK)
    )
    return BulkStart(started=started, skipped=len(file_ids) - started)


def count_startable(
    *, principal: Principal, batch_id: UUID, workflows: Sequence[Workflow]
) -> dict[UUID, int]:
    """On how many files of a batch each workflow would be started, by its id.

    Of very large batches the first COUNT_CAP files count. A file on which it runs already counts
    too, and is left out when it comes to it.
    """
    batch = selectors.get_batch(principal=principal, batch_id=batch_id)
    stored = IngestFile.objects.filter(
        batch=batch, status=FileStatus.STORED, expires_at__gt=Now()
    ).order_by("id")
    types = stored.values_list("detected_type", flat=True)[: selectors.COUNT_CAP]
    return _accepted(Counter(types), workflows)


def count_accepted(
    files: Sequence[IngestFile], *, workflows: Sequence[Workflow]
) -> dict[UUID, int]:
    """The same of files that were read."""
    types = Counter(file.detected_type for file in files if file.status == FileStatus.STORED)
    return _accepted(types, workflows)


def _accepted(types: Counter[str], workflows: Sequence[Workflow]) -> dict[UUID, int]:
    return {
        workflow.id: sum(
            count
            for detected_type, count in types.items()
            if content_types.matches(workflow.accepted_types, detected_type)
        )
        for workflow in workflows
    }


def _start_on(file_ids: list[UUID], *, workflow: Workflow, principal: Principal) -> int:
    with transaction.atomic():
        files = IngestFile.objects.select_for_update().filter(
            id__in=file_ids, status=FileStatus.STORED, expires_at__gt=Now()
        )
        started = enqueue_all(workflow, files.order_by("id"), started_by=principal.owner)
        kick_after_commit(started)
    return started


def cancel_run(*, principal: Principal, run_id: UUID) -> WorkflowRun:
    """Cancel a run. A running one ends soon after. Safe to repeat.

    Raises NotFound, Conflict `run_ended`.
    """
    run = run_selectors.get_run(principal=principal, run_id=run_id)
    claims.cancel(run_id=run.id)
    run = run_selectors.get_run(principal=principal, run_id=run_id)
    if run.status in (RunStatus.COMPLETED, RunStatus.FAILED):
        raise Conflict("run_ended", f"The run has {run.status} already.")
    return run


def retry_run(*, principal: Principal, run_id: UUID) -> WorkflowRun:
    """Retry a failed or cancelled run with the same configuration.

    Raises NotFound, Conflict `run_not_failed`, `run_active` or `workflow_inactive`, and what
    `start_run` raises for a file that is gone.
    """
    retry(run_id=run_selectors.get_run(principal=principal, run_id=run_id).id)
    return run_selectors.get_run(principal=principal, run_id=run_id)


def retry(*, run_id: UUID) -> None:
    """Retry a run on anybody's file: for staff."""
    run = WorkflowRun.objects.select_related("workflow").get(id=run_id)
    _require_active(run.workflow)
    with transaction.atomic():
        file = IngestFile.objects.select_for_update().timed().get(id=run.file_id)
        require_readable(file)
        active = WorkflowRun.objects.filter(
            file=file, workflow=run.workflow, status__in=WorkflowRun.ACTIVE
        )
        if active.exists():
            raise _active_already(run.workflow, file)
        again = WorkflowRun.objects.filter(
            id=run.id, status__in=[RunStatus.FAILED, RunStatus.CANCELLED]
        ).change(
            status=RunStatus.PENDING,
            due_at=Now(),
            attempts_left=run.workflow.max_attempts,
            cancel_requested_at=None,
            completed_at=None,
            progress_percent=None,
            progress_message="",
            output_text="",
            output_is_cut=False,
            warnings=[],
            error_code="",
            error_message="",
        )
        if not again:
            raise Conflict(
                "run_not_failed",
                f"Only a run that failed or was cancelled is retried; this one is {run.status}.",
            )
        kick_after_commit()


def _require_startable(workflow: Workflow, file: IngestFile) -> None:
    _require_active(workflow)
    if not accepts(workflow, file):
        raise UnsupportedType(
            "type_not_accepted",
            f"{workflow.name} does not take {file.detected_type}, "
            f"but {_shortly(workflow.accepted_types)}.",
            accepted_types=workflow.accepted_types,
        )


def _shortly(types: list[str]) -> str:
    """The first few types of a list that may be long."""
    shown = ", ".join(types[:_TYPES_SHOWN])
    others = len(types) - _TYPES_SHOWN
    return f"{shown} and {others} more" if others > 0 else shown


def _require_active(workflow: Workflow) -> None:
    if not workflow.is_active:
        raise Conflict("workflow_inactive", f"An administrator has switched {workflow.name} off.")


def _active_already(workflow: Workflow, file: IngestFile) -> Conflict:
    run = WorkflowRun.objects.filter(
        file=file, workflow=workflow, status__in=WorkflowRun.ACTIVE
    ).first()
    return Conflict(
        "run_active",
        f"A run of {workflow.name} on this file is under way already.",
        run_id=str(run.id) if run else None,
    )
