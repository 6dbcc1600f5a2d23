"""Archives that would fill a disk when they are unpacked, told by what their headers declare.

Of a ZIP only its directory is read, from behind, in blocks: nothing is unpacked (APPNOTE 4.3, 4.5).
"""

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from common.errors import ServiceUnavailable, UnprocessableContent
from uploads.files.acceptance.base import Candidate, Content, LeftToWorker, Patience

_END = struct.Struct("<4s4H2LH")  # the end of central directory record
_END_MARK = b"PK\x05\x06"
_LOCATOR = struct.Struct("<4sLQL")  # of the record for large archives, which stands before it
_LOCATOR_MARK = b"PK\x06\x07"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_MARK = b"PK\x06\x06"
_ENTRY = struct.Struct("<4s6H3L5H2L")  # of the directory
_ENTRY_MARK = b"PK\x01\x02"
_FILE_MARK = b"PK\x03\x04"
_SIGNATURE_MARK = b"PK\x05\x05"  # may stand behind the entries
_BEGINNINGS = {_ENTRY_MARK, _END_MARK, _END64_MARK}  # of a directory; the latter: of an empty one
_EXTRA = struct.Struct("<2H")
_LARGE = 0x0001  # the extra field with sizes of 64 bits
_FULL = 0xFFFFFFFF
_LONGEST_COMMENT = 0xFFFF
_MOST_DIRECTORIES = 16
_MOST_ENDS = 64  # that may say where there is one
_BEAT_SECONDS = 5.0
_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class Directory:
    """Where the directory of an archive lies in the file, in bytes."""

    start: int
    end: int
    entries: int


@dataclass(frozen=True)
class Entry:
    packed_bytes: int
    unpacked_bytes: int


class _Unreadable(Exception):
    """It looks like an archive, and has no directory that could be read."""


def is_on() -> bool:
    return bool(
        settings.PORTAL_ARCHIVE_MAX_BYTES
        or settings.PORTAL_ARCHIVE_MAX_RATIO
        or settings.PORTAL_ARCHIVE_MAX_ENTRIES
    )


