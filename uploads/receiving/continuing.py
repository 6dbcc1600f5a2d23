"""Uploads that grow at their end: with the last byte, the file is stored, or checked first."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from uuid import UUID

from accounts.models import TokenScope
from accounts.principals import Principal
from common.errors import Conflict, Forbidden, Gone, InvalidInput
from common.http.digests import Digest
from uploads import selectors
from uploads.files import lifecycle
from uploads.models import FileStatus, PartOrder, SessionStatus, UploadSession
from uploads.receiving.appending import Progress, append
from uploads.receiving.endings import require_open
from uploads.receiving.finalizing import FinalizeUnderWay, finalize_session
from uploads.receiving.requests import UploadRequest
from uploads.receiving.sessions import abort_session, create_session


def begin(*, principal: Principal, request: UploadRequest) -> Progress:
    """A new upload; one of 0 bytes is complete at once. Raises as `create_session`."""
    session, _ = create_session(
        principal=principal, request=replace(request, part_order=PartOrder.APPENDED)
    )
    return _stored_if_whole(principal, Progress.of(session))


def go_on(
    *,
    principal: Principal,
    session_id: UUID,
    offset: int,
    blocks: Iterator[memoryview],
    declared: Digest | None = None,
    length_bytes: int | None = None,
    let_go: Callable[[], object] = lambda: None,
) -> Progress:
    """Append a body (see `append`); with the last byte the file is stored.

    An upload that is complete already takes nothing more, and an empty body at its end is welcome.
    Raises as `append` and, with the last byte, as `finalize_session`; Conflict `offset_mismatch`
    where bytes were lost meanwhile (`uploads.receiving.lost_writes`).
    """
    try:
        progress = append(
            principal=principal,
            session_id=session_id,
            offset=offset,
            blocks=blocks,
            declared=declared,
            length_bytes=length_bytes,
            let_go=let_go,
        )
    except Gone as error:
        if error.code != "session_complete":
            raise
        return _after_the_end(principal, session_id, offset=offset, blocks=blocks)
    reached = progress.offset_bytes
    progress = _stored_if_whole(principal, progress)
    if progress.offset_bytes < reached:
        raise _elsewhere(progress)
    return progress


def look_at(*, principal: Principal, session_id: UUID) -> Progress:
    """Where an upload ends; it waits for nobody who is sending.

    An upload that has all of its bytes, and is not stored because a process was killed, is stored
    now: whoever is told that it has all of them may rely on it.
    Raises NotFound, Gone `session_…` or `file_deleted`, and what `finalize_session` raises.
    """
    return _stored_if_whole(principal, Progress.of(_present(principal, session_id)))


def take_back(*, principal: Principal, session_id: UUID) -> None:
    """Give an upload up, or delete its file if it is complete, which takes the scope `consume`.

    Raises NotFound, Gone `session_…` or `file_deleted`, Forbidden `scope_missing`.
    """
    session = _present(principal, session_id)
    if session.status != SessionStatus.COMPLETE:
        abort_session(principal=principal, session_id=session_id)
        return
    if TokenScope.CONSUME not in principal.scopes:
        raise Forbidden(
            "scope_missing", "The file is stored; to delete it takes the scope consume."
        )
    lifecycle.delete_file(principal=principal, file_id=session.file_id)


def _present(principal: Principal, session_id: UUID) -> UploadSession:
    """An upload that goes on, or whose file was stored and not deleted since."""
    session = selectors.get_session(principal=principal, session_id=session_id)
    if session.part_order != PartOrder.APPENDED:
        raise selectors.session_not_found()
    if session.status != SessionStatus.COMPLETE:
        require_open(session)
    elif session.file.status == FileStatus.DELETED:
        raise Gone("file_deleted", "The file has expired or was deleted.")
    return session


def _stored_if_whole(principal: Principal, progress: Progress) -> Progress:
    if not progress.is_whole or progress.is_piece or progress.expires_at is None:
        return progress
    try:
        finalize_session(principal=principal, session_id=progress.session_id)
    except FinalizeUnderWay as under_way:
        if not under_way.is_proven:  # else nothing more is to be sent
            raise
    except InvalidInput as error:
        if error.code != "upload_incomplete":  # bytes were lost: there is more to be sent
            raise
    return Progress.of(selectors.get_session(principal=principal, session_id=progress.session_id))


def _after_the_end(
    principal: Principal, session_id: UUID, *, offset: int, blocks: Iterator[memoryview]
) -> Progress:
    progress = Progress.of(_present(principal, session_id))
    if offset != progress.offset_bytes:
        raise _elsewhere(progress)
    if any(block.nbytes for block in blocks):
        raise InvalidInput("beyond_length", f"The upload has {offset} bytes, not more.")
    return progress


def _elsewhere(progress: Progress) -> Conflict:
    return Conflict(
        "offset_mismatch",
        f"The upload has {progress.offset_bytes} bytes; go on from there.",
        offset_bytes=progress.offset_bytes,
    )
