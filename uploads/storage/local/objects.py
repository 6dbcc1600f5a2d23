"""Stored objects: files that nobody writes to any more."""

import heapq
import io
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import BinaryIO, cast

from common.disk import disk_errors_explained
from uploads.storage.base import KEY, HeldObject, StoredObject
from uploads.storage.local.places import Places, object_of
from uploads.storage.refusals import file_purged

# Keys that are kept in mind at a time, some 10 MB. All folders are read once for so many.
_LISTED = 50_000


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

    def held(self, *, after: str = "") -> Iterator[HeldObject]:
        while keys := heapq.nsmallest(_LISTED, self._keys(after)):
            for key in keys:
                with suppress(FileNotFoundError):  # removed meanwhile
                    yield self._held(key)
            after = keys[-1]

    def _keys(self, after: str) -> Iterator[str]:
        with disk_errors_explained():
            for folder in self._places.files.glob("??"):
                # What has no key's name is a network file system's or a backup's own.
                with os.scandir(folder) as entries:
                    names = (entry.name for entry in entries if entry.name > after)
                    yield from (n for n in names if KEY.fullmatch(n) and n.endswith(folder.name))

    def _held(self, key: str) -> HeldObject:
        found = self._places.file_path(key).stat()
        return HeldObject(
            object_of(key), found.st_size, datetime.fromtimestamp(found.st_mtime, UTC)
        )


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