class _Reader:
    """Reads pieces of a file while its caller has patience; those of its tail from memory.

    Raises LeftToWorker, ServiceUnavailable `storage_failed` and what `Patience.on_beat` raises.
    """

    def __init__(self, content: Content, patience: Patience, *, size_bytes: int) -> None:
        self._content = content
        self._patience = patience
        self._read_bytes = 0
        self._beat_at = time.monotonic()
        self._ends_at = self._beat_at + patience.seconds
        self.size_bytes = size_bytes
        self.tail_start = max(0, size_bytes - _END.size - _LONGEST_COMMENT - _LOCATOR.size)
        self.tail = self._fetch(self.tail_start, size_bytes)

    def read(self, start: int, end: int) -> bytes:
        """Fewer bytes only where the file ends."""
        if start >= self.tail_start:
            return self.tail[start - self.tail_start : max(end, start) - self.tail_start]
        return self._fetch(start, end)

    def _fetch(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        self._require_patience(end - start)
        data = b""
        with self._content.open(start=start, end=end) as opened:
            while len(data) < end - start and (block := opened.read(end - start - len(data))):
                data += block
        return data

    def _require_patience(self, size_bytes: int) -> None:
        now = time.monotonic()
        self._read_bytes += size_bytes
        most_bytes = self._patience.most_bytes
        if most_bytes is not None and (self._read_bytes > most_bytes or now >= self._ends_at):
            raise LeftToWorker
        if now >= self._ends_at:
            raise ServiceUnavailable(
                "storage_failed", "The store gives what is in the archive too slowly."
            )
        if now - self._beat_at >= _BEAT_SECONDS:
            self._beat_at = now
            self._patience.on_beat()


def examine(candidate: Candidate, content: Content, patience: Patience) -> None:
    """Raises UnprocessableContent `archive_too_large`, `archive_unreadable`, LeftToWorker,
    ServiceUnavailable.
    """
    reader = _Reader(content, patience, size_bytes=candidate.size_bytes)
    try:
        for directory in _directories(reader):
            _weigh(directory, reader)
    except (_Unreadable, struct.error) as exc:
        raise UnprocessableContent(
            "archive_unreadable",
            "The archive has no directory that says what is in it. Pack it again.",
        ) from exc


def _directories(reader: _Reader) -> set[Directory]:
    """None: this is no ZIP archive. Programs choose differently among several, so all count.

    Raises _Unreadable.
    """
    tail = reader.tail
    if tail.count(_END_MARK) > _MOST_ENDS:
        raise _Unreadable
    found = set()
    at = tail.rfind(_END_MARK)
    while at >= 0:
        if len(tail) - at >= _END.size:
            found |= {each for each in _told(reader, at) if _begins_like_one(reader, each)}
        if len(found) > _MOST_DIRECTORIES:
            raise _Unreadable
        at = tail.rfind(_END_MARK, 0, at)
    if not found and reader.read(0, min(len(_FILE_MARK), reader.size_bytes)) == _FILE_MARK:
        raise _Unreadable
    return found


def _begins_like_one(reader: _Reader, directory: Directory) -> bool:
    mark = reader.read(directory.start, directory.start + len(_ENTRY_MARK))
    return mark in _BEGINNINGS


def _told(reader: _Reader, at: int) -> list[Directory]:
    """Where the record at `at` of the tail may say that the directory lies; if it is one."""
    tail = reader.tail
    fields = _END.unpack_from(tail, at)
    locator_at = at - _LOCATOR.size
    if locator_at >= 0 and tail.startswith(_LOCATOR_MARK, locator_at):
        told = _LOCATOR.unpack_from(tail, locator_at)[2]
        return _told_of_large(reader, reader.tail_start + locator_at, told=told)
    return _places(reader.tail_start + at, *fields[4:7])


def _places(end: int, entries: int, length: int, start: int) -> list[Directory]:
    """Directly before its record; or where that says, as something may stand before the archive."""
    starts = {end - length, start}
    return [Directory(at, at + length, entries) for at in starts if 0 <= at <= end - length]


def _told_of_large(reader: _Reader, locator_at: int, *, told: int) -> list[Directory]:
    """The record stands before the locator, or where that tells it to be."""
    for start in (locator_at - _END64.size, told):
        if not 0 <= start <= locator_at - _END64.size:
            continue
        fields = _END64.unpack(reader.read(start, start + _END64.size))
        if fields[0] == _END64_MARK:
            return _places(start, *fields[7:10])
    return []


def _weigh(directory: Directory, reader: _Reader) -> None:
    most_entries = settings.PORTAL_ARCHIVE_MAX_ENTRIES
    if most_entries and directory.entries > most_entries:
        raise _too_large(f"{directory.entries} entries; at most {most_entries} are taken")
    packed = unpacked = 0
    for count, entry in enumerate(_entries(directory, reader), start=1):
        packed += entry.packed_bytes
        unpacked += entry.unpacked_bytes
        if most_entries and count > most_entries:
            raise _too_large(f"more than {most_entries} entries")
        _require_bearable(unpacked, size_bytes=reader.size_bytes)
    if packed > reader.size_bytes:
        raise _too_large("entries that share the same bytes")


def _require_bearable(unpacked: int, *, size_bytes: int) -> None:
    most_bytes, ratio = settings.PORTAL_ARCHIVE_MAX_BYTES, settings.PORTAL_ARCHIVE_MAX_RATIO
    if most_bytes and unpacked > most_bytes:
        raise _too_large(f"more than {most_bytes} bytes when it is unpacked")
    if ratio and unpacked > ratio * size_bytes:
        raise _too_large(f"more than {ratio} times its own size when it is unpacked")


def _too_large(has: str) -> UnprocessableContent:
    return UnprocessableContent("archive_too_large", f"The archive has {has}.")


def _entries(directory: Directory, reader: _Reader) -> Iterator[Entry]:
    """One after the other, whatever their number. Raises _Unreadable."""
    position, buffer = directory.start, b""
    while True:
        wanted = min(position + _BLOCK_BYTES, directory.end)
        buffer += reader.read(position, wanted)
        position, taken = wanted, 0
        while (entry := _next_entry(buffer, taken)) is not None:
            found, taken = entry
            yield found
        buffer = buffer[taken:]
        if buffer.startswith(_SIGNATURE_MARK):
            return
        if position == directory.end:
            break
    if buffer:
        raise _Unreadable


def _next_entry(buffer: bytes, start: int) -> tuple[Entry, int] | None:
    """The entry that begins at `start`, and where it ends; None where it is not all there.

    Raises _Unreadable for something else.
    """
    if len(buffer) - start < _ENTRY.size or buffer.startswith(_SIGNATURE_MARK, start):
        return None
    if not buffer.startswith(_ENTRY_MARK, start):
        raise _Unreadable
    fields = _ENTRY.unpack_from(buffer, start)
    packed, unpacked, name, extra, comment = fields[8:13]
    extra_at = start + _ENTRY.size + name
    end = extra_at + extra + comment
    if end > len(buffer):
        return None
    if _FULL in {packed, unpacked}:
        packed, unpacked = _large_sizes(buffer[extra_at : extra_at + extra], packed, unpacked)
    return Entry(packed, unpacked), end


def _large_sizes(extra: bytes, packed: int, unpacked: int) -> tuple[int, int]:
    """Only those that did not fit are in the extra field, in this order (APPNOTE 4.5.3)."""
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if kind == _LARGE:
            values = iter(struct.unpack(f"<{length // 8}Q", extra[at : at + length // 8 * 8]))
            try:
                unpacked = next(values) if unpacked == _FULL else unpacked
                packed = next(values) if packed == _FULL else packed
            except StopIteration as exc:
                raise _Unreadable from exc
            return packed, unpacked
        at += length
    return packed, unpacked
