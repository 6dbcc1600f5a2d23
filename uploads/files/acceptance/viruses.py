"""Files are read by a virus scanner before they are stored, where one is named."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings

from common.errors import PayloadTooLarge, UnprocessableContent
from uploads.files.acceptance.base import Candidate, Content, LeftToWorker, Patience
from uploads.files.acceptance.clamd import (
    BLOCK_BYTES,
    Clamd,
    ScannerUnavailable,
    StreamTooLongError,
    parse_address,
)

_LIMITS = "Heuristics.Limits.Exceeded"  # what clamd calls what it did not look through
_REST_SECONDS = 5.0


@dataclass(frozen=True)
class _Trouble:
    """A scanner has not answered a request. `until` is monotonic, `detail` what it was."""

    until: float
    detail: str


_troubles: dict[str, _Trouble] = {}  # by address; of this process


class Infected(UnprocessableContent):
    """The scanner found something."""


def is_on() -> bool:
    return bool(settings.PORTAL_SCANNER)


def scanner() -> Clamd:
    return _scanner(settings.PORTAL_SCANNER)


@lru_cache(maxsize=4)
def _scanner(address: str) -> Clamd:
    return Clamd(parse_address(address))


def most_bytes() -> int:
    return int(settings.PORTAL_SCANNER_MAX_SIZE)


def examine(candidate: Candidate, content: Content, patience: Patience) -> None:
    """Raises Infected `infected`, UnprocessableContent `not_scannable`, PayloadTooLarge
    `too_large_to_check`, ServiceUnavailable `scanner_unavailable` or `scanner_failed`.
    """
    if patience.most_bytes is not None and candidate.size_bytes > patience.most_bytes:
        raise LeftToWorker
    try:
        with _no_queue(patience):
            found = scanner().scan(_blocks(content), patience=patience)
    except StreamTooLongError as exc:
        raise PayloadTooLarge(
            "too_large_to_check",
            "The virus scanner takes no file of this size: its StreamMaxLength is less than the "
            "PORTAL_SCANNER_MAX_SIZE of this portal.",
        ) from exc
    if found.startswith(_LIMITS):
        raise UnprocessableContent(
            "not_scannable", f"The virus scanner could not look through all of it ({found})."
        )
    if found:
        raise Infected("infected", f"The virus scanner found {found}. The file was not stored.")


@contextmanager
def _no_queue(patience: Patience) -> Iterator[None]:
    """While a scanner does not answer, one request in a while waits for it: each holds a thread.

    The others raise at once what that one was told, ScannerUnavailable.
    """
    if patience.most_bytes is None:  # a worker, whose work it is
        yield
        return
    address, now = settings.PORTAL_SCANNER, time.monotonic()
    if trouble := _troubles.get(address):
        if now < trouble.until:
            raise ScannerUnavailable("The virus scanner does not answer.", detail=trouble.detail)
        _troubles[address] = _Trouble(now + _REST_SECONDS, trouble.detail)
    try:
        yield
    except ScannerUnavailable as error:
        _troubles[address] = _Trouble(time.monotonic() + _REST_SECONDS, error.detail)
        raise
    _troubles.pop(address, None)


def _blocks(content: Content) -> Iterator[bytes]:
    with content.open() as opened:
        while block := opened.read(BLOCK_BYTES):
            yield block
