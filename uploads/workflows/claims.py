"""The worker's side of runs: claim a run, renew its lease, end it.

Every change is conditional on the attempt's lease, so that a worker that lost its lease changes
nothing. Leases use the database's clock, because workers may be on several machines. Rows are
locked in one order: the file's, then the run's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from common import journal, lengths
from common.ids import uuid7
from common.models import TimeStampedQuerySet
from uploads.models import (
    AttemptOutcome,
    FileStatus,
    IngestFile,
    RunStatus,
    RunTrigger,
    WorkflowAttempt,
    WorkflowLogLine,
    WorkflowRun,
)
from uploads.workflows.announce import announce_run
from uploads.workflows.input_files import consume_if_done
from uploads.workflows.queue import MAX_CHAIN, accepts, enqueue, kick, kick_after_commit
from uploads.workflows.results import LeaseLostError, StoredResult, discard_result, insert_result

LEASE = timedelta(
    seconds=20
)  # a worker that does not renew its lease for this long is considered dead
MAX_LOG_LINES = 1000  # of one attempt; further lines are dropped
LONGEST_WAIT = timedelta(hours=6)  # between two attempts
SWEEP_BATCH = 200
_CLAIMS = 0x646F6F72  # advisory lock: one claim at a time keeps concurrency limits exact


@dataclass(frozen=True)
class LogLine:
    at: datetime
    level: str
    message: str
    id: UUID = field(default_factory=uuid7)  # so that writing it twice changes nothing


@dataclass(frozen=True)
class Progress:
    """What is new since the last report of a running attempt. `percent` is None if unknown."""

    percent: float | None = None
    message: str = ""
    cost: Decimal | None = None  # of the whole run, so that writing it twice changes nothing
    lines: Sequence[LogLine] = ()


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed. `message` is for users, `traceback` for staff."""

    code: str
    message: str
    traceback: str = ""
    may_retry: bool = False
    retry_after: float | None = None  # seconds; None to follow the schedule
    outcome: AttemptOutcome = AttemptOutcome.FAILED


_CANCELLED = Failure("cancelled", "The run was cancelled.", outcome=AttemptOutcome.CANCELLED)

_NEXT_DUE = """
    SELECT due.id FROM workflow
    CROSS JOIN LATERAL (
        SELECT run.id, run.due_at FROM workflow_run run
        WHERE run.workflow_id = workflow.id AND run.status = 'pending'
            AND run.due_at <= statement_timestamp()
        ORDER BY run.due_at, run.id LIMIT 1
    ) due
    WHERE workflow.max_concurrent IS NULL OR workflow.max_concurrent > (
        SELECT count(*) FROM workflow_run running
        WHERE running.workflow_id = workflow.id AND running.status = 'running'
    )
    ORDER BY due.due_at, due.id LIMIT 1
"""


