"""What a full disk means to those who send files."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from common.errors import InsufficientStorage

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def no_room() -> InsufficientStorage:
    return InsufficientStorage(
        "no_room", "The portal's disk has no room for this file.", retry_after=3600
    )


def require_room(folder: Path, *, size_bytes: int) -> None:
    """PORTAL_DISK_RESERVE must stay free beside the bytes: the database may share the disk.

    Raises InsufficientStorage `no_room`.
    """
    if size_bytes > shutil.disk_usage(folder).free - settings.PORTAL_DISK_RESERVE:
        raise no_room()


@contextmanager
def full_disk_explained() -> Iterator[None]:
    """Raise InsufficientStorage `no_room` in place of the system's errors for a full disk."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise no_room() from exc
        raise
