"""The queue of runs: insert them, wake a worker, cancel them.

Celery messages can be lost, so a kick carries no data and is only a hint: the rows say what is
due, and the sweep finds runs whose kick was lost.
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

MAX_CHAIN = 20  # workflows in a row, in case a loop exists
MAX_KICKS = 16  # per transaction: an awake worker continues until nothing is due

# Sends the message that makes a worker look for due runs, after a delay in seconds.
Sender = Callable[[float], None]
_senders: list[Sender] = []


def install(sender: Sender) -> None:
    """Set how kicks are sent. Called at startup, so that services do not depend on Celery."""
    _senders[:] = [sender]


def kick(wait: timedelta = timedelta()) -> None:
    """Make a worker look for due runs, at once or after `wait`."""
    _senders[0](wait.total_seconds())


def kick_after_commit(runs: int = 1) -> None:
    """Kick once for each new run, after the commit. If a kick fails, the sweep starts the run."""
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
    """Insert a run. Returns None when a run of this workflow is already active on the file.

    Call in a transaction that has locked the file's row, so that the file cannot expire meanwhile,
    and then call `kick_after_commit`.
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
    run.due_at = due_at  # set by the database's clock
    return run


def enqueue_all(workflow: Workflow, files: Iterable[IngestFile], *, started_by: User) -> int:
    """Insert a run for each accepted file without an active run. Returns how many.

    Call it like `enqueue`.
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


# Plain SQL for speed, because it runs for every stored file.
_RULES = """
    SELECT * FROM workflow
    WHERE is_active AND auto_start
        AND (auto_start_user_id IS NULL OR auto_start_user_id = %(user)s)
        AND (auto_start_batch_id IS NULL OR auto_start_batch_id = %(batch)s)
"""
_RULES_AND_GRANT = f"""{_RULES}
    UNION ALL
    SELECT workflow.* FROM workflow JOIN upload_grant ON upload_grant.workflow_id = workflow.id
    WHERE workflow.is_active AND upload_grant.id = %(grant)s
"""  # noqa: S608  (no value is in it)


def auto_start(file: IngestFile) -> None:
    """Start the workflows whose rules match a new file, in the transaction that stores the file;
    of a guest's, that of the upload link as well.

    Rules apply to uploads only. Results start nothing, because rules could then loop.
    """
    if file.is_result:
        return
    rules = _RULES_AND_GRANT if file.grant_id else _RULES
    values = {"user": file.uploaded_by_id, "batch": file.batch_id, "grant": file.grant_id}
    for workflow in Workflow.objects.raw(rules, values):
        if accepts(workflow, file) and enqueue(workflow, file, trigger=RunTrigger.RULE):
            kick_after_commit()


def accepts(workflow: Workflow, file: IngestFile) -> bool:
    return content_types.matches(workflow.accepted_types, file.detected_type)


def cancel_all(file: IngestFile) -> None:
    """Cancel the pending runs of a file that is being deleted; ask running ones to stop."""
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
