"""A worker's side of runs: claim one, keep it, bring it to its end.

Every change is conditional on the attempt's lease, so that a worker which lost it writes nothing
over another's. Leases are by the database's clock, for workers may be on several machines. Locks
are taken in one order: the file's row, then the run's.
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

from common import lengths
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
from uploads.workflows.results import StoredResult, discard_result, insert_result

LEASE = timedelta(seconds=20)  # a worker that says nothing for so long is dead
MAX_LOG_LINES = 1000  # of one attempt; what a task says beyond is dropped
LONGEST_WAIT = timedelta(hours=6)  # that a failed attempt can ask for
SWEEP_BATCH = 200
_CLAIMS = 0x646F6F72  # of the advisory lock: claims take turns, so that limits are exact


@dataclass(frozen=True)
class LogLine:
    at: datetime
    level: str
    message: str
    id: UUID = field(default_factory=uuid7)  # so that telling it twice changes nothing


@dataclass(frozen=True)
class Progress:
    """What a running attempt has to tell since it last did. `percent` None: not known."""

    percent: float | None = None
    message: str = ""
    cost: Decimal | None = None  # of the whole run, so that telling it twice changes nothing
    lines: Sequence[LogLine] = ()


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed. `message` is for users, `traceback` for staff."""

    code: str
    message: str
    traceback: str = ""
    may_retry: bool = False
    retry_after: float | None = None  # seconds; None: as the schedule says
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
    """The run that is due for longest and that no limit keeps, leased to the caller."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CLAIMS])
        run_id = _next_due()
        while run_id is not None and not _lease(run_id=run_id, worker=worker):
            run_id = _next_due()  # that one was cancelled just now
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


def _lease(*, run_id: UUID, worker: str) -> bool:
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


def keep(run: WorkflowRun, progress: Progress) -> bool | None:
    """Prolong the lease and write down what is new; None when the lease is lost.

    Else whether the run is to be cancelled.
    """
    with transaction.atomic():
        kept = _held(run).change(lease_expires_at=Now() + LEASE, **_progress_values(progress))
        if not kept:
            return None
        _write_lines(run, progress.lines)
        return _held(run).filter(cancel_requested_at__isnull=False).exists()


def hand_over(run: WorkflowRun, *, seconds: float) -> bool:
    """An external runner works on: silence until the deadline is the attempt's failure."""
    handed = _held(run).filter(cancel_requested_at=None)
    return handed.change(
        is_handed_over=True, lease_expires_at=Now() + timedelta(seconds=seconds)
    ) or fail(run, _CANCELLED)


def note_answer(run: WorkflowRun, progress: Progress) -> bool:
    """What an external runner tells before its answer. The deadline stays."""
    with transaction.atomic():
        noted = _held(run).change(**_progress_values(progress))
        if noted:
            _write_lines(run, progress.lines)
    return noted


def complete(
    run: WorkflowRun, *, output_text: str, is_cut: bool, result: StoredResult | None
) -> bool:
    """The run's good end: result, event, the next of the chain, and the file if it is consumed.

    `is_cut`: there was more output than is given here. False when the lease is lost; then `result`
    is no file and its bytes are the caller's to free.
    """
    kept = _text(output_text, settings.PORTAL_WORKFLOW_OUTPUT_MAX)
    with transaction.atomic():
        file = IngestFile.objects.select_for_update().get(id=run.file_id)
        if result is not None and not _is_still_its(run, result):
            return False
        if not _end(
            run,
            RunStatus.COMPLETED,
            progress_percent=100.0,
            output_text=kept,
            output_is_cut=is_cut or len(kept) < len(output_text),
            error_code="",
            error_message="",
        ):
            return False
        if result is not None:
            # The file's owner as of now: the run was read when it began.
            made = insert_result(result, owner=file.uploaded_by)
            WorkflowRun.objects.filter(id=run.id).update(result_file=made, result_key="")
        _end_attempt(run, AttemptOutcome.COMPLETED)
        ended = _reloaded(run)
        announce_run("workflow_run.completed", ended)
        _start_next(ended, file)
        consume_if_done(file.id)
    return True


def fail(run: WorkflowRun, failure: Failure) -> bool:
    """The attempt's bad end; the run's too, unless it may be tried again. False: lease lost."""
    with transaction.atomic():
        IngestFile.objects.select_for_update().get(id=run.file_id)
        current = _held(run).first()
        if current is None:
            return False
        _end_attempt(run, failure.outcome, failure)
        error = {
            "error_code": _text(failure.code, 64),
            "error_message": _text(failure.message, lengths.ERROR_MESSAGE),
        }
        if current.cancel_requested_at is not None:
            _end(run, RunStatus.CANCELLED)
        elif failure.may_retry and current.attempts_left > 0:
            wait = _wait(current, failure)
            _pend(run, wait=wait, **error)
            transaction.on_commit(lambda: kick(wait), robust=True)
            return True
        else:
            _end(run, RunStatus.FAILED, **error)
            announce_run("workflow_run.failed", _reloaded(run))
        consume_if_done(run.file_id)
    return True


