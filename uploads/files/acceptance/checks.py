"""The list of checks, and going through it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from django.conf import settings

from common.db import release_connection
from common.errors import (
    Gone,
    NotFound,
    PayloadTooLarge,
    ServiceUnavailable,
    UnprocessableContent,
    UnsupportedType,
)
from uploads.files import grants
from uploads.files.acceptance import archives, viruses
from uploads.files.acceptance.base import Candidate, Check, LeftToWorker, Patience, Proof
from uploads.models import FileStatus, IngestFile
from uploads.storage import StoredObject, named

REFUSALS = (UnprocessableContent, UnsupportedType, PayloadTooLarge)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Accepted:
    """A file that has passed. Made by `check_content`, or where no check reads contents."""

    proof: Proof


@dataclass(frozen=True)
class _Object:
    stored: StoredObject

    def open(self, *, start: int = 0, end: int | None = None) -> BinaryIO:
        return named(self.stored.backend).objects.open(self.stored, start=start, end=end)


def _check_types(candidate: Candidate) -> None:
    grants.check_detected_type(candidate.detected_type, grant_id=candidate.grant_id)


_checks: list[Check] = [
    Check("types", facts=_check_types),
    Check("archives", is_on=archives.is_on, content=archives.examine),
    Check(
        "viruses",
        is_on=viruses.is_on,
        most_bytes=viruses.most_bytes,
        content=viruses.examine,
    ),
]


def register(check: Check, *, before: str | None = None) -> None:
    """Add a check, at the end or before another. Called when the application starts."""
    names = [each.name for each in _checks]
    if check.name in names:
        raise ValueError(f"There is a check {check.name!r} already.")
    _checks.insert(len(_checks) if before is None else names.index(before), check)


def unregister(name: str) -> None:
    _checks[:] = [each for each in _checks if each.name != name]


def reads_content() -> bool:
    """Whether files have to be read before they are stored."""
    return any(check.content for check in _active())


def largest_file() -> int:
    """Bytes of the largest file that can be accepted."""
    most = [check.most_bytes() for check in _active() if check.most_bytes]
    return min([settings.PORTAL_MAX_FILE_SIZE, *most])


def require_checkable(size_bytes: int) -> None:
    """Refuse, before its bytes are sent, what could not be accepted.

    Raises PayloadTooLarge `too_large_to_check`.
    """
    for check in _active():
        if check.most_bytes and size_bytes > (most := check.most_bytes()):
            raise PayloadTooLarge(
                "too_large_to_check",
                f"Files are checked for {check.name} before they are stored, and that can be done "
                f"of at most {most} bytes.",
                max_bytes=most,
            )


def waits_for_something(file: IngestFile) -> bool:
    """Whether a file that is being checked has to wait for more than its turn."""
    return file.status == FileStatus.CHECKING and file.error_code != LeftToWorker().code


def check_facts(candidate: Candidate) -> None:
    """Raises a refusal."""
    for check in _active():
        if check.facts:
            check.facts(candidate)


def check_content(candidate: Candidate, proof: Proof, *, patience: Patience) -> Accepted:
    """The file, once every check has passed.

    Raises a refusal; ServiceUnavailable while a check cannot judge, LeftToWorker if it takes long;
    NotFound or Gone if the file is not there any more.
    """
    require_checkable(candidate.size_bytes)
    content = _Object(proof.stored)
    for check in _active():
        if check.content:
            release_connection()
            with _faults_explained(check):
                check.content(candidate, content, patience)
    return Accepted(proof)


@contextmanager
def _faults_explained(check: Check) -> Iterator[None]:
    """A check that breaks down lets nothing through: files wait until it is mended, or given up.

    So they do where bytes cannot be read, or for an error that says nothing of acceptance.
    """
    try:
        yield
    except (*REFUSALS, ServiceUnavailable, NotFound, Gone):
        raise
    except Exception as exc:
        logger.exception("The check %s failed", check.name)
        raise ServiceUnavailable(
            "check_failed",
            f"The check {check.name} failed; an administrator finds the cause in the log.",
        ) from exc


def _active() -> Iterator[Check]:
    return (check for check in _checks if check.is_on())
