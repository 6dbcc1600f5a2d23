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
from uploads.files.acceptance import viruses
from uploads.files.acceptance.base import Patience
from uploads.files.acceptance.clamd import (
    BLOCK_BYTES,
    ScannerFailed,
    ScannerUnavailable,
    StreamTooLongError,
)

ANSWER_SECONDS = 10.0
# https://www.eicar.org: what every scanner finds, and does no harm. In two, or it finds this file.
TEST_VIRUS = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD" + b"-ANTIVIRUS-TEST-FILE!$H+H*"
_SCANNING = Patience(silent_seconds=60, seconds=300)
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
    if viruses.is_on():
        yield _scanner()
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


def _scanner() -> Finding:
    """A scanner that answers may know no virus, or take less than it is to get."""
    subject, most = "scanner", settings.PORTAL_SCANNER_MAX_SIZE
    try:
        clamd = viruses.scanner()
        version = clamd.version()
        found = clamd.scan(iter([TEST_VIRUS]), patience=_SCANNING)
        clamd.scan(_zeros(most), patience=_SCANNING)
    except (ScannerUnavailable, ScannerFailed) as exc:
        said = f"{exc.detail}. Files wait to be checked: look at clamd and PORTAL_SCANNER."
        return Finding(subject, State.PROBLEM, said)
    except StreamTooLongError:
        said = (
            f"clamd takes less than PORTAL_SCANNER_MAX_SIZE ({most} bytes): raise its "
            "StreamMaxLength, MaxFileSize and MaxScanSize, or lower the setting."
        )
        return Finding(subject, State.PROBLEM, said)
    if not found:
        said = f"{version} does not know the EICAR test file: has it no signatures? Run freshclam."
        return Finding(subject, State.PROBLEM, said)
    return Finding(subject, State.OK, f"{version} finds a test virus ({found}).")


def _zeros(size_bytes: int) -> Iterator[bytes]:
    block = bytes(BLOCK_BYTES)
    for start in range(0, size_bytes, BLOCK_BYTES):
        yield block[: size_bytes - start]


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
