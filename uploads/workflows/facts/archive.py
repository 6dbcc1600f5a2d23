"""Archives: their entries, read without unpacking."""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

from uploads.workflows.errors import TaskFailed
from uploads.workflows.facts.base import Facts, Subject
from uploads.workflows.text.base import reading
from uploads.workflows.text.zip_names import names_of
from uploads.workflows.text.zips import RATIO_MAX, open_zip

_ENTRIES_MAX = 1_000  # shown; all are counted
_NAME_MAX = 500
_SMALL_BYTES = 32 * 1024 * 1024
# Bytes of a compressed stream that are read; its unpacked size is not known otherwise.
_STREAM_MAX = 256 * 1024 * 1024
_BLOCK_BYTES = 256 * 1024
_READ_MAX = 16 * 1024 * 1024

# Formats that no library here reads.
_UNLISTED = {
    "application/x-7z-compressed": "7-Zip",
    "application/x-rar": "RAR",
    "application/vnd.rar": "RAR",
    "application/zstd": "Zstandard",
}
_STREAMS: dict[str, Callable[[BinaryIO], Any]] = {
    "application/gzip": gzip.open,
    "application/x-gzip": gzip.open,
    "application/x-bzip2": bz2.open,
    "application/x-xz": lzma.open,
    "application/x-lzma": lzma.open,
}


def facts(subject: Subject) -> Facts:
    with reading("an archive", EOFError):
        if (name := _UNLISTED.get(subject.content_type)) is not None:
            raise TaskFailed("not_listed", f"The entries of {name} archives cannot be listed.")
        if subject.content_type == "application/x-tar":
            reader = _Bounded(subject.source, total=None)
            return _listing(_tar(reader, "r:", subject), subject, reader)
        if (opener := _STREAMS.get(subject.content_type)) is not None:
            return _stream(opener, subject)
        return _zip(subject)


def _zip(subject: Subject) -> Facts:
    with open_zip(subject.source) as archive:
        entries = (
            _entry(
                name,
                info.file_size,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*info.date_time),
                encrypted=bool(info.flag_bits & 1),
            )
            for name, info in zip(names_of(archive), archive.infolist(), strict=True)
        )
        return _listing(entries, subject, None)


class _TooMuch(Exception):
    """The rest of the stream is left unread."""


class _Bounded:
    """A bounded reader for tarfile, which trusts the sizes in headers."""

    def __init__(self, source: BinaryIO, *, total: int | None) -> None:
        self._source = source
        self._left = total
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _READ_MAX:
            raise ValueError("a header in it is too large")
        block = self._source.read(size)
        self.count += len(block)
        if self._left is not None:
            self._left -= len(block)
            if self._left < 0:
                raise _TooMuch
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()


def _stream(open_stream: Callable[[BinaryIO], Any], subject: Subject) -> Facts:
    """A compressed tar archive, or one compressed file."""
    with open_stream(subject.source) as unpacked:
        is_tar = unpacked.read(512)[257:262] == b"ustar"
    subject.source.seek(0)
    with open_stream(subject.source) as unpacked:
        reader = _Bounded(unpacked, total=_STREAM_MAX)
        if is_tar:
            return _listing(_tar(reader, "r|", subject), subject, reader)
        try:
            while reader.read(_BLOCK_BYTES):
                subject.check()
        except _TooMuch:
            return _totals(1, reader.count, subject, complete=False)
        return _totals(1, reader.count, subject, complete=True)


def _tar(reader: _Bounded, mode: str, subject: Subject) -> Iterator[Facts]:
    with tarfile.open(fileobj=cast(BinaryIO, reader), mode=mode) as archive:  # type: ignore[call-overload]
        for member in archive:
            subject.check()
            archive.members.clear()  # otherwise they all stay in memory
            entry = _entry(
                member.name,
                member.size,
                datetime.fromtimestamp(max(0, member.mtime) % 2**35, tz=UTC).isoformat(),
                encrypted=False,
            )
            yield {**entry, "link_to": member.linkname[:_NAME_MAX]} if member.linkname else entry


def _entry(name: str, size: int, modified: str, *, encrypted: bool) -> Facts:
    entry: Facts = {"name": name[:_NAME_MAX], "size_bytes": size, "modified": modified}
    if encrypted:
        entry["encrypted"] = True
    if _leads_out(name):
        entry["unsafe_name"] = True
    return entry


def _leads_out(name: str) -> bool:
    """Whether unpacking under this name could write outside of the target."""
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or ":" in parts[0] or "\0" in name


def _listing(entries: Iterable[Facts], subject: Subject, reader: _Bounded | None) -> Facts:
    shown: list[Facts] = []
    count = total = unsafe = locked = 0
    complete = True
    try:
        for entry in entries:
            count += 1
            total += cast(int, entry["size_bytes"])
            unsafe += "unsafe_name" in entry
            locked += "encrypted" in entry
            if len(shown) < _ENTRIES_MAX:
                shown.append(entry)
    except _TooMuch:
        complete = False
        total = max(total, reader.count if reader else 0)
    return {
        **_totals(count, total, subject, complete=complete),
        "unsafe_names": unsafe,
        "encrypted_entries": locked,
        "entries": shown,
    }


def _totals(count: int, total: int, subject: Subject, *, complete: bool) -> Facts:
    return {
        "entry_count": count,
        "unpacked_bytes": total,
        "complete": complete,  # False: there is more than was counted
        "looks_like_bomb": total > _SMALL_BYTES and total > RATIO_MAX * subject.size_bytes,
    }
