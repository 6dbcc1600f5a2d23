"""Uploads whose parts are put in order at the end: until then each is known by its id."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from accounts.principals import Principal
from common.db import release_connection
from common.errors import Conflict, InvalidInput, PayloadTooLarge
from common.http.digests import Digest
from uploads import selectors
from uploads.models import PartOrder, UploadPart, UploadSession
from uploads.receiving.bodies import (
    PartRange,
    no_more_than,
    require_declared,
    require_whole,
)
from uploads.receiving.digests import part_digester
from uploads.receiving.endings import missing_spool_explained, require_open
from uploads.receiving.intake import Intake
from uploads.receiving.record import Range, record_in_turn
from uploads.storage import handle_of, storage_for

MAX_PARTS = 10_000
_SPARE_BYTES = 64 * 2**20  # beside twice the length: what broken and unwanted parts may take


def add_part(
    *,
    principal: Principal,
    session_id: UUID,
    size_bytes: int,
    blocks: Iterator[memoryview],
    declared: Digest | None = None,
) -> UUID:
    """Receive a part of `size_bytes`. Returns its id, which `assemble` takes to order the parts.

    Raises NotFound, Gone `session_…`, InvalidInput `body_incomplete`, Conflict `not_assembled` or
    `too_many_parts`, PayloadTooLarge `parts_too_large`, UnprocessableContent `digest_mismatch`,
    InsufficientStorage `no_room`.
    """
    session = _assembled(principal, session_id)
    offset = _allocate(session, size_bytes)
    store, handle = storage_for(session), handle_of(session)
    part = PartRange(session.received_parts_count + 1, offset, size_bytes)
    algorithm = declared.algorithm if declared else "blake3"
    digester = part_digester(algorithm)
    release_connection()
    with (
        missing_spool_explained(session_id),
        store.locks.writing(handle, offset=offset, size_bytes=max(size_bytes, 1)),
        store.uploads.write(handle, offset=offset, size_bytes=size_bytes) as writer,
    ):
        intake = Intake(writer, [digester])
        intake.take(no_more_than(part, blocks))
        require_whole(part, received=intake.size_bytes)
        digest = Digest(algorithm, digester.digest())
        require_declared(digest.value, declared=declared)
        return record_in_turn(session_id, Range(writer.commit(), digest)).part_id


def assemble(*, principal: Principal, session_id: UUID, order: Sequence[UUID]) -> None:
    """Say which parts the file has, in their order; the others are left out.

    It can be said again until the upload is finalized, of parts that were not left out.
    Raises NotFound, Gone `session_…`, InvalidInput `unknown_part`, `repeated_part` or
    `length_differs`, Conflict `not_assembled`.
    """
    session = _assembled(principal, session_id)
    if len(set(order)) != len(order):
        raise InvalidInput("repeated_part", "A part can be in the file only once.")
    with transaction.atomic():
        session = UploadSession.objects.select_for_update().get(id=session.id)
        require_open(session)
        parts = dict(UploadPart.objects.filter(session=session).values_list("id", "size_bytes"))
        unknown = [str(part_id) for part_id in order if part_id not in parts]
        if unknown:
            raise InvalidInput("unknown_part", f"The upload has no part {', '.join(unknown[:5])}.")
        total = sum(parts[part_id] for part_id in order)
        if total != session.length_bytes:
            raise InvalidInput(
                "length_differs",
                f"The parts have {total} bytes together; the upload was announced with "
                f"{session.length_bytes}.",
            )
        _put_in_order(session, order)


_PLACE = """
    UPDATE upload_part part SET part_number = told.place
    FROM unnest(%s::uuid[]) WITH ORDINALITY AS told (id, place)
    WHERE part.id = told.id AND part.session_id = %s
"""


def _put_in_order(session: UploadSession, order: Sequence[UUID]) -> None:
    parts = UploadPart.objects.filter(session=session)
    parts.exclude(id__in=order).delete()
    # First move the numbers out of the way: they must be unique after each updated row.
    parts.update(part_number=F("part_number") + MAX_PARTS)
    with connection.cursor() as cursor:
        cursor.execute(_PLACE, [list(order), session.id])
    UploadSession.objects.filter(id=session.id).update(
        received_parts_count=len(order),
        total_parts=len(order),
        received_bytes=session.length_bytes,
    )


_ALLOCATE = """
    UPDATE upload_session SET allocated_bytes = allocated_bytes + %s
    WHERE id = %s AND allocated_bytes + %s <= 2 * length_bytes + %s
    RETURNING allocated_bytes
"""


def _allocate(session: UploadSession, size_bytes: int) -> int:
    """Reserve `size_bytes` in the upload for one part. Returns the offset."""
    if session.received_parts_count >= MAX_PARTS:
        raise Conflict("too_many_parts", f"An upload has at most {MAX_PARTS} parts.")
    with connection.cursor() as cursor:
        cursor.execute(_ALLOCATE, [size_bytes, session.id, size_bytes, _SPARE_BYTES])
        row = cursor.fetchone()
    if row is None:
        raise PayloadTooLarge(
            "parts_too_large",
            f"The parts are much more than the {session.length_bytes} bytes that were announced.",
        )
    return int(row[0]) - size_bytes


def _assembled(principal: Principal, session_id: UUID) -> UploadSession:
    session = selectors.get_session(principal=principal, session_id=session_id)
    require_open(session)
    if session.part_order != PartOrder.TOLD_LAST:
        raise Conflict("not_assembled", "The parts of this upload have their places already.")
    return session