def release(run: WorkflowRun) -> bool:
    """Give an attempt back that a stopping worker cut short; it does not count."""
    with transaction.atomic():
        IngestFile.objects.select_for_update().get(id=run.file_id)
        if _held(run).filter(cancel_requested_at__isnull=False).exists():
            return fail(run, _CANCELLED)
        released = _pend(run, wait=timedelta(), attempts_left=F("attempts_left") + 1)
        if released:
            _end_attempt(run, AttemptOutcome.RELEASED)
            kick_after_commit()
    return released


def cancel(*, run_id: UUID) -> None:
    """End a run that waits, or have the worker of one that runs end it."""
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
        consume_if_done(file_id)


def sweep() -> int:
    """End the attempts whose worker died or whose runner was silent; how many it were."""
    lost = WorkflowRun.objects.filter(
        status=RunStatus.RUNNING, lease_expires_at__lte=Now()
    ).order_by("lease_expires_at")[:SWEEP_BATCH]
    return sum(_end_silent(run) for run in list(lost))


def _end_silent(run: WorkflowRun) -> bool:
    """Fail the attempt unless it was heard of since it was listed."""
    with transaction.atomic():
        IngestFile.objects.select_for_update().get(id=run.file_id)
        silent = _held(run).filter(lease_expires_at__lte=Now()).select_for_update()
        ended = silent.exists() and fail(run, _silence(run))
    if ended and run.result_key:
        discard_result(run, run.result_key)
    return ended


def _silence(run: WorkflowRun) -> Failure:
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


def _is_still_its(run: WorkflowRun, result: StoredResult) -> bool:
    """Whether nobody freed the bytes meanwhile; nobody can until the transaction ends."""
    return _held(run).filter(result_key=result.stored.key).select_for_update().exists()


def _held(run: WorkflowRun) -> TimeStampedQuerySet:
    """The run, if this attempt is still on."""
    return WorkflowRun.objects.filter(id=run.id, status=RunStatus.RUNNING, lease_id=run.lease_id)


def _end(run: WorkflowRun, status: RunStatus, **values: object) -> bool:
    return _held(run).change(
        status=status,
        completed_at=Now(),
        lease_id=None,
        lease_expires_at=None,
        is_handed_over=False,
        **values,
    )


def _pend(run: WorkflowRun, *, wait: timedelta, **values: object) -> bool:
    return _held(run).change(
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
        error_code=_text(failure.code, 64) if failure else "",
        error_message=_text(failure.message, lengths.ERROR_MESSAGE) if failure else "",
        traceback=_text(failure.traceback, 20_000) if failure else "",
    )


def _progress_values(progress: Progress) -> dict[str, object]:
    values: dict[str, object] = {}
    if progress.percent is not None:
        values["progress_percent"] = min(100.0, max(0.0, progress.percent))
    if progress.message:
        values["progress_message"] = _text(progress.message, lengths.PROGRESS)
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
            message=_text(line.message, 2000),
        )
        for line in lines[: max(0, MAX_LOG_LINES - written)]
    ]
    WorkflowLogLine.objects.bulk_create(rows, ignore_conflicts=True)


def _wait(run: WorkflowRun, failure: Failure) -> timedelta:
    """Until the next attempt: what the failure asks for, else by the schedule."""
    if failure.retry_after is not None:
        longest = LONGEST_WAIT.total_seconds()
        return timedelta(seconds=min(max(0.0, failure.retry_after), longest))
    schedule = settings.PORTAL_WORKFLOW_RETRY_SCHEDULE
    made = max(1, run.workflow.max_attempts - run.attempts_left)
    return timedelta(seconds=schedule[min(made, len(schedule)) - 1])


def _start_next(run: WorkflowRun, file: IngestFile) -> None:
    """The workflow that follows; where it cannot, the run's log says why."""
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


def _reloaded(run: WorkflowRun) -> WorkflowRun:
    return WorkflowRun.objects.select_related(
        "workflow__on_success", "file", "owner", "result_file"
    ).get(id=run.id)


def _text(text: str, length: int) -> str:
    """What PostgreSQL keeps: no NUL, no half of a surrogate pair, no more than there is room."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()[:length]
