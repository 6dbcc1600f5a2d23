"""Runs on their way to a worker: inserted, hinted at, taken back.

Celery's messages may be lost, so a kick carries nothing and promises nothing: the rows say what
is due, and the sweep finds what a lost kick left.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import User
from common import content_types
from uploads.models import (
    AttemptOutcome,
    IngestFile,
    RunStatus,
    RunTrigger,
    Workflow,
    WorkflowAttempt,
    WorkflowRun,
)

MAX_CHAIN = 20  # workflows one after the other, should a loop have come about
MAX_KICKS = 16  # for one transaction: a worker that is awake goes on until nothing is due

# Sends the message that makes a worker look for due runs, in so many seconds.
Sender = Callable[[float], None]
_senders: list[Sender] = []


def install(sender: Sender) -> None:
    """Name the one way to send kicks. The composition does it; services know no queue."""
    _senders[:] = [sender]


def kick(wait: timedelta = timedelta()) -> None:
    """Let a worker look for due runs, at once or after a while."""
    _senders[0](wait.total_seconds())


def kick_after_commit(runs: int = 1) -> None:
    """Hint at so many new runs once they can be seen. A hint that fails costs a sweep's time."""
    for _ in range(min(runs, MAX_KICKS)):
        transaction.on_commit(kick, robust=True)


def enqueue(
    workflow: Workflow,
    file: IngestFile,
    *,
    trigger: RunTrigger,
    started_by: User | None = None,
    previous: WorkflowRun | None = None,
    config: dict[str, Any] | None = None,
) -> WorkflowRun | None:
    """A new run; None when one of this workflow is active on the file already.

    To be called in a transaction that holds the file's row, so that it does not expire meanwhile,
    and that asks for `kick_after_commit`.
    """
    run = _new_run(workflow, file, trigger=trigger, started_by=started_by)
    if previous is not None:
        run.previous = previous
        run.chain_depth = previous.chain_depth + 1
    if config is not None:
        run.config = config
    WorkflowRun.objects.bulk_create([run], ignore_conflicts=True)
    due_at = WorkflowRun.objects.filter(id=run.id).values_list("due_at", flat=True).first()
    if due_at is None:
        return None
    run.due_at = due_at  # as the database's clock had it
    return run


def enqueue_all(workflow: Workflow, files: Iterable[IngestFile], *, started_by: User) -> int:
    """A new run for each file that the workflow accepts and is not at already; how many.

    To be called as `enqueue`.
    """
    runs = [
        _new_run(workflow, file, trigger=RunTrigger.USER, started_by=started_by)
        for file in files
        if accepts(workflow, file)
    ]
    WorkflowRun.objects.bulk_create(runs, ignore_conflicts=True)
    return WorkflowRun.objects.filter(id__in=[run.id for run in runs]).count()


def _new_run(
    workflow: Workflow, file: IngestFile, *, trigger: RunTrigger, started_by: User | None
) -> WorkflowRun:
    return WorkflowRun(
        workflow=workflow,
        file=file,
        owner_id=file.uploaded_by_id,
        trigger=trigger,
        started_by=started_by,
        config=workflow.config,
        consumes_file=workflow.consumes_file,
        due_at=Now(),
        attempts_left=workflow.max_attempts,
    )


# As text, since it runs with every file that is stored.
_RULES = """
    SELECT * FROM workflow
    WHERE is_active AND auto_start
        AND (auto_start_user_id IS NULL OR auto_start_user_id = %s)
        AND (auto_start_batch_id IS NULL OR auto_start_batch_id = %s)
"""


def auto_start(file: IngestFile) -> None:
    """Start what the rules say of a file that is just being stored, in its transaction.

    Rules are about uploads: what a workflow made starts nothing, or rules would feed themselves.
    """
    if file.is_result:
        return
    for workflow in Workflow.objects.raw(_RULES, [file.uploaded_by_id, file.batch_id]):
        if accepts(workflow, file) and enqueue(workflow, file, trigger=RunTrigger.RULE):
            kick_after_commit()


def accepts(workflow: Workflow, file: IngestFile) -> bool:
    return content_types.matches(workflow.accepted_types, file.detected_type)


def cancel_all(file: IngestFile) -> None:
    """Take back what is to be done with a file that goes; what runs is told to stop."""
    runs = WorkflowRun.objects.filter(file=file)
    without_worker = runs.filter(
        Q(status=RunStatus.PENDING) | Q(status=RunStatus.RUNNING, is_handed_over=True)
    )
    attempts = WorkflowAttempt.objects.filter(outcome=AttemptOutcome.RUNNING)
    attempts.filter(run__in=without_worker).update(outcome=AttemptOutcome.CANCELLED, ended_at=Now())
    without_worker.update(
        status=RunStatus.CANCELLED,
        completed_at=Now(),
        lease_id=None,
        lease_expires_at=None,
        is_handed_over=False,
        error_code="file_deleted",
        error_message="The file was deleted.",
    )
    runs.filter(status=RunStatus.RUNNING, cancel_requested_at__isnull=True).update(
        cancel_requested_at=Now()
    )
