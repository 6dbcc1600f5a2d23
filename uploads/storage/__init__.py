"""Where bytes are kept. `storage()` is the configured backend."""

from functools import cache
from pathlib import Path

from django.conf import settings

from uploads.storage.base import Storage, StoredObject
from uploads.storage.local import LocalStorage

__all__ = ["Storage", "StoredObject", "storage"]


def storage() -> Storage:
    return _local(str(settings.DOORITO_DATA_DIR))


@cache
def _local(root: str) -> LocalStorage:  # a Path is slow to hash
    return LocalStorage(Path(root))
