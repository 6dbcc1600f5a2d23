"""Matroska and WebM films (RFC 9559)."""

from collections.abc import Iterator
from struct import unpack
from typing import BinaryIO

from uploads.workflows.facts.base import Facts, known

_SEGMENT, _INFO, _TRACKS, _TRACK = 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE
_VIDEO, _AUDIO, _CLUSTER = 0xE0, 0xE1, 0x1F43B675
_SCALE, _DURATION, _TITLE, _CODEC = 0x2AD7B1, 0x4489, 0x7BA9, 0x86
_WIDTH, _HEIGHT, _RATE, _CHANNELS = 0xB0, 0xBA, 0xB5, 0x9F
_FOLDERS = {_SEGMENT, _INFO, _TRACKS, _TRACK, _VIDEO, _AUDIO}
_ELEMENTS_MAX = 10_000
_VALUE_MAX = 1024  # bytes
_USUAL_SCALE = 1_000_000  # nanoseconds of a tick


def facts(source: BinaryIO, size_bytes: int) -> Facts:
    source.seek(0)
    found: dict[int, bytes] = {}
    codecs = []
    for number, value in _elements(source, size_bytes):
        found.setdefault(number, value)
        if number == _CODEC:
            codecs.append(value.decode("ascii", "replace").strip("\0"))
    scale = _whole(found.get(_SCALE)) or _USUAL_SCALE
    ticks = _number(found.get(_DURATION))
    return known(
        duration_seconds=None if ticks is None else round(ticks * scale / 1e9, 2),
        width=_whole(found.get(_WIDTH)),
        height=_whole(found.get(_HEIGHT)),
        sample_rate_hz=_number(found.get(_RATE)),
        channels=_whole(found.get(_CHANNELS)),
        codecs=codecs,
        title=found.get(_TITLE, b"").decode("utf-8", "replace").strip("\0")[:500],
    )


def _elements(source: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """Numbers and values up to the first cluster, which begins the film itself."""
    for _ in range(_ELEMENTS_MAX):
        number, size = _vint(source, keeps_mark=True), _vint(source, keeps_mark=False)
        if number is None or size is None or number == _CLUSTER or source.tell() >= end:
            return
        if number in _FOLDERS:
            continue  # what is in it comes next
        start = source.tell()
        yield number, source.read(min(size, _VALUE_MAX))
        source.seek(start + size)


def _vint(source: BinaryIO, *, keeps_mark: bool) -> int | None:
    """A number whose first bits tell its length (RFC 8794, section 4)."""
    first = source.read(1)
    if not first or first[0] == 0:
        return None
    length = 9 - first[0].bit_length()
    number = int.from_bytes(first + source.read(length - 1), "big")
    return number if keeps_mark else number & ~(1 << (7 * length))


def _whole(value: bytes | None) -> int | None:
    return int.from_bytes(value, "big") if value and len(value) <= 8 else None


def _number(value: bytes | None) -> float | None:
    if value is None or len(value) not in {4, 8}:
        return None
    return float(unpack(">f" if len(value) == 4 else ">d", value)[0])
