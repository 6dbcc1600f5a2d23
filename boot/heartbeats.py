"""Heartbeats: rows in which workers and beat say, by the database's clock, that they live.

They reach what the supervisor's report cannot: processes on other machines, and those that somebody
else starts. A worker's come from a thread of its own, as its loop is held up by what it waits for;
beat's come from the loop that sends the tasks, so that a stuck one is silent.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from django.conf import settings
from django.db import connection

BEAT = "beat"
INTERVAL = 10.0  # seconds
SILENT_AFTER = 45.0  # seconds: three were missed
# One that another does the work of is missed for so long: it may have been killed for good.
FORGOTTEN_AFTER = 600.0  # seconds
# What has to be served by somebody, for everything to be done.
NEEDED = ("default", "workflows", BEAT)

logger = logging.getLogger(__name__)

_NOTE: LiteralString = """
    INSERT INTO heartbeat (name, serves, at) VALUES (%s, %s, statement_timestamp())
    ON CONFLICT (name) DO UPDATE SET serves = EXCLUDED.serves, at = EXCLUDED.at
"""
_END: LiteralString = "DELETE FROM heartbeat WHERE name = %s"
_READ = "SELECT name, serves, extract(epoch FROM statement_timestamp() - at) FROM heartbeat"
_FORGET = """
    DELETE FROM heartbeat AS silent
    WHERE at < statement_timestamp() - make_interval(secs => %s)
        AND EXISTS (SELECT 1 FROM heartbeat AS other WHERE other.serves @> silent.serves
            AND other.at > statement_timestamp() - make_interval(secs => %s))
"""


@dataclass(frozen=True)
class Sign:
    """When a process was last heard of, in seconds before now."""

    name: str
    serves: Sequence[str]
    seconds_ago: float

    @property
    def is_silent(self) -> bool:
        return self.seconds_ago > SILENT_AFTER


def note(name: str, serves: Sequence[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_NOTE, [name, list(serves)])


def end(name: str) -> None:
    """The process stops in order, and is not to be missed."""
    with connection.cursor() as cursor:
        cursor.execute(_END, [name])


def read() -> list[Sign]:
    """What is known of all processes, those first that were heard of last."""
    with connection.cursor() as cursor:
        cursor.execute(_READ)
        signs = [Sign(name, serves, float(age)) for name, serves, age in cursor.fetchall()]
    return sorted(signs, key=lambda sign: sign.seconds_ago)


def forget() -> None:
    """Delete the rows of processes that were killed and whose work others do."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, [FORGOTTEN_AFTER, SILENT_AFTER])


def problems(signs: Sequence[Sign]) -> list[str]:
    """A sentence for each process that is missed."""
    served = {queue for sign in signs if not sign.is_silent for queue in sign.serves}
    known = {queue for sign in signs for queue in sign.serves}
    missing = [f"{_who([queue])} has not been heard of." for queue in NEEDED if queue not in known]
    silent = [
        f"{_who(sign.serves)} was last heard of {sign.seconds_ago:.0f} s ago."
        for sign in signs
        if sign.is_silent and (sign.seconds_ago < FORGOTTEN_AFTER or not served >= {*sign.serves})
    ]
    return missing + silent


def are_expected() -> bool:
    """Whether others do the work: where tasks run in place, nobody is missed."""
    return not settings.CELERY_TASK_ALWAYS_EAGER


def _who(serves: Sequence[str]) -> str:
    if list(serves) == [BEAT]:
        return "The scheduler (beat)"
    return f"A worker of {' and '.join(serves)}"


class Pulse:
    """Notes a worker's heartbeats, in a thread, until it is stopped.

    Each on a connection of its own: the worker forks, and a pool would not survive that.
    """

    def __init__(self, name: str, serves: Sequence[str]) -> None:
        self._name = name
        self._serves = list(serves)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=INTERVAL)
        self._execute(_END, [self._name])

    def _run(self) -> None:
        while True:
            self._execute(_NOTE, [self._name, self._serves])
            if self._stopping.wait(INTERVAL):
                return

    def _execute(self, statement: LiteralString, values: list[Any]) -> None:
        try:
            with psycopg.connect(**connection.get_connection_params(), autocommit=True) as database:
                database.execute(statement, values)
        except psycopg.Error as exc:
            logger.warning("The heartbeat of %s was not written: %s", self._name, exc)
