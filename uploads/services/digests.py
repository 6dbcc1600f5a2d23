"""The whole-file SHA-256 of an upload, rolled along as its received prefix grows.

A session keeps the hash state after its first `hashed_bytes`. Whoever receives a part carries
the state over what is contiguous by then, so finalizing a file that came in order reads nothing
again. Saving is one conditional update, so a second roller could at most waste work.
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
_LONGEST_SECONDS = 2.0  # that one request rolls; whoever sends the next part goes on
_PARTS_PER_ROUND = 4


@dataclass(frozen=True)
class _Prefix:
    """The hashed beginning of an upload, and where the received bytes after it end."""

    session_id: UUID
    hashed_bytes: int
    hash_state: bytes | memoryview | None
    end: int


def part_digester(algorithm: str) -> Any:
    """A hash object for `blake3`, or for an algorithm as Content-Digest names it (`sha-256`)."""
    return blake3() if algorithm == "blake3" else hashlib.new(algorithm.replace("-", ""))


def roll_forward(session: UploadSession) -> None:
    """Carry the digest over what is contiguous, unless another request is doing so.

    A part that arrives while another request rolls is found by that one's next round, so that
    request is answered once the digest has caught up, and finalizing finds next to nothing left.
    """
    if not can_save_state():
        return
    with storage().try_exclusive(session.spool_key) as alone:
        until = time.monotonic() + _LONGEST_SECONDS
        while alone and _roll_once(session) and time.monotonic() < until:
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


def _roll_once(session: UploadSession) -> bool:
    """Hash the next run of received parts; whether there may be more by now."""
    prefix = _next_run(session.id)
    if prefix is None:
        return False
    return _save(prefix, _hash_on(prefix, key=session.spool_key))


_NEXT_PARTS = """
    SELECT part.offset_bytes, part.size_bytes, session.hashed_bytes, session.hash_state
    FROM upload_session session JOIN upload_part part ON part.session_id = session.id
    WHERE session.id = %s AND part.status = %s
        AND part.part_number > session.hashed_bytes / session.chunk_size_bytes
    ORDER BY part.part_number LIMIT %s
"""


def _next_run(session_id: UUID) -> _Prefix | None:
    """The run of received parts that begins where the hashed prefix ends."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_PARTS, [session_id, PartStatus.RECEIVED.value, _PARTS_PER_ROUND])
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
    WHERE id = %s AND hashed_bytes = %s RETURNING received_bytes > %s
"""


def _save(prefix: _Prefix, digest: ResumableSha256) -> bool:
    """Keep the state; whether bytes beyond it have been received meanwhile.

    The answer comes from the same row lock that recording a part takes, so no part slips between.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _SAVE,
            [digest.state(), prefix.end, prefix.session_id, prefix.hashed_bytes, prefix.end],
        )
        saved = cursor.fetchone()
    return bool(saved and saved[0])


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
