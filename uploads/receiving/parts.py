"""Receiving the numbered parts of an upload session."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from accounts.principals import Principal
from common.db import release_connection
from common.errors import Conflict, InvalidInput
from common.http.digests import Digest
from common.http.headers import ContentRange
from uploads import selectors
from uploads.models import UploadPart, UploadSession
from uploads.receiving.bodies import (
    PartRange,
    digest_of_repeat,
    no_more_than,
    require_declared,
    require_whole,
)
from uploads.receiving.digests import (
    Backlog,
    Prefix,
    part_digester,
    prefix_digester,
    roll_forward,
)
from uploads.receiving.endings import ended, missing_spool_explained
from uploads.receiving.intake import Digester, Intake
from uploads.receiving.layout import Grid, UploadLayout, upload_layout
from uploads.receiving.record import Range, record_numbered
from uploads.storage import UploadHandle, named
from uploads.storage.refusals import finalize_in_progress


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
    place: ContentRange | None = None,
) -> PartReceipt:
    """Store one part, or confirm that the same bytes are there already.

    `length` is what the client announced, None if it did not, and `place` where it says that the
    part belongs; `blocks` yields the body and may raise when the connection fails: then the part
    stays unreceived and can be sent again.

    Raises NotFound, Gone `session_…`, InvalidInput `part_number_invalid`, `part_size_wrong`,
    `part_range_wrong` or `body_incomplete`, Conflict `part_in_progress`, `finalize_in_progress` or
    `part_differs`, UnprocessableContent `digest_mismatch`, InsufficientStorage `no_room`.
    """
    layout = upload_layout(principal=principal, session_id=session_id)
    with missing_spool_explained(session_id):
        with _held(layout, session_id, part_number, length=length, place=place) as part:
            # Looked up only now, when nobody else can receive the part.
            state = _look_up(session_id, part_number)
            release_connection()  # the body may take its time
            count, digest, backlog = state.count, state.digest, Backlog(0, is_whole=False)
            if digest is None:
                taken = _take(part, layout.handle, state.prefix, blocks=blocks, declared=declared)
                digest = taken.digest
                count, backlog = _record(session_id, part, taken, handle=layout.handle)
        if state.digest is not None:
            _compare(part, state.digest, blocks=blocks, declared=declared)
        elif backlog.is_due:
            roll_forward(session_id, layout.handle)
    return PartReceipt(
        part_number=part.number,
        offset_bytes=part.offset_bytes,
        size_bytes=part.size_bytes,
        digest=f"{digest.algorithm}:{digest.value.hex()}",
        received_parts_count=count,
        total_parts=layout.grid.total_parts,
    )


@contextmanager
def _held(
    layout: UploadLayout,
    session_id: UUID,
    number: int,
    *,
    length: int | None,
    place: ContentRange | None,
) -> Iterator[PartRange]:
    """Hold the sole right to write the announced part, and give the part."""
    with ExitStack() as stack:
        try:
            part = _part_range(layout.grid, number, length=length)
            _require_place(part, place, size_bytes=layout.grid.size_bytes)
            stack.enter_context(
                named(layout.handle.backend).locks.writing(
                    layout.handle, offset=part.offset_bytes, size_bytes=part.size_bytes
                )
            )
        except (InvalidInput, Conflict):
            _look_up(session_id, number)  # that the session is over says more
            raise
        yield part


def _part_range(grid: Grid, number: int, *, length: int | None) -> PartRange:
    if not 1 <= number <= grid.total_parts:
        raise InvalidInput(
            "part_number_invalid",
            f"Parts are numbered 1 to {grid.total_parts}; there is no part {number}."
            if grid.total_parts
            else "An empty file has no parts; finalize the session.",
        )
    offset = (number - 1) * grid.chunk_size_bytes
    size = min(grid.chunk_size_bytes, grid.size_bytes - offset)
    if length is not None and length != size:
        raise InvalidInput(
            "part_size_wrong",
            f"Part {number} has {size} bytes; the request announced {length}.",
            expected_bytes=size,
        )
    return PartRange(number, offset, size)


def _require_place(part: PartRange, place: ContentRange | None, *, size_bytes: int) -> None:
    """Refuse a part that its sender means to be elsewhere in the file, which has `size_bytes`."""
    if place is None:
        return
    first, last = part.offset_bytes, part.offset_bytes + part.size_bytes - 1
    has_other_length = place.complete_length not in (None, size_bytes)
    if (place.first, place.last) != (first, last) or has_other_length:
        expected = f"bytes {first}-{last}/{size_bytes}"
        raise InvalidInput(
            "part_range_wrong",
            f"Part {part.number} of this file is {expected}, and Content-Range says otherwise. "
            "Leave it out, or send the part under its own number.",
            expected_range=expected,
        )


@dataclass(frozen=True)
class _State:
    """An open session as a part finds it; the part's digest if it is among the received."""

    count: int
    digest: Digest | None
    prefix: Prefix


