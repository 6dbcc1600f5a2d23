"""Files made of boxes (ISO 14496-12): MP4, QuickTime, HEIC."""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from
from typing import BinaryIO

from uploads.workflows.facts.base import Facts, known

_CONTAINERS = {b"moov", b"trak", b"meta", b"iprp", b"ipco", b"mdia"}
_BOXES_MAX = 10_000
_BODY_MAX = 4096  # bytes of a box that are read
_DEPTH_MAX = 8


@dataclass(frozen=True)
class _Box:
    kind: bytes
    body: bytes  # its beginning


def _boxes(source: BinaryIO, end: int, depth: int = 0) -> Iterator[_Box]:
    """The boxes up to `end`, and those inside of containers, each before what follows it."""
    at = source.tell()
    for _ in range(_BOXES_MAX):
        if at + 8 > end:
            return
        source.seek(at)
        head = source.read(16)
        size, kind = unpack_from(">I4s", head)
        start = 8
        if size == 1 and len(head) == 16:  # section 4.2
            size, start = unpack_from(">Q", head, 8)[0], 16
        size = size or end - at
        if size < start:
            return
        source.seek(at + start)
        yield _Box(kind, source.read(min(_BODY_MAX, size - start)))
        if kind in _CONTAINERS and depth < _DEPTH_MAX:
            # Of these only `meta` has a version, and only outside of QuickTime.
            has_version = kind == b"meta" and head[start + 4 : start + 8] not in {b"hdlr", b"keys"}
            source.seek(at + start + (4 if has_version else 0))
            yield from _boxes(source, min(end, at + size), depth + 1)
        at += size


def picture(source: BinaryIO, size_bytes: int) -> Facts:
    """Width and height of a HEIC picture: the largest of its images and their tiles.

    Raises ValueError, struct.error.
    """
    source.seek(0)
    sizes = [
        unpack_from(">II", box.body, 4)
        for box in _boxes(source, size_bytes)
        if box.kind == b"ispe" and len(box.body) >= 12
    ]
    if not sizes:
        raise ValueError("it tells of no image")
    width, height = max(sizes, key=lambda each: each[0] * each[1])
    return known(format="HEIF", width=width, height=height)


def film(source: BinaryIO, size_bytes: int) -> Facts:
    """Duration and dimensions of a film. Raises struct.error."""
    source.seek(0)
    duration = None
    sizes = [(0, 0)]
    for box in _boxes(source, size_bytes):
        if box.kind == b"mvhd":
            duration = _duration(box.body)
        elif box.kind == b"tkhd":
            at = 88 if box.body[0] == 1 else 76  # version 1 has longer times (8.3.2)
            width, height = unpack_from(">II", box.body, at)
            sizes.append((width >> 16, height >> 16))
    width, height = max(sizes)
    return known(duration_seconds=duration, width=width or None, height=height or None)


def _duration(body: bytes) -> float | None:
    """Seconds, by the film's own clock (8.2.2)."""
    scale, length = unpack_from(">IQ", body, 20) if body[0] == 1 else unpack_from(">II", body, 12)
    return round(length / scale, 2) if scale else None
