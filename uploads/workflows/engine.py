"""Executes runs: a worker claims due runs and supervises one attempt at a time.

The task runs in its own process (`uploads.workflows.process`). The worker renews the lease,
enforces the limits and saves what the task reports. However an attempt ends, the worker continues
with the next.
"""

import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from time import monotonic
from traceback import format_exc
from typing import Any, BinaryIO
from uuid import UUID

from django.conf import settings

from common.db import DATABASE_GONE, release_connection, renew_connections
from common.errors import DooritoError
from uploads.files.links import LinkKind, link
from uploads.models import FileStatus, IngestFile, RunStatus, WorkflowRun, WorkflowSecret
from uploads.workflows import claims, queue, registry
from uploads.workflows.child import MOST_LINES, Job, Limits
from uploads.workflows.claims import LEASE, Failure, LogLine, Progress
from uploads.workflows.context import InputFile, PreviousResult
from uploads.workflows.links import callback_link
from uploads.workflows.messages import (
    AwaitingAnswer,
    Completed,
    Failed,
    FinalMessage,
    Logged,
    ProgressMade,
    ProgressMessage,
    Spent,
)
from uploads.workflows.process import TaskProcess
from uploads.workflows.results import (
    LeaseLostError,
    StoredResult,
    discard_result,
    discard_unfinished,
    fitting_name,
    store_result,
)

logger = logging.getLogger(__name__)

BEAT = 1.0  # seconds to wait for messages before the limits are checked
QUIET_BEAT = 3.0  # seconds until the lease is renewed when there is nothing new
CANCEL_GRACE = 5.0  # seconds that a cancelled task has to end by itself
STOP_GRACE = 3.0  # seconds that a task has when the worker stops
EXIT_GRACE = 5.0  # seconds from a task's last message to its process's end
PAUSE = 1.0  # seconds between two tries while the database does not answer
_BLOCK = 2**20

MustStop = Callable[[], bool]


def run_due(*, must_stop: MustStop) -> int:
    """Execute due runs until none is left or the worker must stop. Returns their number."""
    made = 0
    worker = f"{socket.gethostname()}:{os.getpid()}"
    while not must_stop() and (run := claims.claim(worker=worker)):
        if claims.is_any_due():
            queue.kick()  # wakes an idle worker
        execute(run, must_stop=must_stop)
        made += 1
    return made


def execute(run: WorkflowRun, *, must_stop: MustStop) -> None:
    """Make one attempt of a run that this worker has claimed.

    Raises no error of the attempt, so that the worker can continue with the next run.
    """
    try:
        discard_unfinished(run)
        with _folder(run) as folder:
            job = _prepare(run, folder)
            release_connection()
            _Attempt(run, job, must_stop=must_stop).make()
    except _CannotRunError as exc:
        claims.fail(run, exc.failure)
    except LeaseLostError:
        logger.warning("Run %s is not this worker's any more", run.id)
    except DATABASE_GONE:
        logger.exception("Run %s is left to the sweep", run.id)
        renew_connections()
    except Exception:
        logger.exception("Run %s: the attempt could not be made", run.id)
        message = "The portal could not make the attempt; an administrator finds out why."
        fault = Failure("portal_error", message, traceback=format_exc(), may_retry=True)
        claims.fail(run, fault)