_LOOK_UP = """
    SELECT session.status, session.received_parts_count, session.hashed_bytes, session.hash_state,
        session.finalizing_at, part.digest_algorithm, part.digest
    FROM upload_session session
        LEFT JOIN upload_part part ON part.session_id = session.id AND part.part_number = %s
    WHERE session.id = %s
"""


def _look_up(session_id: UUID, part_number: int) -> _State:
    """Raises NotFound, Gone if the session is no longer open, Conflict `finalize_in_progress` if
    nothing more may be written.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOOK_UP, [part_number, session_id])
        row = cursor.fetchone()
    if row is None:
        raise selectors.session_not_found()
    status, count, hashed_bytes, hash_state, finalizing_at, algorithm, digest = row
    if status not in UploadSession.OPEN:
        raise ended(UploadSession.objects.get(id=session_id))
    if finalizing_at is not None and not digest:
        raise finalize_in_progress()
    known = Digest(algorithm, bytes.fromhex(digest)) if digest else None
    return _State(count, known, Prefix(hashed_bytes, hash_state))


def _take(
    part: PartRange,
    handle: UploadHandle,
    prefix: Prefix,
    *,
    blocks: Iterator[memoryview],
    declared: Digest | None,
) -> Range:
    """Put the body in place."""
    algorithm = declared.algorithm if declared else "blake3"
    digester = part_digester(algorithm)
    rolling = prefix_digester(prefix, offset=part.offset_bytes)
    digesters: list[Digester] = [digester] if rolling is None else [digester, rolling]
    uploads = named(handle.backend).uploads
    with uploads.write(
        handle, offset=part.offset_bytes, size_bytes=part.size_bytes, number=part.number
    ) as writer:
        intake = Intake(writer, digesters)
        intake.take(no_more_than(part, blocks))
        require_whole(part, received=intake.size_bytes)
        digest = Digest(algorithm, digester.digest())
        require_declared(digest.value, declared=declared)
        return Range(writer.commit(), digest, prefix=rolling)


def _record(
    session_id: UUID, part: PartRange, taken: Range, *, handle: UploadHandle
) -> tuple[int, Backlog]:
    """Write the part and the session's counters. Returns the number of parts and the backlog.

    Raises Gone if the session is no longer open.
    """
    try:
        recorded = record_numbered(session_id, taken, number=part.number)
    except IntegrityError:
        return _record_anew(session_id, part, taken, handle=handle)
    return recorded.parts_count, recorded.backlog


def _record_anew(
    session_id: UUID, part: PartRange, taken: Range, *, handle: UploadHandle
) -> tuple[int, Backlog]:
    """As `_record`, for a part that turned out to be recorded already.

    A request that was killed meanwhile may have done so without an answer: the kernel frees its
    place at once, the database goes on with its statement. What counts are the bytes that are there
    now; if they are others, what was hashed may have been the former. Nothing is finalized before,
    since the caller still holds the part.
    """
    state = _look_up(session_id, part.number)
    receipt = UploadPart.objects.filter(session_id=session_id, part_number=part.number)
    if state.digest != taken.digest or not receipt.filter(receipt=taken.receipt.token).exists():
        release_connection()
        with named(handle.backend).locks.exclusive(handle), transaction.atomic():
            receipt.update(
                digest_algorithm=taken.digest.algorithm,
                digest=taken.digest.value.hex(),
                receipt=taken.receipt.token,
            )
            UploadSession.objects.filter(id=session_id, status__in=UploadSession.OPEN).update(
                hash_state=None, hashed_bytes=0
            )
    return state.count, Backlog(0, is_whole=False)  # finalizing, or the next part, hashes it


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
