"""Calls that really happen at the same time."""

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


def closing_connection(call: Callable[[], Any]) -> Any:
    """What a call gives in a thread that ends after it."""
    try:
        return call()
    finally:
        connection.close()


def waiting_for_locks() -> int:
    """How many connections wait for another's row, key or advisory lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees what it saw
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0]
