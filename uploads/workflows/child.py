"""The process of an attempt: confined, it runs the task and tells the worker how that goes.

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
    Completed,
    Failed,
    Last,
    Logged,
    Message,
    ProgressMade,
    Spent,
    WentOn,
)

MOST_LINES = 1000  # of an attempt's log
_PROGRESS_PAUSE = 0.2  # seconds between two messages about progress
_NICENESS = 5  # answering people comes before parsing their files

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
    """All that an attempt needs to know. `secrets` by the names that the configuration has."""

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
    """Where the process begins. Its last message says how the attempt ended."""
    _confine(job.limits)
    line = WorkerLine(connection)
    last = _attempt(job, line)
    line.flush()
    line.send(last)
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
    """Bytes that the process has mapped already: what the fork server loaded (proc(5))."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


class WorkerLine:
    """The process's end of the connection to the worker."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held: ProgressMade | None = None
        self._progress_at = 0.0
        self._is_cancelled = False

    def send(self, message: Message) -> None:
        self._connection.sendall(message.model_dump_json().encode() + b"\n")

    def progress(self, percent: float | None, message: str) -> None:
        self._held = ProgressMade(percent=percent, message=_text(message, lengths.PROGRESS))
        if monotonic() - self._progress_at >= _PROGRESS_PAUSE:
            self.flush()

    def flush(self) -> None:
        """Send what was held back of the progress."""
        if self._held is not None:
            self.send(self._held)
            self._held = None
            self._progress_at = monotonic()

    def spend(self, amount: Decimal) -> None:
        self.send(Spent(amount=amount.quantize(_MILLIONTH, rounding=ROUND_UP)))

    def cancelled(self) -> bool:
        if not self._is_cancelled:
            with suppress(BlockingIOError):
                self._is_cancelled = self._connection.recv(1, socket.MSG_DONTWAIT) != b""
        return self._is_cancelled


class _LogHandler(logging.Handler):
    """Sends the beginning of a task's log to the worker."""

    def __init__(self, line: WorkerLine) -> None:
        super().__init__()
        self._line = line
        self._room = MOST_LINES

    def emit(self, record: logging.LogRecord) -> None:
        if self._room == 0:
            return
        self._room -= 1
        text = self.format(record) if self._room else "The log is full; nothing more is kept."
        self._line.send(
            Logged(
                at=datetime.fromtimestamp(record.created, UTC),
                level=record.levelname.lower()[: lengths.LOG_LEVEL],
                message=_text(text, lengths.LOG_LINE),
            )
        )


def _logger(line: WorkerLine) -> logging.Logger:
    logger = logging.getLogger("uploads.workflows.run")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(_LogHandler(line))
    return logger


def _attempt(job: Job, line: WorkerLine) -> Last:
    """Run the task; the message that says how it ended."""
    try:
        return _worked(job, line)
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
        return _fault(exc, job.limits)


def _worked(job: Job, line: WorkerLine) -> Completed | WentOn:
    task = registry.get(job.task_name)
    outcome = task.run(_context(job, line, task))
    if isinstance(outcome, HandedOver):
        return WentOn(seconds=outcome.seconds)
    return _completed(job, outcome)


def _cause(error: TaskFailed) -> str:
    """What a task had from elsewhere and put in its own words."""
    return "".join(traceback.format_exception(error)) if error.__cause__ else ""


def _fault(error: Exception, limits: Limits) -> Failed:
    """What a task did not foresee."""
    details = traceback.format_exc()
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EFBIG:
        most = limits.file_size // 2**20
        return _failed("result_too_large", f"A file of the task is larger than {most} MiB.")
    if number == errno.ENOSPC:
        return _failed("no_room", "The portal's disk is full.", may_retry=True, details=details)
    said = f"The task stopped with an error of its own ({type(error).__name__})."
    return _failed("task_error", said, may_retry=True, details=details)


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
    )


def _text(text: str, length: int) -> str:
    """What JSON in UTF-8 can say: no half of a surrogate pair."""
    return text[:length].encode(errors="replace").decode()


def _config(task: registry.TaskDefinition, values: dict[str, Any]) -> registry.TaskConfig:
    """What is wrong with it may be no news for users: staff find it in the traceback."""
    try:
        return registry.load_config(task, values)
    except InvalidInput as exc:
        raise TaskFailed(
            exc.code, "The configuration is not valid any more; an administrator can correct it."
        ) from exc


def _context(job: Job, line: WorkerLine, task: registry.TaskDefinition) -> RunContext[Any]:
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
        logger=_logger(line),
        line=line,
        opener=open_object,
        secrets=job.secrets,
    )
