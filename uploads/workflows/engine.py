"""Runs the runs: a worker claims what is due and looks after one attempt at a time.

The task itself works in a process of its own (`uploads.workflows.process`). Here its lease is
kept, its limits are enforced and what it says is written down. Whatever becomes of the attempt,
the worker goes on with the next.
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
    Completed,
    Failed,
    Last,
    Logged,
    News,
    ProgressMade,
    Spent,
    WentOn,
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

BEAT = 1.0  # seconds between two looks at the process
QUIET_BEAT = 3.0  # seconds until the lease is prolonged although there is nothing new
CANCEL_GRACE = 5.0  # seconds that a cancelled task may take to end by itself
STOP_GRACE = 3.0  # seconds that it may take when the worker stops
EXIT_GRACE = 5.0  # seconds from a task's last message to its process's end
PAUSE = 1.0  # seconds, while the database does not answer
_BLOCK = 2**20

MustStop = Callable[[], bool]


def run_due(*, must_stop: MustStop) -> int:
    """Run what is due until nothing is, or the worker must stop; how many attempts it were."""
    made = 0
    worker = f"{socket.gethostname()}:{os.getpid()}"
    while not must_stop() and (run := claims.claim(worker=worker)):
        if claims.is_any_due():  # for who has nothing to do
            queue.kick()
        execute(run, must_stop=must_stop)
        made += 1
    return made


def execute(run: WorkflowRun, *, must_stop: MustStop) -> None:
    """Make one attempt of a run that this worker has claimed.

    Whatever is wrong with it, the worker can go on with the next.
    """
    try:
        discard_unfinished(run)
        with _folder(run) as folder:
            job = _prepare(run, folder)
            release_connection()
            _Attempt(run, job, must_stop=must_stop).make()
    except _CannotRunError as exc:
        claims.fail(run, exc.failure)
    except _LostError:
        logger.warning("Run %s is not this worker's any more", run.id)
    except DATABASE_GONE:
        logger.exception("Run %s is left to the sweep", run.id)
        renew_connections()
    except Exception:
        logger.exception("Run %s: the attempt could not be made", run.id)
        said = "The portal could not make the attempt; an administrator finds out why."
        fault = Failure("portal_error", said, traceback=format_exc(), may_retry=True)
        claims.fail(run, fault)


class _CannotRunError(Exception):
    """The attempt cannot even begin."""

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


class _LostError(Exception):
    """The attempt is not this worker's any more, or could not be kept."""


class _StoppedError(Exception):
    """The worker must stop."""


