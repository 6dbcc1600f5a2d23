"""Files in a folder: `spool/` for uploads under way, `files/` for stored ones.

A session owns one spool file with its full size reserved at creation, and each part is written
in place, so finishing is fsync and rename: every byte is written once. Who may write is settled
by open-file-description locks (fcntl(2), F_OFD_SETLK): the kernel frees them when the process
dies, they work between threads and processes, and they need no database connection.
"""

import ctypes
import errno
import fcntl
import os
import re
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from common.disk import full_disk_explained, no_room
from common.errors import Conflict, DooritoError, Gone, NotFound
from uploads.storage.base import StoredObject

_WHOLE = 2**62  # no file reaches this offset: its lock stands for the upload as a whole
_RETRY_SECONDS = 2
_POLL_SECONDS = 0.01
_WRITE_BACK_BYTES = 2**20
LONGEST_WAIT_SECONDS = 20.0
_KEY = re.compile(r"[0-9a-f]{32}")

_libc = ctypes.CDLL(None, use_errno=True)


class LocalStorage:
    backend = "local"

    def __init__(self, root: Path) -> None:
        self.spool = root / "spool"
        self.files = root / "files"

    def create(self, key: str, *, size_bytes: int) -> None:
        path = self._spool_path(key)
        _make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with full_disk_explained():
                _reserve(descriptor, size_bytes)
                os.fsync(descriptor)
        except (OSError, DooritoError):
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        _sync_folder(path.parent)

    @contextmanager
    def write_part(self, key: str, *, offset: int, size_bytes: int) -> Iterator["LocalPartWriter"]:
        with _opened(os.O_RDWR, self._either_path(key)) as descriptor:
            if not _try_lock(descriptor, start=offset, length=size_bytes):
                raise Conflict(
                    "part_in_progress",
                    "Another request is sending this part. Wait, then ask which parts are there.",
                    retry_after=_RETRY_SECONDS,
                )
            yield LocalPartWriter(descriptor, offset)

    @contextmanager
    def reader(self, key: str) -> Iterator["LocalReader"]:
        with _opened(os.O_RDONLY, self._either_path(key)) as descriptor:
            yield LocalReader(descriptor)

    @contextmanager
    def try_exclusive(self, key: str) -> Iterator[bool]:
        with _opened(os.O_RDWR, self._either_path(key)) as descriptor:
            yield _try_lock(descriptor, start=_WHOLE, length=1)

    @contextmanager
    def exclusive(self, key: str) -> Iterator[None]:
        with _opened(os.O_RDWR, self._either_path(key)) as descriptor:
            _wait_for_lock(descriptor, start=_WHOLE, length=1)
            yield

    @contextmanager
    def settled(self, key: str) -> Iterator[None]:
        with _opened(os.O_RDWR, self._either_path(key)) as descriptor:
            _wait_for_lock(descriptor, start=0, length=_WHOLE + 1)
            _unlock(descriptor, start=0, length=_WHOLE)
            yield

    @contextmanager
    def try_idle(self, key: str) -> Iterator[bool]:
        with ExitStack() as stack:
            try:
                descriptor = stack.enter_context(_opened(os.O_RDWR, self._either_path(key)))
            except NotFound:
                yield True
                return
            yield _try_lock(descriptor, start=0, length=_WHOLE + 1)

    def finish(self, key: str, *, size_bytes: int) -> StoredObject:
        target = self._file_path(key)
        _make_folder(target.parent)
        with _opened(os.O_RDWR, self._either_path(key)) as descriptor:
            actual = os.fstat(descriptor).st_size
            if actual != size_bytes:
                raise OSError(f"upload {key} has {actual} bytes on disk, not {size_bytes}")
            os.fsync(descriptor)
        with suppress(FileNotFoundError):  # renamed already, by an earlier try
            self._spool_path(key).rename(target)
        _sync_folder(target.parent)
        return StoredObject(backend=self.backend, bucket="", key=key)

    def discard(self, key: str) -> None:
        # The spool first: a finish that runs meanwhile either finds nothing to rename or has
        # renamed before, and then the second removal finds the file.
        self._spool_path(key).unlink(missing_ok=True)
        self._file_path(key).unlink(missing_ok=True)

    def open(self, key: str) -> BinaryIO:
        try:
            return self._file_path(key).open("rb")
        except FileNotFoundError as exc:
            raise Gone("file_purged", "The file's bytes have been removed.") from exc

    def delete(self, key: str) -> None:
        self._file_path(key).unlink(missing_ok=True)

    def unfinished(self, *, older_than: datetime) -> Iterator[str]:
        for path in self.spool.glob("??/*"):
            if not _KEY.fullmatch(path.name):  # a network file system's or a backup's own
                continue
            with suppress(FileNotFoundError):
                if datetime.fromtimestamp(path.stat().st_mtime, UTC) < older_than:
                    yield path.name

    # Keys are UUIDv7 in hex: their end is random, so it spreads files over 256 folders.
    def _spool_path(self, key: str) -> Path:
        return self.spool / key[-2:] / key

    def _file_path(self, key: str) -> Path:
        return self.files / key[-2:] / key

    def _either_path(self, key: str) -> Iterator[Path]:
        """Where an upload's bytes can be: in the spool, or renamed by a finish, even just now."""
        yield self._spool_path(key)
        yield self._file_path(key)