def claim(*, worker: str) -> WorkflowRun | None:
    """Lease the run that has been due longest and that no concurrency limit holds back."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CLAIMS])
        run_id = _next_due()
        while run_id is not None and not _take_lease(run_id=run_id, worker=worker):
            run_id = _next_due()  # the previous one was just cancelled
    if run_id is None:
        return None
    return WorkflowRun.objects.select_related(
        "workflow", "file", "owner", "previous__workflow", "previous__result_file"
    ).get(id=run_id)


def is_any_due() -> bool:
    """Whether `claim` would find a run."""
    return _next_due() is not None


def _next_due() -> UUID | None:
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_DUE)
        row = cursor.fetchone()
    return row[0] if row else None


def _take_lease(*, run_id: UUID, worker: str) -> bool:
    leased = WorkflowRun.objects.filter(id=run_id, status=RunStatus.PENDING).change(
        status=RunStatus.RUNNING,
        lease_id=uuid4(),
        lease_expires_at=Now() + LEASE,
        is_handed_over=False,
        attempt=F("attempt") + 1,
        attempts_left=F("attempts_left") - 1,
        started_at=Coalesce("started_at", Now()),
        progress_percent=None,
        progress_message="",
    )
    if leased:
        run = WorkflowRun.objects.only("attempt").get(id=run_id)
        WorkflowAttempt.objects.create(
            run=run, number=run.attempt, worker=worker[: lengths.WORKER], started_at=Now()
        )
    return leased


def renew(run: WorkflowRun, progress: Progress) -> bool:
    """Renew the lease and save the progress. Returns whether cancellation was requested.

    Raises LeaseLostError.
    """
    with transaction.atomic():
        renewed = _leased(run).change(lease_expires_at=Now() + LEASE, **_progress_values(progress))
        if not renewed:
            raise LeaseLostError
        _write_lines(run, progress.lines)
        return _leased(run).filter(cancel_requested_at__isnull=False).exists()


def hand_over(run: WorkflowRun, *, seconds: float) -> bool:
    """Leave the attempt to an external runner, which has `seconds` to answer.

    A run whose cancellation was requested ends as cancelled instead. False when the lease is lost.
    """
    handed = _leased(run).filter(cancel_requested_at=None)
    return handed.change(
        is_handed_over=True, lease_expires_at=Now() + timedelta(seconds=seconds)
    ) or fail(run, _CANCELLED)


def record_progress(run: WorkflowRun, progress: Progress) -> bool:
    """Save the progress that an external runner reports. False when the attempt is over.

    The runner's deadline does not move.
    """
    with transaction.atomic():
        noted = _leased(run).change(**_progress_values(progress))
        if noted:
            _write_lines(run, progress.lines)
    return noted


def complete(
    run: WorkflowRun,
    *,
    output_text: str,
    is_cut: bool,
    result: StoredResult | None,
    warnings: Sequence[str] = (),
) -> bool:
    """Complete the run: insert its result, emit the event, start the next workflow.

    A file that the workflow consumes is consumed once no other run is active on it.

    `is_cut`: `output_text` is only the beginning of the output. Returns False when the lease is
    lost; then `result` has no row, and the caller deletes its bytes.
    """
    stored = _storable_text(output_text, settings.PORTAL_WORKFLOW_OUTPUT_MAX)
    with transaction.atomic():
        file = IngestFile.objects.select_for_update().get(id=run.file_id)
        if result is not None and not _owns_result(run, result):
            return False
        if not _end(
            run,
            RunStatus.COMPLETED,
            progress_percent=100.0,
            output_text=stored,
            output_is_cut=is_cut or len(stored) < len(output_text),
            warnings=[_storable_text(warning, lengths.RUN_WARNING) for warning in warnings],
            error_code="",
            error_message="",
        ):
            return False
        if result is not None:
            # The file's current owner: `run` was read when the attempt began.
            made = insert_result(result, owner=file.uploaded_by)
            WorkflowRun.objects.filter(id=run.id).update(result_file=made, result_key="")
        _end_attempt(run, AttemptOutcome.COMPLETED)
        ended = _reload(run)
        announce_run("workflow_run.completed", ended)
        _start_next(ended, file)
        consume_if_done(file.id)
    return True


def fail(run: WorkflowRun, failure: Failure) -> bool:
    """Fail the attempt, and the run too unless it can be retried. False when the lease is lost."""
    with transaction.atomic():
        IngestFile.objects.select_for_update().get(id=run.file_id)
        current = _leased(run).first()
        if current is None:
            return False
        _end_attempt(run, failure.outcome, failure)
        error = {
            "error_code": _storable_text(failure.code, 64),
            "error_message": _storable_text(failure.message, lengths.ERROR_MESSAGE),
        }
        if current.cancel_requested_at is not None:
            _end(run, RunStatus.CANCELLED)
        elif failure.may_retry and current.attempts_left > 0:
            wait = _retry_delay(current, failure)
            _reschedule(run, wait=wait, **error)
            transaction.on_commit(lambda: kick(wait), robust=True)
            return True
        else:
            _end(run, RunStatus.FAILED, **error)
            announce_run("workflow_run.failed", _reload(run))
        consume_if_done(run.file_id)
    return True


def release(run: WorkflowRun) -> bool:
    """Give back an attempt that a stopping worker interrupted; it does not count as a try."""
    with transaction.atomic():
        IngestFile.objects.select_for_update().get(id=run.file_id)
        if _leased(run).filter(cancel_requested_at__isnull=False).exists():
            return fail(run, _CANCELLED)
        released = _reschedule(run, wait=timedelta(), attempts_left=F("attempts_left") + 1)
        if released:
            _end_attempt(run, AttemptOutcome.RELEASED)
            kick_after_commit()
    return released


def cancel(*, run_id: UUID) -> None:
    """End a pending run at once; ask the worker of a running one to end it."""
    with transaction.atomic():
        file_id = WorkflowRun.objects.values_list("file_id", flat=True).get(id=run_id)
        IngestFile.objects.select_for_update().get(id=file_id)
        run = WorkflowRun.objects.select_for_update().get(id=run_id)
        if run.status == RunStatus.RUNNING and run.is_handed_over:
            _end_attempt(run, AttemptOutcome.CANCELLED)
            _end(run, RunStatus.CANCELLED)
        elif run.status == RunStatus.RUNNING and run.cancel_requested_at is None:
            WorkflowRun.objects.filter(id=run_id).update(cancel_requested_at=Now())
        elif run.status == RunStatus.PENDING:
            WorkflowRun.objects.filter(id=run_id).update(
                status=RunStatus.CANCELLED, completed_at=Now(), cancel_requested_at=Now()
            )
            _tell_ended(run, RunStatus.CANCELLED)
        consume_if_done(file_id)


def sweep() -> int:
    """End the attempts whose lease has expired. Returns how many were ended."""
    lost = WorkflowRun.objects.filter(
        status=RunStatus.RUNNING, lease_expires_at__lte=Now()
    ).order_by("lease_expires_at")[:SWEEP_BATCH]
    return sum(_end_expired(run) for run in list(lost))


def _end_expired(run: WorkflowRun) -> bool:
    """Fail the attempt, unless its lease was renewed since it was listed."""
    with transaction.atomic():
        IngestFile.objects.select_for_update().get(id=run.file_id)
        silent = _leased(run).filter(lease_expires_at__lte=Now()).select_for_update()
        ended = silent.exists() and fail(run, _expiry_failure(run))
    if ended and run.result_key:
        discard_result(run, run.result_key)
    return ended


def _expiry_failure(run: WorkflowRun) -> Failure:
    if run.is_handed_over:
        return Failure(
            "deadline_passed", "The external runner did not answer in time.", may_retry=True
        )
    return Failure(
        "worker_lost",
        "The worker that the run was on stopped working.",
        may_retry=True,
        retry_after=0,
        outcome=AttemptOutcome.LOST,
    )


def _owns_result(run: WorkflowRun, result: StoredResult) -> bool:
    """Whether the result's bytes still belong to the run. Locks the run against their deletion."""
    return _leased(run).filter(result_key=result.stored.key).select_for_update().exists()


