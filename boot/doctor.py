"""``doorito doctor``: everything that a portal needs, looked at, and what to do where it lacks.

Nothing here is a copy of what the portal checks itself: settings and database are the start's,
the processes are those of `/readyz/`.
"""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import chain

import click
import httpx
from django.conf import settings

from boot import public_path, readiness, startup
from boot.errors import CannotRunError
from boot.readiness import Check, look
from common.console import print_json

ANSWER_SECONDS = 10.0
_MARKS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


class State(StrEnum):
    OK = "ok"
    NOTE = "note"  # worth knowing, and nothing has to be done
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What was seen of one subject, in a sentence; for a problem, with what to do."""

    subject: str
    state: State
    said: str


def examine(*, as_json: bool, url: str = "", patience: float = public_path.PATIENCE) -> bool:
    """Print what was found, as it is found; whether there is no problem.

    With a `url`, the way from there to the portal is tried, too.
    """
    found = []
    for finding in chain(_findings(), _path(url, patience) if url else ()):
        found.append(finding)
        if not as_json:
            click.echo(f"{_MARKS[finding.state]}  {finding.subject:<17}  {finding.said}")
    if as_json:
        print_json([asdict(finding) for finding in found])
    return all(finding.state != State.PROBLEM for finding in found)


def _findings() -> Iterator[Finding]:
    yield from _settings()
    # First: the database of a portal that does not run may be ours to start.
    processes = list(_processes())
    try:
        with startup.database():
            yield Finding("database", State.OK, "It answers.")
            yield from _rows()
            yield _checked("broker", readiness.broker, well="It answers.")
    except CannotRunError as exc:
        yield Finding("database", State.PROBLEM, str(exc))
    well = f"It takes and gives back files ({settings.PORTAL_STORAGE})."
    yield _checked("storage", readiness.storage, well=well)
    yield _checked("disk", readiness.disk, well=_room())
    yield from processes


def _path(url: str, patience: float) -> Iterator[Finding]:
    for seen in public_path.probe(url, patience=patience):
        state = State.PROBLEM if seen.is_wrong else State.OK
        yield Finding(seen.subject, state, seen.said)


def _settings() -> Iterator[Finding]:
    try:
        startup.refuse_bad_settings()
    except CannotRunError as exc:
        yield Finding("settings", State.PROBLEM, str(exc))
        return
    warnings = startup.warnings()
    yield from (Finding("settings", State.NOTE, warning) for warning in warnings)
    if not warnings:
        yield Finding("settings", State.OK, "They fit together.")


def _rows() -> Iterator[Finding]:
    if pending := startup.pending_migrations():
        said = f"The database lacks {pending} migrations: {startup.PREPARE}."
        yield Finding("migrations", State.PROBLEM, said)
        return
    yield Finding("migrations", State.OK, "All are there.")
    yield from (Finding("workflows", State.PROBLEM, problem) for problem in startup.bad_rows())


def _checked(subject: str, check: Check, *, well: str) -> Finding:
    """One of the checks of `/readyz/`."""
    outcome = look(subject, check)
    if outcome.problems:
        return Finding(subject, State.PROBLEM, outcome.detail)
    return Finding(subject, State.OK, well)


def _room() -> str:
    free = shutil.disk_usage(settings.DOORITO_DATA_DIR).free
    return f"{readiness.gib(free - settings.PORTAL_DISK_RESERVE)} are free for uploads."


def _processes() -> Iterator[Finding]:
    """What the running portal says of itself."""
    url = f"http://{startup.reachable_address()}/readyz/"
    try:
        answer = httpx.get(url, timeout=ANSWER_SECONDS, trust_env=False)
        document = answer.json()
        problems, names = document["problems"], document["processes"]
    except httpx.TransportError:
        said = f"Nothing answers at {startup.reachable_address()}: ./doorito up runs the portal."
        yield Finding("processes", State.NOTE, said)
        return
    except (ValueError, KeyError, TypeError):
        said = f"What answers at {startup.reachable_address()} is no portal: set WEB_PORT."
        yield Finding("processes", State.PROBLEM, said)
        return
    yield from (Finding("processes", State.PROBLEM, problem) for problem in problems)
    if not problems:
        said = f"All run: {', '.join(names)}." if names else "The web server answers."
        yield Finding("processes", State.OK, said)
