"""Uploads whose parts are put in order at the end: until then each is known by its id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from django.db import connection, transaction

from accounts.principals import Principal
from common.db import release_connection
from common.errors import Conflict, Gone, InvalidInput, PayloadTooLarge
from common.http.digests import Digest
from uploads import selectors
from uploads.files.expiry import session_expiry
from uploads.models import IngestFile, PartOrder, SessionStatus, UploadPart, UploadSession
from uploads.receiving.bodies import (
    PartRange,
    no_more_than,
    require_declared,
    require_whole,
)
from uploads.receiving.digests import part_digester
from uploads.receiving.endings import ended, missing_spool_explained, require_open
from uploads.receiving.finalizing import finalize_session, require_not_under_way
from uploads.receiving.intake import Intake
from uploads.receiving.record import MAX_PARTS, Range, number_anew, record_in_turn
from uploads.receiving.requests import UploadRequest
from uploads.receiving.sessions import abort_session, create_session
from uploads.storage import handle_of, storage_for
from uploads.storage.refusals import finalize_in_progress


class State(StrEnum):
    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Assembly:
    """An upload whose parts are put in order at the end. `file` once it is stored."""

    session_id: UUID
    filename: str
    size_bytes: int
    created_at: datetime
    expires_at: datetime
    state: State
    door_data: dict[str, Any]
    file: IngestFile | None

    @classmethod
    def of(cls, session: UploadSession) -> Self:
        state = _state(session)
        return cls(
            session_id=session.id,
            filename=session.file.original_filename,
            size_bytes=session.length_bytes or 0,
            created_at=session.created_at,
            expires_at=session_expiry(session.last_activity_at),
            state=state,
            door_data=session.door_data,
            file=session.file if state == State.COMPLETED else None,
        )


def _state(session: UploadSession) -> State:
    if session.status in UploadSession.OPEN:
        return State.PENDING
    if session.status == SessionStatus.COMPLETE:
        return State.COMPLETED
    return State.EXPIRED if session.error_code == "session_expired" else State.CANCELLED


def begin(*, principal: Principal, request: UploadRequest) -> Assembly:
    """Raises as `create_session`."""
    request = replace(request, part_order=PartOrder.TOLD_LAST)
    return Assembly.of(create_session(principal=principal, request=request)[0])


def complete(
    *, principal: Principal, session_id: UUID, order: Sequence[UUID], md5: str = ""
) -> Assembly:
    """Store the file that the parts make in this order. Repeating it gives the same answer.

    Raises what `assemble` and `finalize_session` raise, and InvalidInput `completed_otherwise` for
    an upload that is complete, of other parts.
    """
    session = _told_last(principal, session_id)
    told = [str(part_id) for part_id in order]
    if session.status in UploadSession.OPEN:
        require_not_under_way(session)
        try:
            with (
                missing_spool_explained(session_id),
                storage_for(session).locks.exclusive(handle_of(session)),  # nobody finalizes
            ):
                _place(session, order, door_data=session.door_data | {"part_ids": told})
            finalize_session(principal=principal, session_id=session_id, md5=md5)
        except Gone as error:
            if error.code != "session_complete":  # else another request was sooner
                raise
        session = _told_last(principal, session_id)
    if session.status != SessionStatus.COMPLETE:
        raise ended(session)
    if session.door_data.get("part_ids") != told:
        raise InvalidInput("completed_otherwise", "The upload is complete already, of other parts.")
    return Assembly.of(session)


def cancel(*, principal: Principal, session_id: UUID) -> Assembly:
    """Give the upload up; harmless to repeat. Raises NotFound, Conflict `session_complete`."""
    _told_last(principal, session_id)
    abort_session(principal=principal, session_id=session_id)
    return Assembly.of(_told_last(principal, session_id))


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

    Raises NotFound, Gone `session_…`, InvalidInput `body_incomplete`, Conflict `not_assembled`,
    `finalize_in_progress` or `too_many_parts`, PayloadTooLarge `parts_too_large`,
    UnprocessableContent `digest_mismatch`, InsufficientStorage `no_room`.
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
    ):
        # Only now nobody finishes it before the part is recorded: see `UploadLocks.settled`.
        _require_parts_wanted(_assembled(principal, session_id))
        release_connection()
        with store.uploads.write(handle, offset=offset, size_bytes=size_bytes) as writer:
            intake = Intake(writer, [digester])
            intake.take(no_more_than(part, blocks))
            require_whole(part, received=intake.size_bytes)
            digest = Digest(algorithm, digester.digest())
            require_declared(digest.value, declared=declared)
            return record_in_turn(session_id, Range(writer.commit(), digest)).part_id


def _require_parts_wanted(session: UploadSession) -> None:
    """Nothing is written to an upload that has all parts of the file: it is being finalized."""
    total = session.total_parts
    if total is not None and session.received_parts_count >= total:
        raise finalize_in_progress()


def assemble(*, principal: Principal, session_id: UUID, order: Sequence[UUID]) -> None:
    """Say which parts the file has, in their order; the others are left out.

    It can be said again until the upload is finalized, of parts that were not left out.
    Raises NotFound, Gone `session_…`, InvalidInput `unknown_part`, `repeated_part` or
    `length_differs`, Conflict `not_assembled` or `finalize_in_progress`.
    """
    session = _assembled(principal, session_id)
    _place(session, order)


def _place(
    session: UploadSession, order: Sequence[UUID], *, door_data: dict[str, Any] | None = None
) -> None:
    if len(set(order)) != len(order):
        raise InvalidInput("repeated_part", "A part can be in the file only once.")
    with transaction.atomic():
        session = UploadSession.objects.select_for_update().get(id=session.id)
        require_open(session)
        require_not_under_way(session)
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
        if door_data is not None:
            UploadSession.objects.filter(id=session.id).update(door_data=door_data)


def _put_in_order(session: UploadSession, order: Sequence[UUID]) -> None:
    UploadPart.objects.filter(session=session).exclude(id__in=order).delete()
    number_anew(session.id, order)
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


def _told_last(principal: Principal, session_id: UUID) -> UploadSession:
    """Whatever its state. Raises NotFound, also for an upload of another kind."""
    session = selectors.get_session(principal=principal, session_id=session_id)
    if session.part_order != PartOrder.TOLD_LAST:
        raise selectors.session_not_found()
    return session


def _assembled(principal: Principal, session_id: UUID) -> UploadSession:
    session = selectors.get_session(principal=principal, session_id=session_id)
    require_open(session)
    require_not_under_way(session)
    if session.part_order != PartOrder.TOLD_LAST:
        raise Conflict("not_assembled", "The parts of this upload have their places already.")
    return session
