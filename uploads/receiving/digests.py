"""The whole-file SHA-256 of an upload, rolled along as its received prefix grows.

A session keeps the hash state after its first `hashed_bytes`. What comes in order is hashed by the
request that receives it (`intake`), and the state is kept with the part. Numbered parts may come
in any order: whoever receives one by which enough has come together, or the last one, carries the
state over what is contiguous by then. So finalizing a file that came in order reads nothing again.
Saving is one conditional update: a second roller could at most waste work.
"""

import hashlib
import time
import zlib
from collections.abc import Buffer, Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any, BinaryIO
from uuid import UUID

from blake3 import blake3
from django.db import connection

from common.db import release_connection
from common.sha256 import ResumableSha256, can_save_state
from uploads.models import UploadSession
from uploads.storage import StoredObject, UploadHandle, handle_of, named
from uploads.storage.base import ReadsBack, UploadReader

BLOCK_BYTES = 2**20
_DUE_BYTES = 32 * 2**20  # a turn for less costs statements, and keeps a sender waiting too often
_ROUND_BYTES = 64 * 2**20  # after which the state is saved
_LONGEST_SECONDS = 2.0  # that one request rolls; whoever sends the next part goes on

Span = tuple[int, int]  # offset and size, in bytes


@dataclass(frozen=True)
class Prefix:
    """The hashed beginning of an upload."""

    hashed_bytes: int
    hash_state: bytes | memoryview | None

    def digest(self) -> ResumableSha256:
        """Its SHA-256, to be carried on. Needs `can_save_state()`."""
        state = self.hash_state
        return ResumableSha256.from_state(bytes(state)) if state else ResumableSha256()


@dataclass(frozen=True)
class Backlog:
    """How many received bytes, anywhere in the upload, are not hashed yet."""

    unhashed_bytes: int
    is_whole: bool  # nothing more is to come

    @property
    def is_due(self) -> bool:
        """Whether the digest should be rolled now."""
        return self.unhashed_bytes >= (1 if self.is_whole else _DUE_BYTES)


class Crc32:
    """CRC-32 (ISO-HDLC, as in zlib) with the interface of a hash object: four bytes, big-endian."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, block: Buffer, /) -> None:
        self._value = zlib.crc32(block, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4)

    def hexdigest(self) -> str:
        return self.digest().hex()


_OWN_DIGESTERS: dict[str, Callable[[], Any]] = {"blake3": blake3, "crc32": Crc32}


def part_digester(algorithm: str) -> Any:
    """A hash object for `blake3`, `crc32`, or as Content-Digest names it (`sha-256`)."""
    if algorithm in _OWN_DIGESTERS:
        return _OWN_DIGESTERS[algorithm]()
    return hashlib.new(algorithm.replace("-", ""), usedforsecurity=False)


def prefix_digester(prefix: Prefix, *, offset: int) -> ResumableSha256 | None:
    """A hasher for bytes from `offset` on; None if they do not directly follow the prefix."""
    return prefix.digest() if can_save_state() and prefix.hashed_bytes == offset else None


def roll_forward(session_id: UUID, handle: UploadHandle) -> None:
    """Carry the digest over what is contiguous, unless another request is doing so.

    What arrives while another request rolls is found by that one's next round, as soon as enough
    has come together again or the file is whole, so finalizing finds next to nothing left.
    """
    store = named(handle.backend)
    if not can_save_state() or not isinstance(store.uploads, ReadsBack):
        return
    with store.locks.try_exclusive(handle) as alone:
        until = time.monotonic() + _LONGEST_SECONDS
        while alone and _roll_once(session_id, handle) and time.monotonic() < until:
            pass


def complete_digest(session: UploadSession, *, length: int) -> str | None:
    """SHA-256 of a whole upload, whose bytes lie in the file's order, in hex.

    Reads only what has not been hashed yet; None where that cannot be read back. The caller must
    hold the upload exclusively.
    """
    prefix = Prefix(session.hashed_bytes, session.hash_state)
    if can_save_state() and prefix.hashed_bytes == length:
        return prefix.digest().hexdigest()
    if not isinstance(named(session.storage_backend).uploads, ReadsBack):
        return None
    if not can_save_state():
        return digest_of(handle_of(session), [(0, length)])
    digest = _hash_on(handle_of(session), prefix, end=length)
    _save(session.id, prefix, digest, end=length)
    return digest.hexdigest()


def digest_of(handle: UploadHandle, spans: list[Span], *, also: Any = None) -> str:
    """SHA-256 of an upload's spans, one after the other, in hex. `also` is fed with them, too."""
    release_connection()
    digest = hashlib.sha256()
    with reader_of(handle) as reader:
        for offset, size in spans:
            for block in upload_blocks(reader, start=offset, end=offset + size):
                digest.update(block)
                if also is not None:
                    also.update(block)
    return digest.hexdigest()


class MoreToRead(Exception):
    """The time was up. What was read is hashed and kept; nothing is read twice."""