def _leased(run: WorkflowRun) -> TimeStampedQuerySet:
    """The run's row, matched only while this attempt holds the lease."""
    return WorkflowRun.objects.filter(id=run.id, status=RunStatus.RUNNING, lease_id=run.lease_id)


def _end(run: WorkflowRun, status: RunStatus, **values: object) -> bool:
    ended = _leased(run).change(
        status=status,
        completed_at=Now(),
        lease_id=None,
        lease_expires_at=None,
        is_handed_over=False,
        **values,
    )
    if ended:
        _tell_ended(run, status, code=values.get("error_code", ""))
    return ended


def _tell_ended(run: WorkflowRun, status: RunStatus, *, code: object = "") -> None:
    journal.tell_after_commit(
        "run_ended",
        run_id=run.id,
        workflow_id=run.workflow_id,
        file_id=run.file_id,
        user=run.owner_id,
        attempt=run.attempt,
        outcome=str(status),
        code=code,
    )


def _reschedule(run: WorkflowRun, *, wait: timedelta, **values: object) -> bool:
    return _leased(run).change(
        status=RunStatus.PENDING,
        due_at=Now() + wait,
        lease_id=None,
        lease_expires_at=None,
        is_handed_over=False,
        **values,
    )


def _end_attempt(run: WorkflowRun, outcome: AttemptOutcome, failure: Failure | None = None) -> None:
    WorkflowAttempt.objects.filter(run=run, number=run.attempt).update(
        outcome=outcome,
        ended_at=Now(),
        error_code=_storable_text(failure.code, 64) if failure else "",
        error_message=_storable_text(failure.message, lengths.ERROR_MESSAGE) if failure else "",
        traceback=_storable_text(failure.traceback, 20_000) if failure else "",
    )


