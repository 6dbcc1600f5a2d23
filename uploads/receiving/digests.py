"""The whole-file SHA-256 of an upload, rolled along as its received prefix grows.

A session keeps the hash state after its first `hashed_bytes`. Whoever receives a part by which
enough has come together, or the last one, carries the state over what is contiguous by then, so
finalizing a file that came in order reads nothing again. Saving is one conditional update, so a
second roller could at most waste work.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from blake3 import blake3
from django.db import connection

from common.db import release_connection
from common.sha256 import ResumableSha256, can_save_state
from uploads.models import PartStatus, UploadSession
from uploads.storage import storage
from uploads.storage.base import UploadReader

BLOCK_BYTES = 2**20
_DUE_BYTES = 32 * 2**20  # a turn for less costs statements, and keeps a sender waiting too often
_ROUND_BYTES = 64 * 2**20  # after which the state is saved
_LONGEST_SECONDS = 2.0  # that one request rolls; whoever sends the next part goes on


@dataclass(frozen=True)
class _Prefix:
    """The hashed beginning of an upload, and where the received bytes after it end."""

    session_id: UUID
    hashed_bytes: int
    hash_state: bytes | memoryview | None
    end: int


@dataclass(frozen=True)
class Backlog:
    """How many bytes were received, in whatever place, and not hashed."""

    unhashed_bytes: int
    is_whole: bool  # nothing more is to come

    @property
    def is_due(self) -> bool:
        """Whether the digest should be rolled now."""
        return self.unhashed_bytes >= (1 if self.is_whole else _DUE_BYTES)


def part_digester(algorithm: str) -> Any:
    """A hash object for `blake3`, or for an algorithm as Content-Digest names it (`sha-256`)."""
    return blake3() if algorithm == "blake3" else hashlib.new(algorithm.replace("-", ""))


def roll_forward(session_id: UUID, *, key: str) -> None:
    """Carry the digest over what is contiguous, unless another request is doing so.

    What arrives while another request rolls is found by that one's next round, as soon as enough
    has come together again or the file is whole, so finalizing finds next to nothing left.
    """
    if not can_save_state():
        return
    with storage().try_exclusive(key) as alone:
        until = time.monotonic() + _LONGEST_SECONDS
        while alone and _roll_once(session_id, key=key) and time.monotonic() < until:
            pass


def complete_digest(session: UploadSession) -> str:
    """SHA-256 of the whole upload in hex; reads only what has not been hashed yet.

    Every part must have been received, and the caller must hold the upload exclusively.
    """
    size = session.file.size_bytes
    if not can_save_state():
        return _read_through(session.spool_key, size=size)
    prefix = _Prefix(session.id, session.hashed_bytes, session.hash_state, end=size)
    digest = _hash_on(prefix, key=session.spool_key)
    _save(prefix, digest)
    return digest.hexdigest()


def _roll_once(session_id: UUID, *, key: str) -> bool:
    """Hash the next run of received parts; whether there may be more by now."""
    prefix = _next_run(session_id)
    if prefix is None:
        return False
    backlog = _save(prefix, _hash_on(prefix, key=key))
    return backlog is not None and backlog.is_due


_NEXT_PARTS = """
    SELECT part.offset_bytes, part.size_bytes, session.hashed_bytes, session.hash_state
    FROM upload_session session JOIN upload_part part ON part.session_id = session.id
    WHERE session.id = %s AND part.status = %s
        AND part.part_number > session.hashed_bytes / session.chunk_size_bytes
        AND part.part_number <=
            (session.hashed_bytes + %s - 1) / session.chunk_size_bytes + 1
    ORDER BY part.part_number
"""


def _next_run(session_id: UUID) -> _Prefix | None:
    """The run of received parts, as many as a round may have, that follows the hashed prefix."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_PARTS, [session_id, PartStatus.RECEIVED.value, _ROUND_BYTES])
        rows = cursor.fetchall()
    run: _Prefix | None = None
    for offset, size, hashed, state in rows:
        if offset != (run.end if run else hashed):
            break
        run = _Prefix(session_id, hashed, state, end=offset + size)
    return run


def _hash_on(prefix: _Prefix, *, key: str) -> ResumableSha256:
    release_connection()
    state = prefix.hash_state
    digest = ResumableSha256.from_state(bytes(state)) if state else ResumableSha256()
    with storage().reader(key) as reader:
        for block in upload_blocks(reader, start=prefix.hashed_bytes, end=prefix.end):
            digest.update(block)
    return digest


# Its commit does not wait for the disk: a state that is lost costs reading some bytes again.
_SAVE = """
    WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true))
    UPDATE upload_session SET hash_state = %s, hashed_bytes = %s FROM relaxed
    WHERE id = %s AND hashed_bytes = %s
    RETURNING received_bytes - hashed_bytes, received_parts_count = total_parts
"""


def _save(prefix: _Prefix, digest: ResumableSha256) -> Backlog | None:
    """Keep the state; what has been received beyond it meanwhile, or None if another was kept.

    The answer comes from the same row lock that recording a part takes, so no part slips between.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SAVE, [digest.state(), prefix.end, prefix.session_id, prefix.hashed_bytes])
        saved = cursor.fetchone()
    return Backlog(saved[0], is_whole=saved[1]) if saved else None


def _read_through(key: str, *, size: int) -> str:
    release_connection()
    digest = hashlib.sha256()
    with storage().reader(key) as reader:
        for block in upload_blocks(reader, start=0, end=size):
            digest.update(block)
    return digest.hexdigest()


def upload_blocks(reader: UploadReader, *, start: int, end: int) -> Iterator[memoryview]:
    """The upload's bytes from `start` to `end`; each block is valid until the next."""
    buffer = memoryview(bytearray(min(BLOCK_BYTES, end - start) or 1))
    while start < end:
        wanted = min(len(buffer), end - start)
        count = reader.read_into(buffer[:wanted], offset=start)
        if count == 0:
            raise OSError(f"the upload ends at byte {start}, {end - start} bytes early")
        yield buffer[:count]
        start += count
