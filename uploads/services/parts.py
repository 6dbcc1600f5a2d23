"""Receiving the parts of an upload session."""

import base64
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from accounts.models import User
from common.db import release_connection
from common.errors import Conflict, InvalidInput, UnprocessableContent
from uploads import selectors
from uploads.models import PartStatus, SessionStatus, UploadPart, UploadSession
from uploads.services.digests import part_digester, roll_forward
from uploads.services.session_state import ended, missing_spool_explained, require_open
from uploads.storage import storage
from uploads.storage.base import PartWriter


@dataclass(frozen=True)
class PartDigest:
    """A digest that the client declared for a part: `sha-256`, `sha-512` … and its bytes."""

    algorithm: str
    value: bytes


@dataclass(frozen=True)
class PartReceipt:
    """What a part's sender learns. `digest` is `algorithm:hex`."""

    part_number: int
    offset_bytes: int
    size_bytes: int
    digest: str
    received_parts_count: int
    total_parts: int


def receive_part(
    *,
    user: User,
    session_id: UUID,
    part_number: int,
    length: int,
    blocks: Iterator[memoryview],
    declared: PartDigest | None = None,
) -> PartReceipt:
    """Store one part, or confirm that the same bytes are there already.

    `length` is what the client announced; `blocks` yields the body and may raise when the
    connection fails: then the part stays unreceived and can be sent again.

    Raises NotFound, Gone `session_…`, InvalidInput `part_number_invalid`, `part_size_wrong` or
    `body_incomplete`, Conflict `part_in_progress` or `part_differs`, UnprocessableContent
    `digest_mismatch`, InsufficientStorage `no_room`.
    """
    session = selectors.get_session_for_part(user=user, session_id=session_id)
    require_open(session)
    offset, size = part_range(session, part_number)
    if length != size:
        raise InvalidInput(
            "part_size_wrong",
            f"Part {part_number} has {size} bytes; the request announced {length}.",
            expected_bytes=size,
        )
    with missing_spool_explained(session):
        with storage().write_part(session.spool_key, offset=offset, size_bytes=size) as writer:
            part = UploadPart(
                session=session, part_number=part_number, offset_bytes=offset, size_bytes=size
            )
            known = _known_part(part)
            release_connection()  # the body may take its time
            if known:
                _compare(known, blocks=blocks, declared=declared)
                return _receipt(session, known, count=session.received_parts_count)
            _write(part, writer=writer, blocks=blocks, declared=declared)
            count = _record(session, part)
        roll_forward(session)
    return _receipt(session, part, count=count)


_KNOWN = """
    SELECT digest_algorithm, digest FROM upload_part WHERE session_id = %s AND part_number = %s
"""


def _known_part(part: UploadPart) -> UploadPart | None:
    """The same part as it was received before."""
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, [part.session_id, part.part_number])
        row = cursor.fetchone()
    if row is None:
        return None
    known = copy(part)
    known.digest_algorithm, known.digest = row
    return known


def part_range(session: UploadSession, part_number: int) -> tuple[int, int]:
    """Offset and size in bytes of a part. Raises InvalidInput `part_number_invalid`."""
    if not 1 <= part_number <= session.total_parts:
        raise InvalidInput(
            "part_number_invalid",
            f"Parts are numbered 1 to {session.total_parts}; there is no part {part_number}."
            if session.total_parts
            else "An empty file has no parts; finalize the session.",
        )
    offset = (part_number - 1) * session.chunk_size_bytes
    return offset, min(session.chunk_size_bytes, session.file.size_bytes - offset)


