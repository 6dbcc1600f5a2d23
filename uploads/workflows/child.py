"""The process of one attempt: it runs the task, with limits, and reports to the worker.

It has limits of its own (setrlimit(2)) and leads its process group, so that the worker can end it
with all that it started.
"""

import errno
import logging
import os
import resource
import signal
import socket
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

from common import lengths
from common.errors import DooritoError, InvalidInput
from common.processes import end_with_parent
from uploads.storage import open_object
from uploads.workflows import registry
from uploads.workflows.context import (
    INLINE_OUTPUT,
    HandedOver,
    InputFile,
    PreviousResult,
    RunContext,
    WorkflowResult,
    output_name,
)
from uploads.workflows.errors import TaskFailed, TryAgain
from uploads.workflows.messages import (
    TRACEBACK_LENGTH,
    AwaitingAnswer,
    Completed,
    Failed,
    FinalMessage,
    Logged,
    Message,
    ProgressMade,
    Spent,
)

MOST_LINES = 1000  # log lines of one attempt
_PROGRESS_PAUSE = 0.2  # seconds between two messages about progress
_NICENESS = 5  # serving requests takes precedence over tasks

_MILLIONTH = Decimal("0.000001")


@dataclass(frozen=True)
class Limits:
    """Seconds of time, bytes of memory and of any one file, characters of output text."""

    seconds: float
    memory: int
    file_size: int
    output: int


@dataclass(frozen=True)
class Job:
    """Everything an attempt needs. `secrets` maps the names in the configuration to values."""

    run_id: UUID
    attempt: int
    workflow_slug: str
    task_name: str
    config: dict[str, Any]
    file: InputFile
    previous: PreviousResult | None
    folder: Path
    callback_url: str
    secrets: dict[str, str] = field(repr=False)
    limits: Limits


def main(job: Job, connection: socket.socket) -> None:
    """The entry point of the process. Its final message says how the attempt ended."""
    _confine(job.limits)
    worker = WorkerConnection(connection)
    last = _outcome(job, worker)
    worker.flush()
    worker.send(last)
    connection.close()


def _confine(limits: Limits) -> None:
    os.setsid()
    end_with_parent()
    os.nice(_NICENESS)
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    seconds = int(limits.seconds * (os.cpu_count() or 1)) + 10
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, _address_space() + limits.memory),
    ):
        allowed = resource.getrlimit(kind)[1]
        most = limit if allowed == resource.RLIM_INFINITY else min(limit, allowed)
        resource.setrlimit(kind, (most, most))


def _address_space() -> int:
    """Bytes of memory mapped so far, by what the fork server loaded (proc(5))."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


class WorkerConnection:
    """Sends messages to the worker over the process's end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unsent: ProgressMade | None = None
        self._progress_at = 0.0
        self._is_cancelled = False

    def send(self, message: Message) -> None:
        self._connection.sendall(message.model_dump_json().encode() + b"\n")

    def progress(self, percent: float | None, message: str) -> None:
        self._unsent = ProgressMade(percent=percent, message=_text(message, lengths.PROGRESS))
        if monotonic() - self._progress_at >= _PROGRESS_PAUSE:
            self.flush()

    def flush(self) -> None:
        """Send the latest progress if it has not been sent yet."""
        if self._unsent is not None:
            self.send(self._unsent)
            self._unsent = None
            self._progress_at = monotonic()

    def spend(self, amount: Decimal) -> None:
        self.send(Spent(amount=amount.quantize(_MILLIONTH, rounding=ROUND_UP)))

    def cancelled(self) -> bool:
        if not self._is_cancelled:
            with suppress(BlockingIOError):
                self._is_cancelled = self._connection.recv(1, socket.MSG_DONTWAIT) != b""
        return self._is_cancelled


class _LogHandler(logging.Handler):
    """Sends the first MOST_LINES lines of a task's log to the worker."""

    def __init__(self, worker: WorkerConnection) -> None:
        super().__init__()
        self._worker = worker
        self._room = MOST_LINES

    def emit(self, record: logging.LogRecord) -> None:
        if self._room == 0:
            return
        self._room -= 1
        text = self.format(record) if self._room else "The log is full; nothing more is kept."
        self._worker.send(
            Logged(
                at=datetime.fromtimestamp(record.created, UTC),
                level=record.levelname.lower()[: lengths.LOG_LEVEL],
                message=_text(text, lengths.LOG_LINE),
            )
        )


def _logger(worker: WorkerConnection) -> logging.Logger:
    logger = logging.getLogger("uploads.workflows.run")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(_LogHandler(worker))
    return logger


