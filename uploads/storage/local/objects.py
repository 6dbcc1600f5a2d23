"""Stored objects: files that nobody writes to any more."""

import io
from typing import BinaryIO, cast

from common.disk import disk_errors_explained
from uploads.storage.base import StoredObject
from uploads.storage.local.places import Places
from uploads.storage.refusals import file_purged


class LocalObjects:
    def __init__(self, places: Places) -> None:
        self._places = places

    def open(self, stored: StoredObject, *, start: int = 0, end: int | None = None) -> BinaryIO:
        try:
            with disk_errors_explained():
                content = self._places.file_path(stored.key).open("rb")
        except FileNotFoundError as exc:
            raise file_purged() from exc
        if start:
            content.seek(start)
        return content if end is None else cast(BinaryIO, _Limited(content, end - start))

    def delete(self, stored: StoredObject) -> None:
        self._places.file_path(stored.key).unlink(missing_ok=True)

    def name_of(self, stored: StoredObject) -> str:
        return stored.key


class _Limited(io.RawIOBase):
    """A file that ends after so many more bytes."""

    def __init__(self, content: BinaryIO, size_bytes: int) -> None:
        self._content = content
        self._left = size_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        block = self._content.read(min(len(buffer), self._left))
        buffer[: len(block)] = block
        self._left -= len(block)
        return len(block)

    def close(self) -> None:
        self._content.close()
        super().close()
