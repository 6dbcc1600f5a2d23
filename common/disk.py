"""Translates errors of the disk."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from common.errors import InsufficientStorage, ServiceUnavailable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FAILING = {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_FULL_RETRY_SECONDS = 3600
_FAILING_RETRY_SECONDS = 60


@contextmanager
def disk_errors_explained() -> Iterator[None]:
    """Raises InsufficientStorage `no_room`, ServiceUnavailable `storage_failed`."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
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


def require_room(folder: Path, *, size_bytes: int) -> None:
    """Check that PORTAL_DISK_RESERVE stays free beside the bytes: the database may share the disk.

    Raises OSError ENOSPC.
    """
    if size_bytes > shutil.disk_usage(folder).free - settings.PORTAL_DISK_RESERVE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
