"""Receiving the parts of an upload session."""

import base64
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.principals import Principal
from common.db import release_connection
from common.errors import Conflict, InvalidInput, UnprocessableContent
from common.http.digests import Digest
from common.ids import uuid7
from uploads import selectors
from uploads.models import PartStatus, SessionStatus, UploadPart, UploadSession
from uploads.receiving.digests import Backlog, part_digester, roll_forward
from uploads.receiving.endings import ended, missing_spool_explained
from uploads.selectors import UploadLayout
from uploads.storage import storage
from uploads.storage.base import PartWriter


@dataclass(frozen=True)
class PartRange:
    """Which bytes of the file a part is. `number` counts from 1."""

    number: int
    offset_bytes: int
    size_bytes: int


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
    principal: Principal,
    session_id: UUID,
    part_number: int,
    length: int | None,
    blocks: Iterator[memoryview],
    declared: Digest | None = None,
) -> PartReceipt:
    """Store one part, or confirm that the same bytes are there already.

    `length` is what the client announced, if it did; `blocks` yields the body and may raise when
    the connection fails: then the part stays unreceived and can be sent again.

    Raises NotFound, Gone `session_…`, InvalidInput `part_number_invalid`, `part_size_wrong` or
    `body_incomplete`, Conflict `part_in_progress` or `part_differs`, UnprocessableContent
    `digest_mismatch`, InsufficientStorage `no_room`.
    """
    layout = selectors.upload_layout(principal=principal, session_id=session_id)
    with missing_spool_explained(session_id):
        with _reserved(layout, session_id, number=part_number, length=length) as (part, writer):
            # Asked only now that nobody else can receive it.
            count, known = _look_up(session_id, part_number)
            release_connection()  # the body may take its time
            if known is None:
                digest = _write(part, writer=writer, blocks=blocks, declared=declared)
                count, backlog = _record(session_id, part, digest, key=layout.spool_key)
        if known:
            _compare(part, known, blocks=blocks, declared=declared)
            return _receipt(layout, part, known, count=count)
        if backlog.is_due:
            roll_forward(session_id, key=layout.spool_key)
    return _receipt(layout, part, digest, count=count)


@contextmanager
def _reserved(
    layout: UploadLayout, session_id: UUID, *, number: int, length: int | None
) -> Iterator[tuple[PartRange, PartWriter]]:
    """The part that was announced, and the sole right to write it."""
    with ExitStack() as stack:
        try:
            part = _part_range(layout, number, length=length)
            writer = stack.enter_context(
                storage().write_part(
                    layout.spool_key, offset=part.offset_bytes, size_bytes=part.size_bytes
                )
            )
        except (InvalidInput, Conflict):
            _look_up(session_id, number)  # that the session is over says more
            raise
        yield part, writer


def _part_range(layout: UploadLayout, number: int, *, length: int | None) -> PartRange:
    if not 1 <= number <= layout.total_parts:
        raise InvalidInput(
            "part_number_invalid",
            f"Parts are numbered 1 to {layout.total_parts}; there is no part {number}."
            if layout.total_parts
            else "An empty file has no parts; finalize the session.",
        )
    offset = (number - 1) * layout.chunk_size_bytes
    size = min(layout.chunk_size_bytes, layout.size_bytes - offset)
    part = PartRange(number, offset, size)
    if length not in {size, None}:
        raise _size_wrong(part, f"the request announced {length}")
    return part


def _size_wrong(part: PartRange, found: str) -> InvalidInput:
    return InvalidInput(
        "part_size_wrong",
        f"Part {part.number} has {part.size_bytes} bytes; {found}.",
        expected_bytes=part.size_bytes,
    )


def _of_size(part: PartRange, blocks: Iterator[memoryview]) -> Iterator[memoryview]:
    """The blocks of a part's body, which never go beyond the part, nor end before it does.

    Raises InvalidInput `part_size_wrong`, `body_incomplete`.
    """
    received = 0
    for block in blocks:
        received += block.nbytes
        if received > part.size_bytes:
            raise _size_wrong(part, "the body has more")
        yield block
    if received < part.size_bytes:
        raise InvalidInput(
            "body_incomplete",
            f"Part {part.number} ended after {received} of {part.size_bytes} bytes; send it again.",
        )


_LOOK_UP = """
    SELECT session.status, session.received_parts_count, part.digest_algorithm, part.digest
    FROM upload_session session
        LEFT JOIN upload_part part ON part.session_id = session.id AND part.part_number = %s
    WHERE session.id = %s
"""


