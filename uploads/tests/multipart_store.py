"""A storage backend as unlike the local one as can be, for tests.

As object stores do, it keeps each range as a part of its own and composes the object in the end.
Nothing can be read back before, a part needs the receipt that was given for it, and every part but
the last has a minimum size. Locks live in files beside the bytes.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from common.errors import Gone, InvalidInput, NotFound
from common.ids import uuid7
from uploads.storage.base import (
    HeldObject,
    PartRules,
    Receipt,
    Storage,
    StoredObject,
    UploadHandle,
)
from uploads.storage.local import LocalLocks, Places

BACKEND = "multipart"
BUCKET = "objects"
MIN_PART_BYTES = 8


class MultipartUploads:
    rules = PartRules(min_bytes=MIN_PART_BYTES, max_bytes=2**20, max_count=100)

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, key: str, *, size_bytes: int | None) -> UploadHandle:  # noqa: ARG002
        handle = UploadHandle(BACKEND, key, token=uuid7().hex)
        folder = self._folder(handle)
        try:
            folder.parent.mkdir(parents=True)
        except FileExistsError:
            raise FileExistsError(key) from None
        folder.mkdir()
        lock = lock_places(self._root).spool_path(key)
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        return handle

    def resize(self, handle: UploadHandle, *, size_bytes: int) -> None:
        """Parts make their own room."""

    @contextmanager
    def write(
        self,
        handle: UploadHandle,
        *,
        offset: int,
        size_bytes: int | None,
        number: int | None = None,  # noqa: ARG002
    ) -> Iterator["PartFile"]:
        folder = self._folder(handle)
        if not folder.is_dir() and not self._object(handle).exists():
            raise _missing()
        part = PartFile(folder / str(offset), offset=offset, size_bytes=size_bytes)
        try:
            yield part
        finally:
            part.close()

    def finish(
        self, handle: UploadHandle, receipts: list[Receipt], *, size_bytes: int
    ) -> StoredObject:
        target = self._object(handle)
        if not target.exists():
            data = b"".join(self._part(handle, receipt) for receipt in receipts)
            if any(receipt.size_bytes < MIN_PART_BYTES for receipt in receipts[:-1]):
                raise InvalidInput("part_too_small", "A part is smaller than this store takes.")
            if len(data) != size_bytes:
                raise OSError(f"upload {handle.key} has {len(data)} bytes, not {size_bytes}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_suffix(".new").write_bytes(data)
            target.with_suffix(".new").rename(target)
        self.settle(handle)
        return StoredObject(BACKEND, BUCKET, handle.key)

    @contextmanager
    def put(self, key: str, *, size_bytes: int) -> Iterator["WholeObject"]:
        handle = self.create(key, size_bytes=size_bytes)
        locks = MultipartLocks(lock_places(self._root))
        writer = WholeObject(self._object(handle), self._folder(handle), size_bytes=size_bytes)
        try:
            with locks.writing(handle, offset=0, size_bytes=None):
                yield writer
        finally:
            if not writer.is_committed:
                self.discard(handle)
        self.settle(handle)

    @contextmanager
    def put_back(self, key: str, *, size_bytes: int) -> Iterator["WholeObject"]:
        self.discard(UploadHandle(BACKEND, key))
        with self.put(key, size_bytes=size_bytes) as writer:
            yield writer

    def discard(self, handle: UploadHandle) -> None:
        self.settle(handle)
        self._object(handle).unlink(missing_ok=True)
        lock_places(self._root).spool_path(handle.key).unlink(missing_ok=True)

    def unfinished(self, *, older_than: datetime) -> Iterator[UploadHandle]:
        for folder in (self._root / "parts").glob("*/*"):
            with suppress(FileNotFoundError):
                if datetime.fromtimestamp(folder.stat().st_mtime, UTC) < older_than:
                    yield UploadHandle(BACKEND, folder.parent.name, token=folder.name)

    def settle(self, handle: UploadHandle) -> None:
        shutil.rmtree(self._root / "parts" / handle.key, ignore_errors=True)

    def _folder(self, handle: UploadHandle) -> Path:
        return self._root / "parts" / handle.key / handle.token

    def _object(self, handle: UploadHandle) -> Path:
        return self._root / BUCKET / handle.key

    def _part(self, handle: UploadHandle, receipt: Receipt) -> bytes:
        try:
            data = (self._folder(handle) / str(receipt.offset_bytes)).read_bytes()
        except FileNotFoundError:
            raise _missing() from None
        if json.loads(receipt.token)["etag"] != hashlib.md5(data).hexdigest():  # noqa: S324
            raise OSError("the receipt is of other bytes")
        return data


class PartFile:
    def __init__(self, path: Path, *, offset: int, size_bytes: int | None) -> None:
        self._path = path
        self._offset = offset
        self._size_bytes = size_bytes
        self._file = io.BytesIO()

    def write(self, block: memoryview) -> None:
        self._file.write(block)

    def commit(self) -> Receipt:
        data = self._file.getvalue()
        if self._size_bytes is not None and len(data) != self._size_bytes:
            raise OSError(f"a part of {self._size_bytes} bytes was announced, {len(data)} came")
        self._path.write_bytes(data)
        token = json.dumps({"etag": hashlib.md5(data).hexdigest()})  # noqa: S324
        return Receipt(self._offset, len(data), token)

    def close(self) -> None:
        self._file.close()


class WholeObject:
    def __init__(self, path: Path, parts: Path, *, size_bytes: int) -> None:
        self._path = path
        self._parts = parts
        self._size_bytes = size_bytes
        self._data = bytearray()
        self.is_committed = False

    def write(self, block: memoryview) -> None:
        self._data += block

    def commit(self) -> StoredObject:
        if len(self._data) != self._size_bytes:
            raise OSError(f"an object of {self._size_bytes} bytes was announced")
        if not self._parts.is_dir():
            raise _missing()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(self._data)
        self.is_committed = True
        return StoredObject(BACKEND, BUCKET, self._path.name)


class MultipartObjects:
    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, stored: StoredObject, *, start: int = 0, end: int | None = None) -> BinaryIO:
        try:
            return io.BytesIO((self._root / BUCKET / stored.key).read_bytes()[start:end])
        except FileNotFoundError:
            raise Gone("file_purged", "The file's bytes have been removed.") from None

    def delete(self, stored: StoredObject) -> None:
        (self._root / BUCKET / stored.key).unlink(missing_ok=True)

    def name_of(self, stored: StoredObject) -> str:
        return stored.key

    def held(self, *, after: str = "") -> Iterator[HeldObject]:
        for path in sorted((self._root / BUCKET).glob("*")):
            if path.name > after:
                found = path.stat()
                changed_at = datetime.fromtimestamp(found.st_mtime, UTC)
                stored = StoredObject(BACKEND, BUCKET, path.name)
                yield HeldObject(stored, found.st_size, changed_at)


class MultipartLocks(LocalLocks):
    """As the local ones, on files that are there for the locks alone, and go with the upload."""


def multipart_storage(root: Path) -> Storage:
    return Storage(
        BACKEND,
        MultipartUploads(root),
        MultipartObjects(root),
        MultipartLocks(lock_places(root)),
    )


def lock_places(root: Path) -> Places:
    return Places(root / "locks")


def make_old(root: Path, key: str) -> None:
    """Let an upload look as if nobody had written to it for years."""
    for path in (root / "parts" / key).glob("*"):
        os.utime(path, (0, 0))


def _missing() -> NotFound:
    return NotFound("upload_missing", "The upload's bytes are not there.")