class _CannotRunError(Exception):
    """The attempt cannot start."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(code, message)


def _prepare(run: WorkflowRun, folder: Path) -> Job:
    """Raises _CannotRunError."""
    workflow = run.workflow
    if not workflow.is_active:
        raise _CannotRunError(
            "workflow_inactive", f"An administrator has switched {workflow.name} off."
        )
    if run.file.status != FileStatus.STORED:
        raise _CannotRunError("file_gone", "The file was consumed or deleted meanwhile.")
    task = registry.find(workflow.task_name)
    if task is None:
        raise _CannotRunError(
            "task_missing", f"The task {workflow.task_name} is not installed any more."
        )
    try:
        secrets = _secrets(task, run.config)
    except DooritoError as exc:
        raise _CannotRunError(exc.code, exc.message) from exc
    return Job(
        run_id=run.id,
        attempt=run.attempt,
        workflow_slug=workflow.slug,
        task_name=task.name,
        config=run.config,
        file=_input_file(run.file),
        previous=_previous(run),
        folder=folder,
        callback_url=callback_link(run.id, run.lease_id),
        secrets=secrets,
        limits=Limits(
            seconds=workflow.time_limit_seconds,
            memory=settings.PORTAL_WORKFLOW_MEMORY,
            file_size=settings.PORTAL_WORKFLOW_RESULT_MAX,
            output=settings.PORTAL_WORKFLOW_OUTPUT_MAX,
        ),
    )


def _secrets(task: registry.TaskDefinition, config: dict[str, Any]) -> dict[str, str]:
    """Raises _CannotRunError, DooritoError `secret_unreadable`."""
    names = task.secret_names(config)
    found = {secret.name: secret.value for secret in WorkflowSecret.objects.filter(name__in=names)}
    for name in names:
        if name not in found:
            raise _CannotRunError(
                "secret_missing", f"There is no workflow secret {name}; an administrator adds it."
            )
    return found


def _input_file(file: IngestFile) -> InputFile:
    return InputFile(
        id=file.id,
        filename=file.original_filename,
        content_type=file.detected_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        url=link(LinkKind.FILE, file.id),
        metadata=file.metadata,
        storage_key=file.storage_key,
        storage_backend=file.storage_backend,
        storage_bucket=file.storage_bucket,
    )


def _previous(run: WorkflowRun) -> PreviousResult | None:
    previous = run.previous
    if previous is None:
        return None
    made = previous.result_file
    is_there = made is not None and made.status == FileStatus.STORED
    return PreviousResult(
        task_name=previous.workflow.task_name,
        output_text=previous.output_text,
        file=_input_file(made) if made is not None and is_there else None,
    )


class _WorkerStopsError(Exception):
    """The worker must stop."""


class _MustEndError(Exception):
    """The attempt must end: its time is up, or the run was cancelled."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class _Attempt:
    """One attempt, from the start of its process to its saved outcome."""

    def __init__(self, run: WorkflowRun, job: Job, *, must_stop: MustStop) -> None:
        self._run = run
        self._job = job
        self._must_stop = must_stop
        self._unsaved = Progress()  # not saved yet
        self._cost = run.cost or Decimal(0)  # of the whole run; only this attempt adds to it
        now = monotonic()
        self._renewed_at = now
        self._lease_end = now + LEASE.total_seconds()
        self._time_is_up_at = now + job.limits.seconds
        self._is_cancelled = False
        self._cancelled_at = 0.0

    def make(self) -> None:
        """Raises LeaseLostError."""
        process = TaskProcess(self._job)
        try:
            self._supervise(process)
        finally:
            process.end()

    def _supervise(self, process: TaskProcess) -> None:
        try:
            last = self._wait_for_end(process)
        except EOFError:
            self._fail(_crash(process.end(grace=EXIT_GRACE), self._job.limits))
        except _MustEndError as exc:
            process.end()
            self._fail(exc.failure)
        except _WorkerStopsError:
            self._stop(process)
        else:
            process.end(grace=EXIT_GRACE)
            self._finish(last)

    def _stop(self, process: TaskProcess) -> None:
        """Give the attempt back, unless the task ends within STOP_GRACE."""
        process.cancel()
        last = self._drain(process)
        process.end()
        if isinstance(last, Completed | AwaitingAnswer):
            self._finish(last)
        else:
            self._persist(self._renew)
            self._persist(lambda: claims.release(self._run))

    def _drain(self, process: TaskProcess) -> FinalMessage | None:
        """Collect messages, such as costs, for STOP_GRACE seconds. None without a final one."""
        try:
            for message in process.messages(timeout=STOP_GRACE):
                if isinstance(message, FinalMessage):
                    return message
                self._collect(message)
        except EOFError:
            return None
        return None

    def _wait_for_end(self, process: TaskProcess) -> FinalMessage:
        """Wait for the final message. Raises EOFError when the process ends without one."""
        while True:
            for message in process.messages(timeout=BEAT):
                if isinstance(message, FinalMessage):
                    return message
                self._collect(message)
            self._renew_if_due()
            self._enforce_cancel(process)
            if monotonic() >= self._time_is_up_at:
                raise _MustEndError(_out_of_time(self._job.limits))
            if self._must_stop():
                raise _WorkerStopsError

    def _collect(self, message: ProgressMessage) -> None:
        news = self._unsaved
        match message:
            case ProgressMade():
                self._unsaved = replace(news, percent=message.percent, message=message.message)
            case Spent():
                self._cost += message.amount
                self._unsaved = replace(news, cost=self._cost)
            case Logged() if len(news.lines) < MOST_LINES:
                line = LogLine(message.at, message.level, message.message)
                self._unsaved = replace(news, lines=(*news.lines, line))

    def _renew_if_due(self) -> None:
        """Renew the lease and save what is new, if enough time has passed."""
        quiet = monotonic() - self._renewed_at
        if quiet < (QUIET_BEAT if self._unsaved == Progress() else BEAT):
            return
        try:
            self._renew()
        except DATABASE_GONE as exc:
            if monotonic() >= self._lease_end:
                raise LeaseLostError from exc
            logger.warning("Run %s: the database does not answer: %s", self._run.id, exc)
            renew_connections()

    def _renew(self) -> None:
        cancel_requested = claims.renew(self._run, self._unsaved)
        release_connection()
        self._unsaved = Progress()
        self._renewed_at = monotonic()
        self._lease_end = self._renewed_at + LEASE.total_seconds()
        if cancel_requested and not self._is_cancelled:
            self._is_cancelled = True
            self._cancelled_at = self._renewed_at

    def _enforce_cancel(self, process: TaskProcess) -> None:
        if not self._is_cancelled:
            return
        process.cancel()
        if monotonic() - self._cancelled_at > CANCEL_GRACE:
            raise _MustEndError(Failure("cancelled", "The run was cancelled."))

    def _finish(self, last: FinalMessage) -> None:
        if not isinstance(last, Failed):
            self._persist(self._renew)
        match last:
            case Failed():
                self._fail(_failure(last))
            case AwaitingAnswer():
                self._persist(lambda: claims.hand_over(self._run, seconds=last.seconds))
            case Completed():
                self._complete(last)

    def _complete(self, last: Completed) -> None:
        try:
            result = self._stored(last)
        except DooritoError as exc:
            self._fail(Failure(exc.code, exc.message, may_retry=True))
            return
        if not self._persist(
            lambda: claims.complete(
                self._run,
                output_text=last.output_text,
                is_cut=last.is_cut,
                result=result,
                warnings=last.warnings,
            )
        ):
            if result is not None:
                discard_result(self._run, result.stored.key)
            raise LeaseLostError

    def _stored(self, last: Completed) -> StoredResult | None:
        """Store the result file. Raises DooritoError, LeaseLostError."""
        if last.file is None:
            return None
        with _open_result(Path(last.file), self._job) as content:
            return store_result(
                self._run,
                filename=fitting_name(last.filename),
                size_bytes=os.fstat(content.fileno()).st_size,
                blocks=self._blocks(content),
                on_beat=self._renew_if_due,
            )

    def _blocks(self, content: BinaryIO) -> Iterator[memoryview]:
        while block := content.read(_BLOCK):
            yield memoryview(block)
            self._renew_if_due()

    def _fail(self, failure: Failure) -> None:
        run = self._run
        logger.warning(
            "Run %s, attempt %s: %s: %s", run.id, run.attempt, failure.code, failure.message
        )
        self._persist(self._renew)
        if not self._persist(lambda: claims.fail(self._run, failure)):
            raise LeaseLostError

    def _persist[T](self, action: Callable[[], T]) -> T:
        """Call `action`, again while the database does not answer, until the lease ends."""
        while True:
            try:
                return action()
            except DATABASE_GONE as exc:
                if monotonic() >= self._lease_end:
                    raise LeaseLostError from exc
                logger.warning("Run %s: the database does not answer: %s", self._run.id, exc)
                time.sleep(PAUSE)
                renew_connections()