class LocalPartWriter:
    """Writes one part's bytes in place, one after the other.

    The system is told to write them back to the disk as they come, so that finishing has little to
    wait for, and in small pieces, so that the database's commits are not queued behind large ones.
    """

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self._dirty_from = self._position = offset

    def write(self, block: memoryview) -> None:
        while block.nbytes:
            with full_disk_explained():
                written = os.pwrite(self._descriptor, block, self._position)
            self._position += written
            block = block[written:]
        if self._position - self._dirty_from >= _WRITE_BACK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Begin to write back, without waiting: sync_file_range(2), SYNC_FILE_RANGE_WRITE."""
        length = self._position - self._dirty_from
        if length and hasattr(_libc, "sync_file_range"):
            _libc.sync_file_range(
                self._descriptor,
                ctypes.c_int64(self._dirty_from),
                ctypes.c_int64(length),
                ctypes.c_uint(2),
            )
        self._dirty_from = self._position


class LocalReader:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read_into(self, buffer: memoryview, *, offset: int) -> int:
        filled = 0
        while filled < buffer.nbytes:
            count = os.preadv(self._descriptor, [buffer[filled:]], offset + filled)
            if count == 0:
                break
            filled += count
        return filled


@contextmanager
def _opened(flags: int, paths: Iterable[Path]) -> Iterator[int]:
    """A descriptor of the first path that exists; a rename may move it on to the next one."""
    for path in paths:
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            continue
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        return
    raise NotFound("upload_missing", "The upload's bytes are not there.")


def _reserve(descriptor: int, size_bytes: int) -> None:
    """Claim the file's blocks now, so that a full disk is found before any byte is sent.

    PORTAL_DISK_RESERVE stays free, since the database may live on the same disk. fallocate(2)
    itself: posix_fallocate(3) would write every block where the file system cannot reserve, and
    there a sparse file has to do.
    """
    if size_bytes == 0:
        return
    free = os.fstatvfs(descriptor)
    if size_bytes > free.f_bavail * free.f_frsize - settings.PORTAL_DISK_RESERVE:
        raise no_room()
    if hasattr(_libc, "fallocate"):
        done = _libc.fallocate(descriptor, 0, ctypes.c_int64(0), ctypes.c_int64(size_bytes))
        if done == 0:
            return
        if ctypes.get_errno() not in {errno.EOPNOTSUPP, errno.ENOSYS}:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.ftruncate(descriptor, size_bytes)


def _try_lock(descriptor: int, *, start: int, length: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK, start, length))
    except OSError as exc:
        if exc.errno in {errno.EAGAIN, errno.EACCES}:
            return False
        raise
    return True


def _wait_for_lock(descriptor: int, *, start: int, length: int) -> None:
    """Not for ever: checking a giant takes minutes, and whoever waits holds a thread."""
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while not _try_lock(descriptor, start=start, length=length):
        if time.monotonic() > deadline:
            raise Conflict(
                "finalize_in_progress",
                "Another request is checking this upload. Ask again, or look at the session.",
                retry_after=_RETRY_SECONDS,
            )
        time.sleep(_POLL_SECONDS)


def _unlock(descriptor: int, *, start: int, length: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, start, length))


def _flock(kind: int, start: int, length: int) -> bytes:
    """`struct flock`: type, whence, start, length, pid (which must be 0 for these locks)."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
