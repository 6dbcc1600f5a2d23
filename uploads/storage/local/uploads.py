"""Uploads under way: spool files, written in place."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from common.disk import disk_errors_explained
from uploads.storage.base import KEY, PartRules, Receipt, StoredObject, UploadHandle
from uploads.storage.local.disk import (
    begin_write_back,
    make_folder,
    require_room,
    reserve,
    sync_folder,
    write_all,
)
from uploads.storage.local.locks import WHOLE, try_lock
from uploads.storage.local.places import Places, handle_of, object_of
from uploads.storage.refusals import upload_missing

_WRITE_BACK_BYTES = 2**20
_COPY_BYTES = 2**26


class LocalUploads:
    """An `UploadStore` that reads back, and may lose writes with its machine's power."""

    rules = PartRules()

    def __init__(self, places: Places, *, keep_free: int) -> None:
        self._places = places
        self._keep_free = keep_free

    def create(self, key: str, *, size_bytes: int | None) -> UploadHandle:
        path = self._places.spool_path(key)
        with disk_errors_explained():
            descriptor = _new_file(path)
            try:
                reserve(descriptor, size_bytes or 0, keep_free=self._keep_free)
                os.fsync(descriptor)
            except OSError:
                path.unlink()
                raise
            finally:
                os.close(descriptor)
            sync_folder(path.parent)
        return handle_of(key)

    def resize(self, handle: UploadHandle, *, size_bytes: int) -> None:
        with (
            self._places.opened(handle.key, os.O_RDWR) as descriptor,
            disk_errors_explained(),
        ):
            reserve(descriptor, size_bytes, keep_free=self._keep_free)
            os.fsync(descriptor)

    @contextmanager
    def write(
        self,
        handle: UploadHandle,
        *,
        offset: int,
        size_bytes: int | None,  # noqa: ARG002  (a file takes ranges of any size ...)
        number: int | None = None,  # noqa: ARG002  (... at the place of their offset)
    ) -> Iterator["LocalRangeWriter"]:
        with self._places.opened(handle.key, os.O_RDWR) as descriptor:
            yield LocalRangeWriter(descriptor, offset)

    @contextmanager
    def reader(self, handle: UploadHandle) -> Iterator["LocalReader"]:
        with self._places.opened(handle.key, os.O_RDONLY) as descriptor:
            yield LocalReader(descriptor)

    def finish(
        self, handle: UploadHandle, receipts: list[Receipt], *, size_bytes: int
    ) -> StoredObject:
        target = self._places.file_path(handle.key)
        with disk_errors_explained():
            make_folder(target.parent)
            with self._places.opened(handle.key, os.O_RDWR) as descriptor:
                if _lie_in_place(receipts):
                    _fit(descriptor, handle.key, size_bytes)
                    os.fsync(descriptor)
                    with suppress(FileNotFoundError):  # renamed already, by an earlier try
                        self._places.spool_path(handle.key).rename(target)
                elif not target.exists():
                    self._compose(handle.key, descriptor, receipts, size_bytes=size_bytes)
            self._places.spool_path(handle.key).unlink(missing_ok=True)  # of what was composed
            sync_folder(target.parent)
        return object_of(handle.key)

    @contextmanager
    def put(self, key: str, *, size_bytes: int) -> Iterator["LocalObjectWriter"]:
        """Write an object, which is synced to the disk once, at the commit.

        Until the block ends, the object has a name in the spool as well, so that a sweep finds it
        after a kill.
        """
        spooled, target = self._places.spool_path(key), self._places.file_path(key)
        with disk_errors_explained():
            make_folder(target.parent)
            descriptor = _new_file(spooled)
        is_committed = False
        try:
            try_lock(descriptor, start=0, length=WHOLE + 1)
            with disk_errors_explained():
                require_room(descriptor, size_bytes, keep_free=self._keep_free)
            writer = LocalObjectWriter(descriptor, spooled, target, size_bytes=size_bytes)
            try:
                yield writer
            finally:
                is_committed = writer.is_committed
        finally:
            if not is_committed:
                self.discard(handle_of(key))
            os.close(descriptor)
        spooled.unlink(missing_ok=True)

    @contextmanager
    def put_back(self, key: str, *, size_bytes: int) -> Iterator["LocalObjectWriter"]:
        self.discard(handle_of(key))
        with self.put(key, size_bytes=size_bytes) as writer:
            yield writer

    def discard(self, handle: UploadHandle) -> None:
        # The spool first: a finish that runs meanwhile either finds nothing to rename or has
        # renamed before, and then the second removal finds the file.
        for path in (
            self._places.composed_path(handle.key),
            self._places.spool_path(handle.key),
            self._places.file_path(handle.key),
        ):
            path.unlink(missing_ok=True)

    def unfinished(self, *, older_than: datetime) -> Iterator[UploadHandle]:
        for path in self._places.spool.glob("??/*"):
            if not KEY.fullmatch(path.name):  # a network file system's or a backup's own
                continue
            with suppress(FileNotFoundError):
                if datetime.fromtimestamp(path.stat().st_mtime, UTC) < older_than:
                    yield handle_of(path.name)

    def settle(self, handle: UploadHandle) -> None:
        if self._places.file_path(handle.key).exists():
            self._places.spool_path(handle.key).unlink(missing_ok=True)

    def epoch(self) -> str:
        """The machine's boot: bytes in the kernel survive a process's death, but not a reboot."""
        return _boot_id()

    def _compose(self, key: str, source: int, receipts: list[Receipt], *, size_bytes: int) -> None:
        """Copy ranges that did not come in the file's order into a file that has it."""
        partial = self._places.composed_path(key)
        partial.unlink(missing_ok=True)
        descriptor = _new_file(partial)
        try:
            reserve(descriptor, size_bytes, keep_free=self._keep_free)
            position = 0
            for receipt in receipts:
                position = _copy(source, descriptor, receipt, position)
            _require_size(key, position, size_bytes)
            os.fsync(descriptor)
            partial.rename(self._places.file_path(key))
        finally:
            os.close(descriptor)
            partial.unlink(missing_ok=True)


