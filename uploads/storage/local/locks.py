"""Locks of uploads: kernel locks on byte ranges of their files."""

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from common.errors import NotFound
from uploads.storage.base import UploadHandle
from uploads.storage.local.places import Places
from uploads.storage.refusals import finalize_in_progress, part_in_progress

WHOLE = 2**62  # no file reaches this offset: its lock stands for the upload as a whole
LONGEST_WAIT_SECONDS = 20.0
_POLL_SECONDS = 0.01


class LocalLocks:
    def __init__(self, places: Places) -> None:
        self._places = places

    @contextmanager
    def writing(
        self, handle: UploadHandle, *, offset: int, size_bytes: int | None
    ) -> Iterator[None]:
        length = WHOLE - offset if size_bytes is None else size_bytes
        with self._places.opened(handle.key, os.O_RDWR) as descriptor:
            if not try_lock(descriptor, start=offset, length=length):
                raise part_in_progress()
            yield

    @contextmanager
    def try_exclusive(self, handle: UploadHandle) -> Iterator[bool]:
        with self._places.opened(handle.key, os.O_RDWR) as descriptor:
            yield try_lock(descriptor, start=WHOLE, length=1)

    @contextmanager
    def exclusive(self, handle: UploadHandle) -> Iterator[None]:
        with self._places.opened(handle.key, os.O_RDWR) as descriptor:
            _wait_for_lock(descriptor, start=WHOLE, length=1)
            yield

    @contextmanager
    def settled(self, handle: UploadHandle) -> Iterator[None]:
        with self._places.opened(handle.key, os.O_RDWR) as descriptor:
            _wait_for_lock(descriptor, start=0, length=WHOLE + 1)
            _unlock(descriptor, start=0, length=WHOLE)
            yield

    @contextmanager
    def try_idle(self, handle: UploadHandle) -> Iterator[bool]:
        with ExitStack() as stack:
            try:
                descriptor = stack.enter_context(self._places.opened(handle.key, os.O_RDWR))
            except NotFound:
                yield True
                return
            yield try_lock(descriptor, start=0, length=WHOLE + 1)


def try_lock(descriptor: int, *, start: int, length: int) -> bool:
    """Whether this open file now holds the range; it does until it is closed."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK, start, length))
    except OSError as exc:
        if exc.errno in {errno.EAGAIN, errno.EACCES}:
            return False
        raise
    return True


def _wait_for_lock(descriptor: int, *, start: int, length: int) -> None:
    """Wait for the lock, but not for ever: checking a huge file takes minutes, and a waiter holds
    a thread.
    """
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while not try_lock(descriptor, start=start, length=length):
        if time.monotonic() > deadline:
            raise finalize_in_progress()
        time.sleep(_POLL_SECONDS)


def _unlock(descriptor: int, *, start: int, length: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, start, length))


def _flock(kind: int, start: int, length: int) -> bytes:
    """`struct flock`: type, whence, start, length, pid (which must be 0 for these locks)."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
