"""Which file has an upload's bytes, or a stored object's."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.disk import disk_errors_explained
from uploads.storage.base import StoredObject, UploadHandle
from uploads.storage.refusals import upload_missing

BACKEND = "local"


@dataclass(frozen=True)
class Places:
    """The folders of one data directory.

    Keys are UUIDv7 in hex: their end is random, so it spreads files over 256 folders.
    """

    root: Path

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def files(self) -> Path:
        return self.root / "files"

    def spool_path(self, key: str) -> Path:
        return self.spool / key[-2:] / key

    def composed_path(self, key: str) -> Path:
        """Where ranges are copied into the file's order, if they did not come in it."""
        return self.spool_path(key).with_suffix(".composed")

    def file_path(self, key: str) -> Path:
        return self.files / key[-2:] / key

    @contextmanager
    def opened(self, key: str, flags: int) -> Iterator[int]:
        """A descriptor of an upload's bytes: in the spool, or renamed by a finish, even just now.

        Raises NotFound `upload_missing`, ServiceUnavailable `storage_failed`.
        """
        for path in (self.spool_path(key), self.file_path(key)):
            try:
                with disk_errors_explained():
                    descriptor = os.open(path, flags)
            except FileNotFoundError:
                continue
            try:
                yield descriptor
            finally:
                os.close(descriptor)
            return
        raise upload_missing()


def handle_of(key: str) -> UploadHandle:
    return UploadHandle(BACKEND, key)


def object_of(key: str) -> StoredObject:
    return StoredObject(BACKEND, "", key)
