"""What every storage backend does, as three small interfaces and a few abilities beside them.

An `UploadStore` takes the bytes of an upload: `create` gives a handle, each range that is written
a receipt, and `finish` takes both and gives a stored object. An `ObjectStore` has what is stored.
`UploadLocks` say who may write a range, and who alone may read an upload through and finish it.

What only some backends can do is an interface of its own (`ReadsBack`, `MayLoseWrites`,
`ListsObjects`): callers ask with isinstance. Keys are made by the caller and hold no user text; a
stored object keeps the key of its upload. Backends raise errors of `common.errors`, never their
own.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol, runtime_checkable

KEY = re.compile(r"[0-9a-f]{32}")  # what keys are like


@dataclass(frozen=True)
class UploadHandle:
    """What a store calls an upload under way; kept with the upload's row.

    `token` is the store's own name for it, such as the id of a multipart upload; empty if it needs
    none.
    """

    backend: str
    key: str
    token: str = ""


@dataclass(frozen=True)
class StoredObject:
    """Where a finished file lies."""

    backend: str
    bucket: str
    key: str


@dataclass(frozen=True)
class HeldObject:
    """An object as its store lists it. `changed_at` is by the store's own clock."""

    stored: StoredObject
    size_bytes: int
    changed_at: datetime


@dataclass(frozen=True)
class Receipt:
    """A range that a store has taken. `token` is the store's own proof of it, such as an ETag."""

    offset_bytes: int
    size_bytes: int
    token: str = ""


class PartsLost(Exception):
    """Ranges, by where they begin, are not what their receipts were given for."""

    def __init__(self, offsets: list[int]) -> None:
        super().__init__(f"{len(offsets)} ranges are lost")
        self.offsets = offsets


@dataclass(frozen=True)
class PartUrl:
    """Where a client can PUT a part itself, exactly `size_bytes`, with these headers."""

    number: int
    size_bytes: int
    url: str
    headers: dict[str, str]


@dataclass(frozen=True)
class PartRules:
    """What a store asks of the ranges of one upload; all but the last one are bound by sizes."""

    min_bytes: int = 1
    max_bytes: int = 2**62
    max_count: int = 2**31 - 1


class RangeWriter(Protocol):
    """Takes the bytes of one range, one block after the other."""

    def write(self, block: memoryview) -> None:
        """Append `block`, which may be overwritten once this returns.

        Raises InsufficientStorage `no_room`, ServiceUnavailable `storage_failed`.
        """

    def commit(self) -> Receipt:
        """Keep what was written. Without it, leaving the block keeps nothing that counts."""


class ObjectWriter(Protocol):
    """Takes the bytes of a whole object at once."""

    def write(self, block: memoryview) -> None:
        """As `RangeWriter.write`."""

    def commit(self) -> StoredObject:
        """Make the object durable. Without it, leaving the block leaves nothing behind.

        Raises NotFound `upload_missing` if somebody discarded it meanwhile.
        """


class UploadStore(Protocol):
    """Takes uploads: in ranges, or small ones whole. Raises InsufficientStorage `no_room` and
    ServiceUnavailable `storage_failed` where it cannot.
    """

    rules: PartRules

    def create(self, key: str, *, size_bytes: int | None) -> UploadHandle:
        """Begin an upload, durably, with room for `size_bytes`; None: that is not known yet."""

    def resize(self, handle: UploadHandle, *, size_bytes: int) -> None:
        """Make room for `size_bytes`, once they are known. Repeating it is harmless."""

    def write(
        self,
        handle: UploadHandle,
        *,
        offset: int,
        size_bytes: int | None,
        number: int | None = None,
    ) -> AbstractContextManager[RangeWriter]:
        """Write a range, which the caller must hold (`UploadLocks.writing`).

        `number`, from 1, is its place among all ranges of the upload, if that is known. Without a
        size, the range follows all that were written before it.
        What was received must not be written again: it may be stored already.
        Raises NotFound `upload_missing`.
        """

    def finish(
        self, handle: UploadHandle, receipts: list[Receipt], *, size_bytes: int
    ) -> StoredObject:
        """Make the ranges, in the order in which the file has them, durable as one object.

        Repeating it is harmless. Raises NotFound `upload_missing`, PartsLost, OSError when the
        store has another size: what was hashed is not what would be kept.
        """

    def put(self, key: str, *, size_bytes: int) -> AbstractContextManager[ObjectWriter]:
        """Store a whole object at once, with no upload before it.

        What was not committed is discarded with the end of the block. What was is listed by
        `unfinished` until the block has ended well: should it raise, the caller may know whether
        a row names the bytes, and discards them or leaves them to a sweep.
        """

    def put_back(self, key: str, *, size_bytes: int) -> AbstractContextManager[ObjectWriter]:
        """Store an object of a backup, in place of what an earlier try left.

        Its row comes later: no database is asked. What was not committed is discarded.
        """

    def discard(self, handle: UploadHandle) -> None:
        """Free everything of an upload, finished or not. Repeating it is harmless."""

    def unfinished(self, *, older_than: datetime) -> Iterator[UploadHandle]:
        """Uploads that were last written to before `older_than`."""

    def settle(self, handle: UploadHandle) -> None:
        """Forget what a kill left of an upload that is stored. Repeating it is harmless."""


