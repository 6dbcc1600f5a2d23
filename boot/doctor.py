"""``doorito doctor``: everything that a portal needs, looked at, and what to do where it lacks.

Nothing here is a copy of what the portal checks itself: settings and database are the start's,
the processes are those of `/readyz/`.
"""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

import click
import httpx
from django.conf import settings
from sqlalchemy import text

from boot import startup
from boot.broker import Channel
from boot.celery import app
from boot.errors import CannotRunError
from common.console import print_json
from common.errors import DooritoError
from common.ids import uuid7
from uploads.storage import storage_for_new

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


def examine(*, as_json: bool) -> bool:
    """Print what was found, as it is found; whether there is no problem."""
    found = []
    for finding in _findings():
        found.append(finding)
        if not as_json:
            click.echo(f"{_MARKS[finding.state]}  {finding.subject:<10}  {finding.said}")
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
            yield _broker()
    except CannotRunError as exc:
        yield Finding("database", State.PROBLEM, str(exc))
    yield _storage()
    yield _disk()
    yield from processes


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


def _broker() -> Finding:
    """What Celery's messages go through; it may be another database than the portal's."""
    try:
        with app.connection_for_read() as connection:
            channel: Channel = connection.channel()
            channel.session.execute(text("SELECT 1"))
            channel.close()
    except Exception as exc:
        said = f"It does not answer, look at CELERY_BROKER_URL: {_first_line(exc)}"
        return Finding("broker", State.PROBLEM, said)
    return Finding("broker", State.OK, "It answers.")


def _storage() -> Finding:
    """An upload of one byte, begun and given up; a sweep finds what a kill leaves of it."""
    try:
        uploads = storage_for_new().uploads
        uploads.discard(uploads.create(uuid7().hex, size_bytes=1))
    except (DooritoError, OSError) as exc:
        return Finding("storage", State.PROBLEM, f"It takes no upload: {_first_line(exc)}")
    return Finding("storage", State.OK, f"It takes uploads ({settings.PORTAL_STORAGE}).")


def _disk() -> Finding:
    free = shutil.disk_usage(settings.DOORITO_DATA_DIR).free
    usable = free - settings.PORTAL_DISK_RESERVE
    if usable <= 0:
        said = (
            f"{_gib(free)} are free at {settings.DOORITO_DATA_DIR}, and PORTAL_DISK_RESERVE keeps "
            f"{_gib(settings.PORTAL_DISK_RESERVE)}: uploads are refused. Make room."
        )
        return Finding("disk", State.PROBLEM, said)
    return Finding("disk", State.OK, f"{_gib(usable)} are free for uploads.")


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


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"


def _first_line(exc: Exception) -> str:
    return (str(exc) or type(exc).__name__).splitlines()[0]
