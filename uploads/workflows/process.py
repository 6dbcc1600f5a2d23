"""Runs each attempt in its own process, so that a crash affects nothing else.

The process is forked from a fork server, which has loaded all modules but runs nothing else, so
that a start takes milliseconds and inherits neither threads nor connections. The process dies with
the worker: the fork server ends with the worker, and the kernel kills the server's children.

Messages are lines of JSON, never pickles, and the worker never blocks on them: a parser that a
malicious file has taken over gains nothing in the worker.
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
    """The worker's handle of an attempt's process."""

    def __init__(self, job: Job) -> None:
        context = _fork_server()
        self._socket, theirs = socket.socketpair()
        self._rest = b""
        self._is_ended = False
        self._process = context.Process(target=main, args=(job, theirs))
        self._process.start()
        theirs.close()

    def messages(self, *, timeout: float) -> Iterator[Message]:
        """The messages of the next `timeout` seconds. Raises EOFError at the process's end."""
        end = monotonic() + timeout
        while (left := end - monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                received = self._socket.recv(_BLOCK)
                *lines, self._rest = (self._rest + received).split(b"\n")
                yield from map(decode, lines)
            except TimeoutError:
                return
            except (OSError, ValueError) as exc:
                raise EOFError("the process ended, or says what is no message") from exc
            if not received or len(self._rest) > _MESSAGE_MAX:
                raise EOFError("the process ended, or says what is no message")

    def cancel(self) -> None:
        """Notify the task that the run was cancelled; the task may check for it."""
        try:
            self._socket.send(b"c", socket.MSG_DONTWAIT)
        except OSError:
            return  # it has ended

    def end(self, *, grace: float = 0.0) -> int | None:
        """Kill the process and its children after `grace` seconds. Returns the exit code.

        Below 0 is the number of a signal.
        """
        self._process.join(grace)
        if self._process.pid is not None and not self._is_ended:
            try:
                os.killpg(
                    self._process.pid, signal.SIGKILL
                )  # also kills its children if it has ended
            except ProcessLookupError:
                self._process.kill()  # it has no group yet, or ended without children
            self._process.join()
            self._is_ended = True
        self._socket.close()
        return self._process.exitcode


def _fork_server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["uploads.workflows.preload"])
    return context