class ObjectStore(Protocol):
    """Has what is stored."""

    def open(self, stored: StoredObject, *, start: int = 0, end: int | None = None) -> BinaryIO:
        """Its bytes from `start` to `end` (exclusive; None: to the last one).

        Raises Gone `file_purged` when they are not there.
        """

    def delete(self, stored: StoredObject) -> None:
        """Remove it. Repeating it is harmless."""

    def name_of(self, stored: StoredObject) -> str:
        """How others find it in its bucket."""


class UploadLocks(Protocol):
    """Who may do what to an upload. A lock ends with the process that has it, or soon after."""

    def writing(
        self, handle: UploadHandle, *, offset: int, size_bytes: int | None
    ) -> AbstractContextManager[None]:
        """The sole right to write a range; None: all that follows `offset`.

        Raises Conflict `part_in_progress` while another has some of it, NotFound `upload_missing`.
        """

    def try_exclusive(self, handle: UploadHandle) -> AbstractContextManager[bool]:
        """Whether the caller alone may now read the upload through (digest, finish)."""

    def exclusive(self, handle: UploadHandle) -> AbstractContextManager[None]:
        """The same, waiting for it.

        Raises NotFound `upload_missing`, Conflict `finalize_in_progress` when it takes too long.
        """

    def settled(self, handle: UploadHandle) -> AbstractContextManager[None]:
        """The same for an upload that has all its parts, once nobody is writing one any more."""

    def try_idle(self, handle: UploadHandle) -> AbstractContextManager[bool]:
        """Whether nobody writes, digests or finishes; nobody can begin until the block ends."""


@runtime_checkable
class TakesPartsDirectly(Protocol):
    """A store that clients can send parts to, past the portal."""

    def part_urls(
        self, handle: UploadHandle, parts: list[tuple[int, int]], *, expires_seconds: int
    ) -> list[PartUrl]:
        """For parts by number and size in bytes."""

    def listed_parts(
        self, handle: UploadHandle, *, after: int = 0, limit: int | None = None
    ) -> Iterator[tuple[int, int, str]]:
        """Numbers, sizes and receipts' tokens of the parts that are there, after a number."""


@runtime_checkable
class GivesLinks(Protocol):
    """A store that others can read an object from, past the portal."""

    def url(
        self, stored: StoredObject, *, expires_seconds: int, disposition: str, content_type: str
    ) -> str:
        """An address that is good for a time, and answers with these two headers."""


@runtime_checkable
class TellsTrouble(Protocol):
    """A store that can be unusable for a reason that is worth knowing before an upload meets it."""

    def check(self) -> None:
        """Raises ServiceUnavailable whose message names the setting to look at."""


class UploadReader(Protocol):
    """Reads back what an upload received."""

    def read_into(self, buffer: memoryview, *, offset: int) -> int:
        """Fill `buffer` from `offset`; how many bytes there were."""


@runtime_checkable
class ReadsBack(Protocol):
    """A store that gives back what an upload received before it is finished."""

    def reader(self, handle: UploadHandle) -> AbstractContextManager[UploadReader]:
        """Raises NotFound `upload_missing` when the upload's bytes are not there."""


@runtime_checkable
class MayLoseWrites(Protocol):
    """A store that may lose ranges which it has taken, when its machine loses power."""

    def epoch(self) -> str:
        """Names the time since the last such loss could have been; "" where that is not known."""


@runtime_checkable
class ListsObjects(Protocol):
    """An object store that lists what it has."""

    def held(self, *, after: str = "") -> Iterator[HeldObject]:
        """Every object with a key behind `after`, in the order of keys, in flat memory.

        What is stored or removed meanwhile may be listed or not.
        """


@dataclass(frozen=True)
class Storage:
    """A backend: the same store is asked for all that concerns one upload or file."""

    name: str
    uploads: UploadStore
    objects: ObjectStore
    locks: UploadLocks