def _progress_values(progress: Progress) -> dict[str, object]:
    values: dict[str, object] = {}
    if progress.percent is not None:
        values["progress_percent"] = min(100.0, max(0.0, progress.percent))
    if progress.message:
        values["progress_message"] = _storable_text(progress.message, lengths.PROGRESS)
    if progress.cost is not None:
        values["cost"] = progress.cost
    return values


def _write_lines(run: WorkflowRun, lines: Sequence[LogLine]) -> None:
    if not lines:
        return
    written = WorkflowLogLine.objects.filter(run=run, attempt=run.attempt).count()
    rows = [
        WorkflowLogLine(
            id=line.id,
            run=run,
            attempt=run.attempt,
            at=line.at,
            level=line.level[: lengths.LOG_LEVEL],
            message=_storable_text(line.message, 2000),
        )
        for line in lines[: max(0, MAX_LOG_LINES - written)]
    ]
    WorkflowLogLine.objects.bulk_create(rows, ignore_conflicts=True)


def _retry_delay(run: WorkflowRun, failure: Failure) -> timedelta:
    """The time until the next attempt: what the failure asks for, otherwise the schedule's."""
    if failure.retry_after is not None:
        longest = LONGEST_WAIT.total_seconds()
        return timedelta(seconds=min(max(0.0, failure.retry_after), longest))
    schedule = settings.PORTAL_WORKFLOW_RETRY_SCHEDULE
    attempts_made = max(1, run.workflow.max_attempts - run.attempts_left)
    return timedelta(seconds=schedule[min(attempts_made, len(schedule)) - 1])


def _start_next(run: WorkflowRun, file: IngestFile) -> None:
    """Start the workflow that follows, or write to the run's log why it cannot start."""
    following = run.workflow.on_success
    if following is None:
        return
    reason = ""
    if file.status != FileStatus.STORED:
        reason = "the file is gone"
    elif not following.is_active:
        reason = "it is switched off"
    elif not accepts(following, file):
        reason = f"it does not take {file.detected_type}"
    elif run.chain_depth >= MAX_CHAIN:
        reason = f"the chain is {MAX_CHAIN} workflows long already"
    elif enqueue(following, file, trigger=RunTrigger.CHAIN, previous=run):
        kick_after_commit()
    else:
        reason = "a run of it is under way already"
    if reason:
        line = f"{following.name} was to follow, but {reason}."
        _write_lines(run, [LogLine(timezone.now(), "warning", line)])


def _reload(run: WorkflowRun) -> WorkflowRun:
    return WorkflowRun.objects.select_related(
        "workflow__on_success", "file", "owner", "result_file"
    ).get(id=run.id)


def _storable_text(text: str, length: int) -> str:
    """The first `length` characters, without NUL and lone surrogates, which PostgreSQL refuses."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()[:length]