def hash_object(
    session: UploadSession,
    stored: StoredObject,
    *,
    length: int,
    on_round: Callable[[], bool] = lambda: True,
) -> str:
    """SHA-256 of a finished object, in hex: what was hashed on its way in is not read again.

    After each round, whose state is saved, `on_round` says whether to go on.
    Raises MoreToRead, Gone `file_purged`, ServiceUnavailable.
    """
    prefix = Prefix(session.hashed_bytes, session.hash_state)
    if not can_save_state():
        prefix = Prefix(0, None)
    digest: Any = prefix.digest() if can_save_state() else hashlib.sha256()
    objects = named(stored.backend).objects
    start = prefix.hashed_bytes
    with objects.open(stored, start=start, end=length) as content:
        while start < length:
            release_connection()
            end = min(start + _ROUND_BYTES, length)
            _hash_from(content, digest, end - start)
            if can_save_state():
                if _save(session.id, Prefix(start, None), digest, end=end) is None:
                    raise MoreToRead  # another worker is at it
                if end < length and not on_round():
                    raise MoreToRead
            start = end
    return str(digest.hexdigest())


def _hash_from(content: BinaryIO, digest: Any, size_bytes: int) -> None:
    while size_bytes:
        block = content.read(min(BLOCK_BYTES, size_bytes))
        if not block:
            raise OSError(f"the object ends {size_bytes} bytes early")
        digest.update(block)
        size_bytes -= len(block)


def reader_of(handle: UploadHandle) -> Any:
    """Reads an upload back. Raises TypeError where its store cannot."""
    uploads = named(handle.backend).uploads
    if not isinstance(uploads, ReadsBack):
        raise TypeError(f"the store {handle.backend} gives nothing back before it is finished")
    return uploads.reader(handle)


def _roll_once(session_id: UUID, handle: UploadHandle) -> bool:
    """Hash the next run of received parts. Returns whether there may be more by now."""
    run = _next_run(session_id)
    if run is None:
        return False
    prefix, end = run
    backlog = _save(session_id, prefix, _hash_on(handle, prefix, end=end), end=end)
    return backlog is not None and backlog.is_due


_NEXT_PARTS = """
    SELECT part.offset_bytes, part.size_bytes, session.hashed_bytes, session.hash_state
    FROM upload_session session JOIN upload_part part ON part.session_id = session.id
    WHERE session.id = %s AND session.part_order = 'numbered'
        AND part.part_number > session.hashed_bytes / session.chunk_size_bytes
        AND part.part_number <=
            (session.hashed_bytes + %s - 1) / session.chunk_size_bytes + 1
    ORDER BY part.part_number
"""


def _next_run(session_id: UUID) -> tuple[Prefix, int] | None:
    """The hashed prefix, and the end of the contiguous parts that follow it (one round's worth)."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_PARTS, [session_id, _ROUND_BYTES])
        rows = cursor.fetchall()
    if not rows:
        return None
    _, _, hashed_bytes, hash_state = rows[0]
    end = hashed_bytes
    for offset, size, _, _ in rows:
        if offset != end:
            break
        end = offset + size
    return (Prefix(hashed_bytes, hash_state), end) if end > hashed_bytes else None


def _hash_on(handle: UploadHandle, prefix: Prefix, *, end: int) -> ResumableSha256:
    release_connection()
    digest = prefix.digest()
    with reader_of(handle) as reader:
        for block in upload_blocks(reader, start=prefix.hashed_bytes, end=end):
            digest.update(block)
    return digest


# Its commit does not wait for the disk: a state that is lost costs reading some bytes again.
_SAVE = """
    WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true))
    UPDATE upload_session SET hash_state = %s, hashed_bytes = %s FROM relaxed
    WHERE id = %s AND hashed_bytes = %s
    RETURNING received_bytes - hashed_bytes, received_parts_count = total_parts
"""


def _save(session_id: UUID, prefix: Prefix, digest: ResumableSha256, *, end: int) -> Backlog | None:
    """Save the hash state. Returns the bytes not hashed yet; None if another request saved first.

    The answer comes from the same row lock that recording a part takes, so no part slips between.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SAVE, [digest.state(), end, session_id, prefix.hashed_bytes])
        saved = cursor.fetchone()
    return Backlog(saved[0], is_whole=bool(saved[1])) if saved else None


def upload_blocks(reader: UploadReader, *, start: int, end: int) -> Iterator[memoryview]:
    """The upload's bytes from `start` to `end`.

    A block is valid until the second one after it is requested.
    """
    size = min(BLOCK_BYTES, end - start)
    buffers = [memoryview(bytearray(size)) for _ in range(2 if end - start > size else 1)]
    for buffer in cycle(buffers):
        if start == end:
            return
        wanted = min(len(buffer), end - start)
        count = reader.read_into(buffer[:wanted], offset=start)
        if count == 0:
            raise OSError(f"the upload ends at byte {start}, {end - start} bytes early")
        yield buffer[:count]
        start += count