class LocalRangeWriter:
    """Writes one range's bytes in place, one block after the other.

    The system is told to write them back to the disk as they come, so that finishing has little to
    wait for, and in small pieces, so that the database's commits are not queued behind large ones.
    """

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self._start = self._clean_until = self._position = offset

    def write(self, block: memoryview) -> None:
        with disk_errors_explained():
            write_all(self._descriptor, block, offset=self._position)
        self._position += block.nbytes
        if self._position - self._clean_until >= _WRITE_BACK_BYTES:
            self._begin_write_back()

    def commit(self) -> Receipt:
        self._begin_write_back()
        return Receipt(self._start, self._position - self._start)

    def _begin_write_back(self) -> None:
        begin_write_back(self._descriptor, start=self._clean_until, end=self._position)
        self._clean_until = self._position


class LocalObjectWriter:
    def __init__(self, descriptor: int, spooled: Path, target: Path, *, size_bytes: int) -> None:
        self._descriptor = descriptor
        self._spooled = spooled
        self._target = target
        self._size_bytes = size_bytes
        self._position = 0
        self.is_committed = False

    def write(self, block: memoryview) -> None:
        with disk_errors_explained():
            write_all(self._descriptor, block, offset=self._position)
        self._position += block.nbytes

    def commit(self) -> StoredObject:
        with disk_errors_explained():
            _require_size(self._target.name, self._position, self._size_bytes)
            try:
                _link(self._spooled, self._target)
            except FileNotFoundError as exc:
                raise upload_missing() from exc
            os.fsync(self._descriptor)
            sync_folder(self._target.parent)
        self.is_committed = True
        return object_of(self._target.name)


class LocalReader:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read_into(self, buffer: memoryview, *, offset: int) -> int:
        filled = 0
        while filled < buffer.nbytes:
            with disk_errors_explained():
                count = os.preadv(self._descriptor, [buffer[filled:]], offset + filled)
            if count == 0:
                break
            filled += count
        return filled


@cache
def _boot_id() -> str:
    """Names this run of the machine (random(4)); "" where the system does not tell."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def _new_file(path: Path) -> int:
    """Raises FileExistsError: a key is used once."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        make_folder(path.parent)
        return os.open(path, flags, 0o600)


def _lie_in_place(receipts: list[Receipt]) -> bool:
    position = 0
    for receipt in receipts:
        if receipt.offset_bytes != position:
            return False
        position += receipt.size_bytes
    return True


def _copy(source: int, target: int, receipt: Receipt, position: int) -> int:
    """Copy a range of `source` to `position` of `target`. Returns where the copy ends."""
    offset, left = receipt.offset_bytes, receipt.size_bytes
    while left:
        count = os.copy_file_range(
            source, target, min(left, _COPY_BYTES), offset_src=offset, offset_dst=position
        )
        if count == 0:
            raise OSError(f"the upload ends {left} bytes early")
        offset, position, left = offset + count, position + count, left - count
    return position


def _fit(descriptor: int, key: str, size_bytes: int) -> None:
    """Cut off what a broken request wrote behind the last range that counts."""
    actual = os.fstat(descriptor).st_size
    if actual > size_bytes:
        os.ftruncate(descriptor, size_bytes)
    else:
        _require_size(key, actual, size_bytes)


def _require_size(key: str, actual: int, size_bytes: int) -> None:
    if actual != size_bytes:
        raise OSError(f"upload {key} has {actual} bytes on disk, not {size_bytes}")


def _link(spooled: Path, target: Path) -> None:
    """Give the bytes a second name; where the file system has no hard links, rename them."""
    try:
        target.hardlink_to(spooled)
    except OSError as exc:
        if exc.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        spooled.rename(target)
