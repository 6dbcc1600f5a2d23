"""Calls that really happen at the same time."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Start all calls together, each in its thread; their results in order, or the first error.

    No thread owns a database connection at the start: there may be more threads than connections.
    """
    return [outcome.result(timeout=60) for outcome in _outcomes(calls)]


def results_and_errors(calls: list[Callable[[], Any]]) -> list[Any]:
    """The same for calls of which some must fail: their errors stand among the results."""
    return [outcome.exception(timeout=60) or outcome.result() for outcome in _outcomes(calls)]


def _outcomes(calls: list[Callable[[], Any]]) -> list[Future[Any]]:
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            barrier.wait(timeout=20)
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [pool.submit(run, call) for call in calls]


def blocked_by_us(call: Callable[[], Any]) -> Future[Any]:
    """Start a call that needs a row lock of this thread's open transaction; it waits for it by now.

    Raises TimeoutError when it does not come to wait.
    """

    def run() -> Any:
        try:
            return call()
        finally:
            connection.close()

    pool = ThreadPoolExecutor(1)
    outcome = pool.submit(run)
    pool.shutdown(wait=False)
    deadline = time.monotonic() + 20
    while not _others_wait_for_us():
        if outcome.done() or time.monotonic() > deadline:
            outcome.result(timeout=0)
            raise TimeoutError("The call did not wait for a lock.")
        time.sleep(0.01)
    return outcome


def _others_wait_for_us() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else it stays what it was at first
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
        )
        return bool(cursor.fetchone()[0])