# One statement instead of a transaction of five round trips: it runs once for every part. The
# part is inserted only if the session was still open, and either both rows change or neither.
_RECORD = """
    WITH counted AS (
        UPDATE upload_session
        SET status = %(in_progress)s,
            received_parts_count = received_parts_count + 1,
            received_bytes = received_bytes + %(size_bytes)s,
            last_activity_at = %(now)s,
            updated_at = %(now)s
        WHERE id = %(session_id)s AND status = ANY(%(open)s)
        RETURNING received_parts_count
    ), inserted AS (
        INSERT INTO upload_part (id, created_at, updated_at, session_id, part_number,
            offset_bytes, size_bytes, digest_algorithm, digest, status)
        SELECT %(id)s, %(now)s, %(now)s, %(session_id)s, %(part_number)s,
            %(offset_bytes)s, %(size_bytes)s, %(digest_algorithm)s, %(digest)s, %(received)s
        FROM counted
    )
    SELECT received_parts_count FROM counted
"""


def _record(session: UploadSession, part: UploadPart) -> int:
    """Write the part and the session's counters; the new count. Raises Gone if no longer open."""
    values: dict[str, Any] = {
        "in_progress": SessionStatus.IN_PROGRESS.value,
        "open": [status.value for status in UploadSession.OPEN],
        "received": PartStatus.RECEIVED.value,
        "now": timezone.now(),
        "session_id": session.id,
        "id": part.id,
        "part_number": part.part_number,
        "offset_bytes": part.offset_bytes,
        "size_bytes": part.size_bytes,
        "digest_algorithm": part.digest_algorithm,
        "digest": part.digest,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, values)
        counted = cursor.fetchone()
    if counted is None:
        raise ended(UploadSession.objects.get(id=session.id))
    return int(counted[0])


def _write(
    part: UploadPart,
    *,
    writer: PartWriter,
    blocks: Iterator[memoryview],
    declared: PartDigest | None,
) -> None:
    """Put the body in place and its digest into `part`."""
    part.digest_algorithm = declared.algorithm if declared else "blake3"
    digester = part_digester(part.digest_algorithm)
    received = 0
    for block in blocks:
        digester.update(block)
        writer.write(block)
        received += block.nbytes
    _require_whole(part.part_number, received=received, size=part.size_bytes)
    require_declared(digester.digest(), declared=declared)
    part.digest = digester.hexdigest()
    writer.flush()


def _receipt(session: UploadSession, part: UploadPart, *, count: int) -> PartReceipt:
    return PartReceipt(
        part_number=part.part_number,
        offset_bytes=part.offset_bytes,
        size_bytes=part.size_bytes,
        digest=f"{part.digest_algorithm}:{part.digest}",
        received_parts_count=count,
        total_parts=session.total_parts,
    )


def _compare(
    known: UploadPart, *, blocks: Iterator[memoryview], declared: PartDigest | None
) -> None:
    """The same part again, or a conflict; nothing is written."""
    if digest_of_repeat(known, blocks=blocks, declared=declared) != known.digest:
        raise Conflict(
            "part_differs", f"Part {known.part_number} was received with other bytes before."
        )


def digest_of_repeat(
    known: UploadPart, *, blocks: Iterator[memoryview], declared: PartDigest | None
) -> str:
    """Of a body in hex, by the algorithm of what it repeats; nothing is kept.

    Raises InvalidInput `body_incomplete`, UnprocessableContent `digest_mismatch`.
    """
    same = part_digester(known.digest_algorithm)
    promised = part_digester(declared.algorithm) if declared else None
    received = 0
    for block in blocks:
        same.update(block)
        if promised:
            promised.update(block)
        received += block.nbytes
    _require_whole(known.part_number, received=received, size=known.size_bytes)
    if promised:
        require_declared(promised.digest(), declared=declared)
    return str(same.digest().hex())


def _require_whole(part_number: int, *, received: int, size: int) -> None:
    if received != size:
        raise InvalidInput(
            "body_incomplete",
            f"Part {part_number} ended after {received} of {size} bytes; send it again.",
        )


def require_declared(actual: bytes, *, declared: PartDigest | None) -> None:
    if declared and actual != declared.value:
        raise UnprocessableContent(
            "digest_mismatch",
            f"The bytes have the {declared.algorithm} digest {base64.b64encode(actual).decode()}, "
            "not the declared one. Nothing was kept; send the part again.",
        )
