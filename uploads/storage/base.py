"""What a storage backend does for an upload, whichever it is.

An upload is addressed by its `key`, made by the caller and without user text; the stored object
keeps the same key. Backends raise errors of `common.errors`, never their own.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class StoredObject:
    """Where a finished file lies."""

    backend: str
    bucket: str
    key: str


class PartWriter(Protocol):
    """The exclusive right to write one part of an upload."""

    def write(self, block: memoryview) -> None:
        """Append `block` to the part. Raises InsufficientStorage when there is no room."""

    def flush(self) -> None:
        """Hand what was written over to the system, so that finishing has less to wait for."""


class UploadReader(Protocol):
    """Reads back what an upload received."""

    def read_into(self, buffer: memoryview, *, offset: int) -> int:
        """Fill `buffer` from `offset`; how many bytes there were."""


class Storage(Protocol):
    def create(self, key: str, *, size_bytes: int) -> None:
        """Make room for an upload, durably. Raises InsufficientStorage when there is none."""

    def write_part(
        self, key: str, *, offset: int, size_bytes: int
    ) -> AbstractContextManager[PartWriter]:
        """Raises Conflict `part_in_progress` while another writer holds the part, NotFound
        `upload_missing`. What was received must not be written again: it may be stored already.
        """

    def reader(self, key: str) -> AbstractContextManager[UploadReader]:
        """Raises NotFound `upload_missing` when the upload's bytes are not there."""

    def try_exclusive(self, key: str) -> AbstractContextManager[bool]:
        """Whether the caller alone may now read the upload through (digest, finish)."""

    def exclusive(self, key: str) -> AbstractContextManager[None]:
        """The same, waiting for it.

        Raises NotFound `upload_missing`, Conflict `finalize_in_progress` when it takes too long.
        """

    def settled(self, key: str) -> AbstractContextManager[None]:
        """The same for an upload that has all its parts, once nobody is writing one any more."""

    def try_idle(self, key: str) -> AbstractContextManager[bool]:
        """Whether nobody writes, digests or finishes; nobody can begin until the block ends."""

    def finish(self, key: str, *, size_bytes: int) -> StoredObject:
        """Make the upload durable as a stored object. Repeating it is harmless.

        Raises OSError when it has another size: what was hashed is not what would be kept.
        """

    def discard(self, key: str) -> None:
        """Free everything of the upload, finished or not. Repeating it is harmless."""

    def open(self, key: str) -> BinaryIO:
        """A stored object. Raises Gone `file_purged` when its bytes are not there."""

    def delete(self, key: str) -> None:
        """Remove a stored object. Repeating it is harmless."""

    def unfinished(self, *, older_than: datetime) -> Iterator[str]:
        """Keys of uploads that were last written to before `older_than`."""