def _failure(last: Failed) -> Failure:
    return Failure(
        last.code,
        last.message,
        traceback=last.traceback,
        may_retry=last.may_retry,
        retry_after=last.retry_after,
    )


def _out_of_time(limits: Limits) -> Failure:
    return Failure("time_limit", f"The run took longer than {limits.seconds:g} s.")


def _crash(code: int | None, limits: Limits) -> Failure:
    """The failure for a process that ended without a final message."""
    if code == -signal.SIGXCPU:
        return _out_of_time(limits)
    how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
    return Failure(
        "task_crashed", f"The task's process ended unexpectedly ({how}).", may_retry=True
    )


@contextmanager
def _open_result(path: Path, job: Job) -> Iterator[BinaryIO]:
    """Open a result file. Raises DooritoError unless it is a file in this attempt's folder."""
    if not path.is_file() or not path.resolve().is_relative_to(job.folder.resolve()):
        raise DooritoError("task_error", "The task named a result file that is not there.")
    if path.stat().st_size > job.limits.file_size:
        raise DooritoError("result_too_large", "The task's result is too large.")
    with path.resolve().open("rb") as content:
        yield content


@contextmanager
def _folder(run: WorkflowRun) -> Iterator[Path]:
    """A private folder for one attempt, removed after it."""
    folder = _folders() / str(run.lease_id)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftover_folders() -> int:
    """Remove the folders of attempts whose worker was killed. Returns how many."""
    left = {UUID(path.name): path for path in _folders().glob("*-*-*-*-*")}
    running = WorkflowRun.objects.filter(status=RunStatus.RUNNING)
    held = set(running.values_list("lease_id", flat=True))
    gone = [path for lease, path in left.items() if lease not in held]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return len(gone)


def _folders() -> Path:
    return Path(settings.DOORITO_DATA_DIR) / "work"
