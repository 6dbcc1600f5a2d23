"""Where bytes are kept.

Each row says which backend has its bytes, so several serve side by side: `storage_for(row)`. New
uploads go to the one that PORTAL_STORAGE names: `storage_for_new()`.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol

from django.conf import settings

from uploads.storage.base import Storage, StoredObject, UploadHandle
from uploads.storage.local import local_storage

__all__ = [
    "Storage",
    "StoredObject",
    "UploadHandle",
    "backends",
    "configured",
    "handle_of",
    "named",
    "object_of",
    "open_object",
    "register",
    "storage_for",
    "storage_for_new",
    "unregister",
]


class HasBackend(Protocol):
    """A row that knows which backend has its bytes."""

    @property
    def storage_backend(self) -> str: ...


class UploadRow(HasBackend, Protocol):
    @property
    def spool_key(self) -> str: ...
    @property
    def storage_token(self) -> str: ...


class ObjectRow(HasBackend, Protocol):
    @property
    def storage_bucket(self) -> str: ...
    @property
    def storage_key(self) -> str: ...


def register(name: str, make: Callable[[], Storage]) -> None:
    """Add a backend. `make` is called for each use and should cache what is costly."""
    _makers[name] = make


def unregister(name: str) -> None:
    del _makers[name]


def backends() -> list[str]:
    """The names that PORTAL_STORAGE may have."""
    return sorted(_makers)


def configured() -> list[str]:
    """Those that this portal's settings say enough of to ask them."""
    return [name for name in backends() if name != "s3" or settings.AWS_STORAGE_BUCKET_NAME]


def named(name: str) -> Storage:
    """Raises LookupError for a backend that this portal does not have."""
    try:
        return _makers[name]()
    except KeyError as exc:
        raise LookupError(
            f"There is no storage backend {name!r} here; there are: {', '.join(backends())}."
        ) from exc


def storage_for(row: HasBackend) -> Storage:
    """The backend that has the bytes of a file, an upload session, or what else says so."""
    return named(row.storage_backend)


def handle_of(row: UploadRow) -> UploadHandle:
    """What the store calls the upload that a row is about."""
    return UploadHandle(row.storage_backend, row.spool_key, row.storage_token)


def object_of(row: ObjectRow) -> StoredObject:
    """Where the bytes of a stored file lie."""
    return StoredObject(row.storage_backend, row.storage_bucket, row.storage_key)


def open_object(row: ObjectRow, *, start: int = 0, end: int | None = None) -> BinaryIO:
    """A stored file's bytes (see `ObjectStore.open`). Raises Gone `file_purged`."""
    return storage_for(row).objects.open(object_of(row), start=start, end=end)


def storage_for_new() -> Storage:
    """The backend that new uploads go to."""
    return named(settings.PORTAL_STORAGE)


def _local() -> Storage:
    return _local_in(str(settings.DOORITO_DATA_DIR), settings.PORTAL_DISK_RESERVE)


@cache
def _local_in(root: str, keep_free: int) -> Storage:  # a Path is slow to hash
    return local_storage(Path(root), keep_free=keep_free)


def _s3() -> Storage:
    # boto is an eighth of a process's start: who keeps uploads on the disk needs none of it.
    s3 = import_module("uploads.storage.s3")
    storage: Storage = s3.s3_storage(s3.configuration())
    return storage


_makers: dict[str, Callable[[], Storage]] = {"local": _local, "s3": _s3}
