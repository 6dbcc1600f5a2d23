"""Untrusted ZIP files: their declared sizes are checked before and while reading."""

import struct
import zlib
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import IO, BinaryIO
from xml.parsers import expat
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from uploads.workflows.errors import TaskFailed
from uploads.workflows.text.base import Job, Piece, TextOptions, encrypted, size_of, unreadable

# zipfile keeps the central directory in memory, at ten times its size.
_DIRECTORY_BYTES_MAX = 16 * 1024 * 1024
_BLOCK_BYTES = 256 * 1024
# Deflate compresses at most 1,032 to 1. Documents reach 100 to 1; small ones may exceed it.
RATIO_MAX = 250
_RATIO_FREE_BYTES = 32 * 1024 * 1024
_DEPTH_MAX = 256  # of XML elements

_END = struct.Struct("<4s4H2LH")  # APPNOTE.TXT 4.3.16
_END64 = struct.Struct("<4sQ2H2L4Q")  # APPNOTE.TXT 4.3.14
_LOCATOR64 = struct.Struct("<4sLQL")  # APPNOTE.TXT 4.3.15

OnElement = Callable[[str, dict[str, str]], None]  # name and attributes


def open_zip(source: BinaryIO) -> ZipFile:
    """Raises BadZipFile; TaskFailed `archive_bomb` if the central directory is too large."""
    size = _directory_size(source)
    if size > _DIRECTORY_BYTES_MAX:
        raise bomb(f"its list of entries takes {size:,} bytes")
    source.seek(0)
    return ZipFile(source)


def bomb(why: str) -> TaskFailed:
    return TaskFailed("archive_bomb", f"The archive was not unpacked: {why}.")


def check_promises(archive: ZipFile, options: TextOptions) -> None:
    """Refuse an archive whose declared sizes are too large."""
    entries = archive.infolist()
    if len(entries) > options.max_entries:
        raise bomb(f"it has {len(entries):,} entries, {options.max_entries:,} are allowed")
    if any(entry.flag_bits & 1 for entry in entries):
        raise encrypted()
    packed = sum(entry.compress_size for entry in entries)
    _check_size(sum(entry.file_size for entry in entries), packed, options)


class DamagedEntry(BadZipFile):
    """What is packed in an entry is broken; what came before the break is right."""


def blocks(archive: ZipFile, entry: ZipInfo) -> Iterator[bytes]:
    """An entry's bytes. Raises BadZipFile if there are more than declared, DamagedEntry."""
    if entry.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
        raise BadZipFile(f"{entry.filename!r} is compressed in a way that documents do not use")
    unbounded = copy(entry)
    unbounded.file_size = entry.file_size + 1
    del unbounded.CRC  # is checked here, where a wrong size can be told from wrong bytes
    count = check = 0
    with archive.open(unbounded) as part:
        while block := _read(part, entry):
            count += len(block)
            if count > entry.file_size:
                raise BadZipFile(f"{entry.filename!r} is larger than its list says")
            check = zlib.crc32(block, check)
            yield block
    if count != entry.file_size or check != entry.CRC:
        raise DamagedEntry(f"{entry.filename!r} is damaged")


def _read(part: IO[bytes], entry: ZipInfo) -> bytes:
    try:
        return part.read(_BLOCK_BYTES)
    except (zlib.error, EOFError) as exc:
        raise DamagedEntry(f"{entry.filename!r} is damaged") from exc


def repack(
    source: BinaryIO,
    target: Path,
    job: Job,
    *,
    keep: tuple[str, ...] = (),
    skip: tuple[str, ...] = (),
    watch: Callable[[], OnElement] = lambda: _ignore,
) -> Iterator[Piece]:
    """Copy an office document, its XML only, with true sizes. Yields empty pieces as progress.

    The libraries that read it next trust sizes and XML, and load all parts. In the copy sizes
    are true, XML declares no entities and is not nested too deeply, and whatever is not XML
    (images, films, macros) is empty, unless its name ends with one of `keep`; so is what begins
    with one of `skip`. XML that cannot be parsed ends where it is broken. Each part's elements
    are shown to a function that `watch` makes.

    Raises BadZipFile; TaskFailed `archive_bomb`, `file_encrypted`, `file_unreadable`.
    """
    with open_zip(source) as archive, ZipFile(target, "w", ZIP_DEFLATED, compresslevel=1) as copied:
        check_promises(archive, job.options)
        for entry in {entry.filename: entry for entry in archive.infolist()}.values():
            name = entry.filename.lower()
            if not name.endswith((".xml", ".rels")) or name.startswith(skip or "/"):
                yield from _copy_other(archive, entry, copied, keep)
                continue
            with copied.open(entry.filename, "w", force_zip64=True) as out:
                for block in _sound_xml(_undamaged(archive, entry, job), watch()):
                    out.write(block)
                    yield Piece("")


def _undamaged(archive: ZipFile, entry: ZipInfo, job: Job) -> Iterator[bytes]:
    """An entry's bytes up to where it is damaged, which costs what follows."""
    try:
        yield from blocks(archive, entry)
    except DamagedEntry:
        job.warn(f"The part {entry.filename} is damaged; only its beginning was read.")


def _copy_other(
    archive: ZipFile, entry: ZipInfo, copied: ZipFile, keep: tuple[str, ...]
) -> Iterator[Piece]:
    with copied.open(entry.filename, "w", force_zip64=True) as out:
        if entry.filename == "mimetype" or (keep and entry.filename.lower().endswith(keep)):
            for block in blocks(archive, entry):
                out.write(block)
                yield Piece("")


def _sound_xml(parts: Iterator[bytes], on_element: OnElement) -> Iterator[bytes]:
    """Pass the bytes on, each block after it was parsed."""
    parser = expat.ParserCreate()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEPTH_MAX:
            raise unreadable("a document", "its XML is nested too deeply")
        on_element(name, attributes)

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*_: object) -> None:
        raise unreadable("a document", "its XML declares a document type, as attacks do")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = doctype
    taken = 0
    for block in parts:
        try:
            parser.Parse(block, False)
        except expat.ExpatError:
            yield block[: max(0, parser.ErrorByteIndex - taken)]
            return
        taken += len(block)
        yield block


def _directory_size(source: BinaryIO) -> int:
    """Bytes of the central directory, as the end record says; 0 if there is no end record."""
    size = size_of(source)
    source.seek(max(0, size - _END.size - 0xFFFF))
    tail = source.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        return 0
    directory_bytes = int(_END.unpack_from(tail, at)[5])
    locator_at = at - _LOCATOR64.size
    if locator_at >= 0 and tail.startswith(b"PK\x06\x07", locator_at):
        source.seek(max(0, size - len(tail) + locator_at - _END64.size))
        end64 = source.read(_END64.size)
        if end64.startswith(b"PK\x06\x06"):
            return int(_END64.unpack(end64)[8])
    return directory_bytes


def _check_size(unpacked: int, packed: int, options: TextOptions) -> None:
    if unpacked > options.max_unpacked_bytes:
        raise bomb(f"it would take {unpacked:,} bytes, {options.max_unpacked_bytes:,} are allowed")
    if unpacked > _RATIO_FREE_BYTES and unpacked > packed * RATIO_MAX:
        raise bomb(f"it would grow from {packed:,} to {unpacked:,} bytes")


def _ignore(_name: str, _attributes: dict[str, str]) -> None:
    return