def _look_up(session_id: UUID, part_number: int) -> tuple[int, Digest | None]:
    """How many parts there are, and what this one's digest is if it is among them.

    Raises NotFound, Gone if the session is no longer open.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOOK_UP, [part_number, session_id])
        row = cursor.fetchone()
    if row is None:
        raise selectors.session_not_found()
    status, count, algorithm, digest = row
    if status not in UploadSession.OPEN:
        raise ended(UploadSession.objects.get(id=session_id))
    return count, Digest(algorithm, bytes.fromhex(digest)) if digest else None


# One statement instead of a transaction of five round trips: it runs once for every part. The
# part is inserted only if the session was still open, and either both rows change or neither.
_OPEN = ", ".join(f"'{status.value}'" for status in UploadSession.OPEN)
_RECORD = f"""
    WITH counted AS (
        UPDATE upload_session
        SET status = '{SessionStatus.IN_PROGRESS.value}',
            received_parts_count = received_parts_count + 1,
            received_bytes = received_bytes + %(size_bytes)s,
            last_activity_at = %(now)s,
            updated_at = %(now)s
        WHERE id = %(session_id)s AND status IN ({_OPEN})
        RETURNING received_parts_count, total_parts, received_bytes, hashed_bytes
    ), inserted AS (
        INSERT INTO upload_part (id, created_at, updated_at, session_id, part_number,
            offset_bytes, size_bytes, digest_algorithm, digest, status)
        SELECT %(id)s, %(now)s, %(now)s, %(session_id)s, %(number)s,
            %(offset_bytes)s, %(size_bytes)s, %(algorithm)s, %(digest)s,
            '{PartStatus.RECEIVED.value}'
        FROM counted
    )
    SELECT received_parts_count, received_parts_count = total_parts, received_bytes - hashed_bytes
    FROM counted
"""  # noqa: S608  (the states are the models' own)


def _record(session_id: UUID, part: PartRange, digest: Digest, *, key: str) -> tuple[int, Backlog]:
    """Write the part and the session's counters; how many parts there are, what is not hashed.

    Raises Gone if the session is no longer open.
    """
    values: dict[str, Any] = {
        "now": timezone.now(),
        "session_id": session_id,
        "id": uuid7(),
        "number": part.number,
        "offset_bytes": part.offset_bytes,
        "size_bytes": part.size_bytes,
        "algorithm": digest.algorithm,
        "digest": digest.value.hex(),
    }
    try:
        with connection.cursor() as cursor:
            cursor.execute(_RECORD, values)
            counted = cursor.fetchone()
    except IntegrityError:
        return _record_anew(session_id, part, digest, key=key)
    if counted is None:
        raise ended(UploadSession.objects.get(id=session_id))
    count, is_whole, unhashed_bytes = counted
    return count, Backlog(unhashed_bytes, is_whole=is_whole)


def _record_anew(
    session_id: UUID, part: PartRange, digest: Digest, *, key: str
) -> tuple[int, Backlog]:
    """As `_record`, for a part that turned out to be recorded already.

    A request that was killed meanwhile may have done so without an answer: the kernel frees its
    place at once, the database goes on with its statement. What counts are the bytes that are there
    now; if they are others, what was hashed may have been the former. Nothing is finalized before,
    since the caller still holds the part.
    """
    count, known = _look_up(session_id, part.number)
    if known != digest:
        release_connection()
        with storage().exclusive(key), transaction.atomic():
            UploadPart.objects.filter(session_id=session_id, part_number=part.number).update(
                digest_algorithm=digest.algorithm, digest=digest.value.hex()
            )
            UploadSession.objects.filter(id=session_id, status__in=UploadSession.OPEN).update(
                hash_state=None, hashed_bytes=0
            )
    return count, Backlog(0, is_whole=False)  # finalizing, or the next part, hashes it


def _write(
    part: PartRange,
    *,
    writer: PartWriter,
    blocks: Iterator[memoryview],
    declared: Digest | None,
) -> Digest:
    """Put the body in place; its digest."""
    algorithm = declared.algorithm if declared else "blake3"
    digester = part_digester(algorithm)
    for block in _of_size(part, blocks):
        digester.update(block)
        writer.write(block)
    digest = Digest(algorithm, digester.digest())
    require_declared(digest.value, declared=declared)
    writer.flush()
    return digest


def _receipt(layout: UploadLayout, part: PartRange, digest: Digest, *, count: int) -> PartReceipt:
    return PartReceipt(
        part_number=part.number,
        offset_bytes=part.offset_bytes,
        size_bytes=part.size_bytes,
        digest=f"{digest.algorithm}:{digest.value.hex()}",
        received_parts_count=count,
        total_parts=layout.total_parts,
    )


def _compare(
    part: PartRange,
    known: Digest,
    *,
    blocks: Iterator[memoryview],
    declared: Digest | None,
) -> None:
    """The same part again, or a conflict; nothing is written."""
    repeat = digest_of_repeat(part, known.algorithm, blocks=blocks, declared=declared)
    if repeat != known.value:
        raise Conflict("part_differs", f"Part {part.number} was received with other bytes before.")


def digest_of_repeat(
    part: PartRange,
    algorithm: str,
    *,
    blocks: Iterator[memoryview],
    declared: Digest | None,
) -> bytes:
    """The digest of a body that repeats a part, by that part's algorithm; nothing is kept.

    Raises InvalidInput `part_size_wrong` or `body_incomplete`, UnprocessableContent
    `digest_mismatch`.
    """
    same = part_digester(algorithm)
    promised = part_digester(declared.algorithm) if declared else None
    for block in _of_size(part, blocks):
        same.update(block)
        if promised:
            promised.update(block)
    if promised:
        require_declared(promised.digest(), declared=declared)
    return bytes(same.digest())


def require_declared(actual: bytes, *, declared: Digest | None) -> None:
    if declared and actual != declared.value:
        raise UnprocessableContent(
            "digest_mismatch",
            f"The bytes have the {declared.algorithm} digest {base64.b64encode(actual).decode()}, "
            "not the declared one. Nothing was kept; send the part again.",
        )
