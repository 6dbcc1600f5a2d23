"""The disk: room that is claimed, what is made durable, and what its errors mean."""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import InsufficientStorage, ServiceUnavailable

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FAILING = {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_FULL_RETRY_SECONDS = 3600
_FAILING_RETRY_SECONDS = 60

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def disk_errors_explained() -> Iterator[None]:
    """Raises InsufficientStorage `no_room`, ServiceUnavailable `storage_failed`."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _NO_ROOM:
            raise InsufficientStorage(
                "no_room",
                "The portal's disk has no room for this file.",
                retry_after=_FULL_RETRY_SECONDS,
            ) from exc
        if exc.errno in _FAILING:
            raise ServiceUnavailable(
                "storage_failed",
                f"The portal's disk cannot be used just now ({os.strerror(exc.errno)}); "
                "its administrator has to look at it. Try again later.",
                retry_after=_FAILING_RETRY_SECONDS,
            ) from exc
        raise


def reserve(descriptor: int, size_bytes: int, *, keep_free: int) -> None:
    """Claim a file's blocks now, so that a full disk is found before any byte is sent.

    `keep_free` bytes stay free, since the database may live on the same disk. fallocate(2)
    itself: posix_fallocate(3) would write every block where the file system cannot reserve, and
    there a sparse file has to do.
    """
    if size_bytes == 0:
        return
    require_room(descriptor, size_bytes, keep_free=keep_free)
    if hasattr(_libc, "fallocate"):
        done = _libc.fallocate(descriptor, 0, ctypes.c_int64(0), ctypes.c_int64(size_bytes))
        if done == 0:
            return
        if ctypes.get_errno() not in {errno.EOPNOTSUPP, errno.ENOSYS}:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.ftruncate(descriptor, size_bytes)


def require_room(descriptor: int, size_bytes: int, *, keep_free: int) -> None:
    """Raises OSError ENOSPC unless `size_bytes` fit and leave `keep_free`."""
    free = os.fstatvfs(descriptor)
    if size_bytes > free.f_bavail * free.f_frsize - keep_free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_all(descriptor: int, block: memoryview, *, offset: int) -> None:
    while block.nbytes:
        written = os.pwrite(descriptor, block, offset)
        offset += written
        block = block[written:]


def begin_write_back(descriptor: int, *, start: int, end: int) -> None:
    """Have the system write to the disk, without waiting (sync_file_range(2))."""
    if end > start and hasattr(_libc, "sync_file_range"):
        _libc.sync_file_range(
            descriptor,
            ctypes.c_int64(start),
            ctypes.c_int64(end - start),
            ctypes.c_uint(2),  # SYNC_FILE_RANGE_WRITE
        )


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