def _outcome(job: Job, worker: WorkerConnection) -> FinalMessage:
    """Run the task. Returns the message that says how it ended."""
    try:
        return _run_task(job, worker)
    except TryAgain as exc:
        return _failed(
            exc.code,
            exc.message,
            may_retry=True,
            retry_after=exc.retry_after,
            details=_cause(exc),
        )
    except TaskFailed as exc:
        return _failed(exc.code, exc.message, details=_cause(exc))
    except DooritoError as exc:
        return _failed(exc.code, exc.message, details=traceback.format_exc())
    except MemoryError:
        limit = job.limits.memory // 2**20
        return _failed("out_of_memory", f"The task needs more than {limit} MiB of memory.")
    except Exception as exc:
        return _unexpected_failure(exc, job.limits)


def _run_task(job: Job, worker: WorkerConnection) -> Completed | AwaitingAnswer:
    task = registry.get(job.task_name)
    outcome = task.run(_context(job, worker, task))
    if isinstance(outcome, HandedOver):
        return AwaitingAnswer(seconds=outcome.seconds)
    return _completed(job, outcome)


def _cause(error: TaskFailed) -> str:
    """The traceback of the error that the task wrapped in its own; empty if there is none."""
    return "".join(traceback.format_exception(error)) if error.__cause__ else ""


def _unexpected_failure(error: Exception, limits: Limits) -> Failed:
    """The failure for an exception that the task did not handle."""
    details = traceback.format_exc()
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EFBIG:
        most = limits.file_size // 2**20
        return _failed("result_too_large", f"A file of the task is larger than {most} MiB.")
    if number == errno.ENOSPC:
        return _failed("no_room", "The portal's disk is full.", may_retry=True, details=details)
    message = f"The task stopped with an error of its own ({type(error).__name__})."
    return _failed("task_error", message, may_retry=True, details=details)


def _failed(
    code: str,
    message: str,
    *,
    may_retry: bool = False,
    retry_after: float | None = None,
    details: str = "",
) -> Failed:
    return Failed(
        code=code[: lengths.ERROR_CODE],
        message=_text(message, lengths.ERROR_MESSAGE),
        traceback=_text(details[-TRACEBACK_LENGTH:], TRACEBACK_LENGTH),
        may_retry=may_retry,
        retry_after=retry_after,
    )


def _completed(job: Job, result: WorkflowResult) -> Completed:
    path, name = result.file, result.filename
    if path is None and len(result.output_text) > INLINE_OUTPUT:
        path = job.folder / "output.txt"
        path.write_text(result.output_text, encoding="utf-8", errors="replace")
        name = output_name(job.file.filename, job.workflow_slug)
    return Completed(
        output_text=_text(result.output_text, job.limits.output),
        is_cut=len(result.output_text) > job.limits.output,
        file=str(path) if path else None,
        filename=name or (path.name if path else ""),
        warnings=_kept_warnings(result.warnings),
    )


def _kept_warnings(warnings: Sequence[str]) -> list[str]:
    """As many as a run keeps; the last says how many more there were."""
    kept = [_text(warning, lengths.RUN_WARNING) for warning in warnings[: lengths.RUN_WARNINGS]]
    if len(warnings) > len(kept):
        kept[-1] = f"And {len(warnings) - len(kept) + 1:,} more, which the log tells."
    return kept


def _text(text: str, length: int) -> str:
    """The first `length` characters, without lone surrogates, which UTF-8 cannot encode."""
    return text[:length].encode(errors="replace").decode()


def _config(task: registry.TaskDefinition, values: dict[str, Any]) -> registry.TaskConfig:
    """The task's configuration. Only staff see what is invalid in it, in the traceback."""
    try:
        return registry.load_config(task, values)
    except InvalidInput as exc:
        raise TaskFailed(
            exc.code, "The configuration is not valid any more; an administrator can correct it."
        ) from exc


def _context(job: Job, worker: WorkerConnection, task: registry.TaskDefinition) -> RunContext[Any]:
    end = monotonic() + job.limits.seconds
    return RunContext(
        run_id=job.run_id,
        attempt=job.attempt,
        workflow_slug=job.workflow_slug,
        file=job.file,
        previous=job.previous,
        config=_config(task, job.config),
        output_max=job.limits.output,
        folder=job.folder,
        seconds_left=lambda: end - monotonic(),
        callback_url=job.callback_url,
        logger=_logger(worker),
        reporter=worker,
        opener=open_object,
        secrets=job.secrets,
    )
