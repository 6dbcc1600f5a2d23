"""A task's attempt in a process of its own: what it breaks is its own.

The process is forked from a fork server, which has loaded everything and runs nothing, so that
starting one costs milliseconds and inherits neither threads nor connections. It is killed when
the worker dies: the fork server ends with the worker, and the kernel kills the server's children.

What the two processes say to each other is JSON, never pickles: a parser that an upload has taken
over gains nothing in the worker.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from time import monotonic

from uploads.workflows.child import Job, main
from uploads.workflows.messages import Message, decode

_MESSAGE_MAX = 8 * 2**20  # bytes


class TaskProcess:
    """The worker's end of an attempt's process."""

    def __init__(self, job: Job) -> None:
        context = _fork_server()
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=main, args=(job, theirs))
        self._process.start()
        theirs.close()

    def messages(self, *, timeout: float) -> Iterator[Message]:
        """What the process says within `timeout` seconds. Raises EOFError when it has ended."""
        end = monotonic() + timeout
        while (left := end - monotonic()) > 0 and self._connection.poll(left):
            try:
                yield decode(self._connection.recv_bytes(_MESSAGE_MAX))
            except (OSError, ValueError) as exc:
                raise EOFError("the process ended, or says what is no message") from exc

    def cancel(self) -> None:
        """Tell the task that the run was cancelled; it may look."""
        try:
            self._connection.send_bytes(b"cancel")
        except OSError:
            return  # it has ended

    def end(self, *, grace: float = 0.0) -> int | None:
        """The exit code, below 0 for a signal. What runs after `grace` seconds is killed."""
        self._process.join(grace)
        if self._process.is_alive() and self._process.pid is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                self._process.kill()  # it leads no group yet
            self._process.join()
        self._connection.close()
        return self._process.exitcode


def _fork_server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["uploads.workflows.preload"])
    return context
