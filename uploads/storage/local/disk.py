"""The disk: room that is claimed, and what is made durable."""

import ctypes
import errno
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)


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