class _EndedError(Exception):
    """The attempt must end, for want of time or because the run was cancelled."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class _Attempt:
    """One attempt, from the start of its process to what became of it."""

    def __init__(self, run: WorkflowRun, job: Job, *, must_stop: MustStop) -> None:
        self._run = run
        self._job = job
        self._must_stop = must_stop
        self._news = Progress()  # what was not written down yet
        self._cost = run.cost or Decimal(0)  # of the run; the attempt alone adds to it
        now = monotonic()
        self._kept_at = now
        self._lease_end = now + LEASE.total_seconds()
        self._time_is_up_at = now + job.limits.seconds
        self._is_cancelled = False
        self._cancelled_at = 0.0

    def make(self) -> None:
        """Raises _LostError."""
        process = TaskProcess(self._job)
        try:
            self._see_through(process)
        finally:
            process.end()

    def _see_through(self, process: TaskProcess) -> None:
        try:
            last = self._follow(process)
        except EOFError:
            self._fail(_death(process.end(grace=EXIT_GRACE), self._job.limits))
        except _EndedError as exc:
            process.end()
            self._fail(exc.failure)
        except _StoppedError:
            self._stop(process)
        else:
            process.end(grace=EXIT_GRACE)
            self._conclude(last)

    def _stop(self, process: TaskProcess) -> None:
        """Give the attempt back, unless it is about to end anyhow."""
        process.cancel()
        last = self._last_words(process)
        process.end()
        if isinstance(last, Completed | WentOn):
            self._conclude(last)
        else:
            self._write(self._keep)
            self._write(lambda: claims.release(self._run))

    def _last_words(self, process: TaskProcess) -> Last | None:
        """What a task says when it is asked to stop: what it has spent, for one."""
        try:
            for message in process.messages(timeout=STOP_GRACE):
                if isinstance(message, Last):
                    return message
                self._note(message)
        except EOFError:
            return None
        return None

    def _follow(self, process: TaskProcess) -> Last:
        """Listen until the last message. Raises EOFError when the process ends without one."""
        while True:
            for message in process.messages(timeout=BEAT):
                if isinstance(message, Last):
                    return message
                self._note(message)
            self._beat()
            self._heed_cancel(process)
            if monotonic() >= self._time_is_up_at:
                raise _EndedError(_out_of_time(self._job.limits))
            if self._must_stop():
                raise _StoppedError

    def _note(self, message: News) -> None:
        news = self._news
        match message:
            case ProgressMade():
                self._news = replace(news, percent=message.percent, message=message.message)
            case Spent():
                self._cost += message.amount
                self._news = replace(news, cost=self._cost)
            case Logged() if len(news.lines) < MOST_LINES:
                line = LogLine(message.at, message.level, message.message)
                self._news = replace(news, lines=(*news.lines, line))

    def _beat(self) -> None:
        """Keep the lease, and write down what is new."""
        quiet = monotonic() - self._kept_at
        if quiet < (QUIET_BEAT if self._news == Progress() else BEAT):
            return
        try:
            self._keep()
        except DATABASE_GONE as exc:
            if monotonic() >= self._lease_end:
                raise _LostError from exc
            logger.warning("Run %s: the database does not answer: %s", self._run.id, exc)
            renew_connections()

    def _keep(self) -> None:
        answer = claims.keep(self._run, self._news)
        if answer is None:
            raise _LostError
        release_connection()
        self._news = Progress()
        self._kept_at = monotonic()
        self._lease_end = self._kept_at + LEASE.total_seconds()
        if answer and not self._is_cancelled:
            self._is_cancelled = True
            self._cancelled_at = self._kept_at

    def _heed_cancel(self, process: TaskProcess) -> None:
        if not self._is_cancelled:
            return
        process.cancel()
        if monotonic() - self._cancelled_at > CANCEL_GRACE:
            raise _EndedError(Failure("cancelled", "The run was cancelled."))

    def _conclude(self, last: Last) -> None:
        if not isinstance(last, Failed):
            self._write(self._keep)
        match last:
            case Failed():
                self._fail(_failure(last))
            case WentOn():
                self._write(lambda: claims.hand_over(self._run, seconds=last.seconds))
            case Completed():
                self._complete(last)

    def _complete(self, last: Completed) -> None:
        try:
            result = self._stored(last)
        except DooritoError as exc:
            self._fail(Failure(exc.code, exc.message, may_retry=True))
            return
        except LeaseLostError as exc:
            raise _LostError from exc
        if not self._write(
            lambda: claims.complete(
                self._run, output_text=last.output_text, is_cut=last.is_cut, result=result
            )
        ):
            if result is not None:
                discard_result(self._run, result.stored.key)
            raise _LostError

    def _stored(self, last: Completed) -> StoredResult | None:
        """Store the result file. Raises DooritoError, LeaseLostError."""
        if last.file is None:
            return None
        with _opened(Path(last.file), self._job) as content:
            return store_result(
                self._run,
                filename=fitting_name(last.filename),
                size_bytes=os.fstat(content.fileno()).st_size,
                blocks=self._blocks(content),
            )

    def _blocks(self, content: BinaryIO) -> Iterator[memoryview]:
        while block := content.read(_BLOCK):
            yield memoryview(block)
            self._beat()

    def _fail(self, failure: Failure) -> None:
        run = self._run
        logger.warning(
            "Run %s, attempt %s: %s: %s", run.id, run.attempt, failure.code, failure.message
        )
        self._write(self._keep)
        if not self._write(lambda: claims.fail(self._run, failure)):
            raise _LostError

    def _write[T](self, action: Callable[[], T]) -> T:
        """Do what must not be left undone, for as long as the lease lasts."""
        while True:
            try:
                return action()
            except DATABASE_GONE as exc:
                if monotonic() >= self._lease_end:
                    raise _LostError from exc
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


def _death(code: int | None, limits: Limits) -> Failure:
    """Why a process ended that did not say."""
    if code == -signal.SIGXCPU:
        return _out_of_time(limits)
    how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
    return Failure(
        "task_crashed", f"The task's process ended unexpectedly ({how}).", may_retry=True
    )


@contextmanager
def _opened(path: Path, job: Job) -> Iterator[BinaryIO]:
    """A result file. Raises DooritoError when it is no file of this attempt's folder."""
    if not path.is_file() or not path.resolve().is_relative_to(job.folder.resolve()):
        raise DooritoError("task_error", "The task named a result file that is not there.")
    if path.stat().st_size > job.limits.file_size:
        raise DooritoError("result_too_large", "The task's result is too large.")
    with path.resolve().open("rb") as content:
        yield content


@contextmanager
def _folder(run: WorkflowRun) -> Iterator[Path]:
    """A private folder for one attempt, gone with it."""
    folder = _folders() / str(run.lease_id)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftover_folders() -> int:
    """Of attempts whose worker was killed; how many it were."""
    left = {UUID(path.name): path for path in _folders().glob("*-*-*-*-*")}
    running = WorkflowRun.objects.filter(status=RunStatus.RUNNING)
    held = set(running.values_list("lease_id", flat=True))
    gone = [path for lease, path in left.items() if lease not in held]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return len(gone)


def _folders() -> Path:
    return Path(settings.DOORITO_DATA_DIR) / "work"
