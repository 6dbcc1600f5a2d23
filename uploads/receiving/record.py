"""Writing down that a range was received: the part, the session's counters, the rolled digest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F

from common import journal
from common.http.digests import Digest
from common.ids import uuid7
from common.sha256 import ResumableSha256
from uploads.models import SessionStatus, UploadPart, UploadSession
from uploads.receiving.digests import Backlog
from uploads.receiving.endings import ended, require_open
from uploads.storage.base import Receipt
from uploads.storage.refusals import finalize_in_progress


@dataclass(frozen=True)
class Range:
    """A range that a store has taken, and what its bytes are.

    `prefix` is the SHA-256 of all of the file up to the range's end, if that was hashed on the way.
    """

    receipt: Receipt
    digest: Digest
    prefix: ResumableSha256 | None = None


@dataclass(frozen=True)
class Recorded:
    """The session after a range was recorded."""

    part_id: UUID
    parts_count: int
    received_bytes: int
    backlog: Backlog
    at: datetime


# One statement instead of a transaction of five round trips: it runs once for every part. The
# part is inserted only if the session was still open, and either both rows change or neither.
_OPEN = ", ".join(f"'{status.value}'" for status in UploadSession.OPEN)
_RECORD = f"""
    WITH counted AS (
        UPDATE upload_session
        SET status = '{SessionStatus.IN_PROGRESS.value}',
            received_parts_count = received_parts_count + 1,
            received_bytes = received_bytes + %(size_bytes)s,
            hash_state =
                CASE WHEN hashed_bytes = %(hashed_from)s THEN %(hash_state)s ELSE hash_state END,
            hashed_bytes =
                CASE WHEN hashed_bytes = %(hashed_from)s THEN %(hashed_to)s ELSE hashed_bytes END,
            last_activity_at = statement_timestamp(),
            updated_at = statement_timestamp()
        WHERE id = %(session_id)s AND status IN ({_OPEN}) {{condition}}
        RETURNING received_parts_count, received_bytes, hashed_bytes, length_bytes
    ), inserted AS (
        INSERT INTO upload_part (id, created_at, updated_at, session_id, part_number,
            offset_bytes, size_bytes, digest_algorithm, digest, receipt)
        SELECT %(id)s, statement_timestamp(), statement_timestamp(), %(session_id)s, {{number}},
            %(offset_bytes)s, %(size_bytes)s, %(algorithm)s, %(digest)s, %(receipt)s
        FROM counted
    )
    SELECT received_parts_count, received_bytes, received_bytes - hashed_bytes,
        received_bytes = length_bytes, statement_timestamp()
    FROM counted
"""  # noqa: S608  (the states are the models' own)
_NUMBERED = _RECORD.format(condition="", number="%(number)s")
_IN_TURN = _RECORD.format(
    condition="AND (total_parts IS NULL OR received_parts_count < total_parts)",
    number="received_parts_count",
)
_AT_THE_END = _RECORD.format(
    condition="AND received_bytes = %(offset_bytes)s", number="received_parts_count"
)


def record_numbered(session_id: UUID, taken: Range, *, number: int) -> Recorded:
    """Raises Gone if the session is no longer open, IntegrityError if the number is there."""
    recorded = _record(_NUMBERED, session_id, taken, number=number)
    if recorded is None:
        raise ended(UploadSession.objects.get(id=session_id))
    return recorded


def record_in_turn(session_id: UUID, taken: Range) -> Recorded:
    """As the next part in the order of arrival.

    Raises Gone as `record_numbered`, Conflict `finalize_in_progress` if its order was told
    meanwhile, and so the file has all its parts.
    """
    recorded = _record(_IN_TURN, session_id, taken)
    if recorded is None:
        require_open(UploadSession.objects.get(id=session_id))
        raise finalize_in_progress()
    return recorded


def record_at_the_end(session_id: UUID, taken: Range) -> Recorded | None:
    """As the next part, if it follows what was received; None if not, or if it is too late."""
    return _record(_AT_THE_END, session_id, taken)


MAX_PARTS = 10_000  # of an upload whose parts get their order last

_NUMBER = """
    UPDATE upload_part part SET part_number = told.place
    FROM unnest(%s::uuid[]) WITH ORDINALITY AS told (id, place)
    WHERE part.id = told.id AND part.session_id = %s
"""


def number_anew(session_id: UUID, order: Sequence[UUID]) -> None:
    """Number the parts of an upload, which these must be, in this order. Call in a transaction."""
    # First move the numbers out of the way: they must be unique after each updated row.
    parts = UploadPart.objects.filter(session=session_id)
    parts.update(part_number=F("part_number") + MAX_PARTS)
    with connection.cursor() as cursor:
        cursor.execute(_NUMBER, [list(order), session_id])


def _record(
    statement: str, session_id: UUID, taken: Range, *, number: int | None = None
) -> Recorded | None:
    receipt, prefix = taken.receipt, taken.prefix
    part_id = uuid7()
    values: dict[str, Any] = {
        "session_id": session_id,
        "id": part_id,
        "number": number,
        "offset_bytes": receipt.offset_bytes,
        "size_bytes": receipt.size_bytes,
        "receipt": receipt.token,
        "algorithm": taken.digest.algorithm,
        "digest": taken.digest.value.hex(),
        "hashed_from": receipt.offset_bytes if prefix else None,
        "hashed_to": receipt.offset_bytes + receipt.size_bytes,
        "hash_state": prefix.state() if prefix else None,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone()
    if row is None:
        return None
    count, received, unhashed, is_whole, at = row
    journal.tell(
        "part_received",
        session_id=session_id,
        part_id=part_id,
        number=number or count,
        offset_bytes=receipt.offset_bytes,
        size_bytes=receipt.size_bytes,
    )
    return Recorded(part_id, count, received, Backlog(unhashed, is_whole=bool(is_whole)), at)
