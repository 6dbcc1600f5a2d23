"""Several stored files as one ZIP archive, made while it is sent: no byte is kept."""

import io
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from common.errors import Gone
from uploads.models import IngestFile
from uploads.storage import open_object

BLOCK_BYTES = 256 * 2**10


class _Outbox(io.RawIOBase):
    """What the archive writes, until it is taken; it cannot be gone back in."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        block = bytes(data)  # type: ignore[call-overload]
        self._blocks.append(block)
        return len(block)

    def take(self) -> bytes:
        blocks, self._blocks = self._blocks, []
        return b"".join(blocks)


def zip_blocks(files: Sequence[IngestFile]) -> Iterator[bytes]:
    """The archive of the files, uncompressed: most of what people send is compressed already.

    A file whose bytes went meanwhile is left out.
    """
    outbox = _Outbox()
    with ZipFile(outbox, "w", ZIP_STORED, allowZip64=True) as archive:
        for file, name in zip(files, _names(files), strict=True):
            try:
                content = open_object(file)
            except Gone:
                continue
            made = file.stored_at or file.created_at
            entry = ZipInfo(name, date_time=(max(made.year, 1980), *made.timetuple()[1:6]))
            with content, archive.open(entry, "w", force_zip64=True) as member:
                while block := content.read(BLOCK_BYTES):
                    member.write(block)
                    yield outbox.take()
    yield outbox.take()


def _names(files: Sequence[IngestFile]) -> list[str]:
    """Their paths or names; a number tells apart those of the same name."""
    taken: set[str] = set()
    return [_free_name(file.relative_path or file.original_filename, taken) for file in files]


def _free_name(wanted: str, taken: set[str]) -> str:
    path = PurePosixPath(wanted.lstrip("/"))
    name, number = str(path), 1
    while name.casefold() in taken:
        number += 1
        name = str(path.with_name(f"{path.stem} ({number}){path.suffix}"))
    taken.add(name.casefold())
    return name
