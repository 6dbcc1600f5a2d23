"""A task's attempt in a process of its own: what it breaks is its own.

The process is forked from a fork server, which has loaded everything and runs nothing, so that
starting one costs milliseconds and inherits neither threads nor connections. It is killed when
the worker dies: the fork server ends with the worker, and the kernel kills the server's children.

What the process says is JSON in lines, never pickles, and is never waited for: a parser that an
upload has taken over gains nothing in the worker by it.
"""

import multiprocessing
import os
import signal
import socket
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from time import monotonic

from uploads.workflows.child import Job, main
from uploads.workflows.messages import Message, decode

_MESSAGE_MAX = 8 * 2**20  # bytes
_BLOCK = 2**18


class TaskProcess:
    """The worker's end of an attempt's process."""

    def __init__(self, job: Job) -> None:
        context = _fork_server()
        self._socket, theirs = socket.socketpair()
        self._rest = b""
        self._is_ended = False
        self._process = context.Process(target=main, args=(job, theirs))
        self._process.start()
        theirs.close()

    def messages(self, *, timeout: float) -> Iterator[Message]:
        """What the process says within `timeout` seconds. Raises EOFError when it has ended."""
        end = monotonic() + timeout
        while (left := end - monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                said = self._socket.recv(_BLOCK)
                *lines, self._rest = (self._rest + said).split(b"\n")
                yield from map(decode, lines)
            except TimeoutError:
                return
            except (OSError, ValueError) as exc:
                raise EOFError("the process ended, or says what is no message") from exc
            if not said or len(self._rest) > _MESSAGE_MAX:
                raise EOFError("the process ended, or says what is no message")

    def cancel(self) -> None:
        """Tell the task that the run was cancelled; it may look."""
        try:
            self._socket.send(b"c", socket.MSG_DONTWAIT)
        except OSError:
            return  # it has ended

    def end(self, *, grace: float = 0.0) -> int | None:
        """The exit code, below 0 for a signal. What runs after `grace` seconds is killed."""
        self._process.join(grace)
        if self._process.pid is not None and not self._is_ended:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)  # and what it started, if it has ended
            except ProcessLookupError:
                self._process.kill()  # it leads no group yet, or has ended alone
            self._process.join()
            self._is_ended = True
        self._socket.close()
        return self._process.exitcode


def _fork_server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["uploads.workflows.preload"])
    return context
