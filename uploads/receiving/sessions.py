"""Resumable uploads: begun and given up. (Finished: `uploads.receiving.finalizing`.)"""

import math
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from accounts.principals import Actor, Principal
from common import journal, lengths
from common.errors import Conflict, DooritoError, Gone
from common.ids import uuid7
from uploads import policy, selectors
from uploads.files import grants, limits, states
from uploads.files.acceptance.checks import REFUSALS
from uploads.models import PartOrder, SessionStatus, UploadSession
from uploads.receiving.direct import transfer_for
from uploads.receiving.lost_writes import epoch_of
from uploads.receiving.requests import UploadRequest
from uploads.storage import Storage, UploadHandle, handle_of, storage_for, storage_for_new


def create_session(*, principal: Principal, request: UploadRequest) -> tuple[UploadSession, bool]:
    """A session for `request` and whether it is new.

    A repeated idempotency key gives the session it made before.

    Raises InvalidInput, PayloadTooLarge, UnsupportedType `type_not_allowed`, InsufficientStorage
    `no_room`, NotFound `batch_not_found`, Conflict `batch_closed` or `idempotency_key_reused`, and
    what the owner's limits raise (`limits.enforce`).
    """
    request = request.checked().under_grant(principal)
    existing = session_of_key(principal=principal, request=request)
    if existing:
        return existing, False
    if request.idempotency_key is None:  # else it may be that of a repeat, which needs no room
        _require_room(principal, size_bytes=request.size_bytes or 0)
    store = storage_for_new()
    file_id = uuid7()
    handle = store.uploads.create(file_id.hex, size_bytes=request.size_bytes)
    try:
        with transaction.atomic():
            session = _insert_session(principal, request, file_id, store, handle)
            journal.tell_after_commit(
                "session_created",
                session_id=session.id,
                file_id=file_id,
                user=principal.owner.id,
                size_bytes=request.size_bytes,
            )
            return session, True
    except IntegrityError:
        store.uploads.discard(handle)
        existing = session_of_key(principal=principal, request=request)
        if existing is None:
            raise
        return existing, False
    except DooritoError:
        store.uploads.discard(handle)
        raise  # after any other error the rows may be there; if not, a sweep frees the bytes


def _require_room(principal: Principal, *, size_bytes: int) -> None:
    grants.require_room(principal, size_bytes=size_bytes)
    limits.require_room(principal.owner.id, size_bytes=size_bytes, for_guest=principal.is_guest)


def abort_session(*, principal: Principal, session_id: UUID) -> None:
    """Give an upload up and free its space. Repeating it is harmless.

    Raises NotFound, Conflict `session_complete`.
    """
    session = selectors.get_session(principal=principal, session_id=session_id)
    _abort(session, actor=principal.actor)
    session = selectors.get_session(principal=principal, session_id=session_id)
    if session.status == SessionStatus.COMPLETE:
        raise Conflict("session_complete", "The upload is complete; delete the file instead.")


def replace_session(*, principal: Principal, session_id: UUID) -> None:
    """As `abort_session`, for an upload that its client begins anew: its batch forgets this one.

    Raises NotFound, Conflict `session_complete`.
    """
    session = selectors.get_session(principal=principal, session_id=session_id)
    _leave_batch(session, actor=principal.actor)
    abort_session(principal=principal, session_id=session_id)


def forget_unless_busy(session: UploadSession, *, actor: Actor) -> None:
    """Give an upload up that counts as nothing, since its client heard of no session.

    Not one that another request is receiving or finalizing.
    """
    with storage_for(session).locks.try_idle(handle_of(session)) as idle:
        if idle:
            _leave_batch(session, actor=actor)
            _abort(session, actor=actor)


def _leave_batch(session: UploadSession, *, actor: Actor) -> None:
    if session.file.batch_id:
        states.leave_batch(session.file_id, batch_id=session.file.batch_id, actor=actor)


def give_up(*, file_id: UUID, error: DooritoError, actor: Actor) -> bool:
    """Abort the upload of a file that is deleted; False when it had ended before."""
    session = UploadSession.objects.get(file_id=file_id)
    return end_session(session, status=SessionStatus.ABORTED, error=error, actor=actor)


def _abort(session: UploadSession, *, actor: Actor) -> None:
    error = Gone("aborted", "The upload was aborted.")
    end_session(session, status=SessionStatus.ABORTED, error=error, actor=actor)


def end_session(
    session: UploadSession,
    *,
    status: SessionStatus,
    error: DooritoError,
    actor: Actor,
    keep_for: timedelta | None = None,
) -> bool:
    """Fail the session and its file for `error`, then free the spool; whether it was open.

    With `keep_for`, the bytes of a finished object stay for so long, out of everybody's reach.

    A session whose content was refused keeps its idempotency key, because the same bytes would be
    refused again; any other gives it back, so that the upload can be begun anew with the same one.
    """
    values: dict[str, Any] = {} if isinstance(error, REFUSALS) else {"idempotency_key": None}
    if keep_for:
        values["spool_removed_at"] = Now()
    with transaction.atomic():
        ended = UploadSession.objects.filter(id=session.id, status__in=UploadSession.OPEN).change(
            **values,
            status=status,
            error_status=error.status,
            error_code=error.code,
            error_message=error.message[: lengths.ERROR_MESSAGE],
        )
        if ended:
            purge_at = Now() + keep_for if keep_for else None
            states.fail(session.file_id, error, actor=actor, purge_at=purge_at)
    if not keep_for:
        remove_spool(session)
    return ended


def remove_spool(session: UploadSession) -> None:
    """Free the bytes of a session that ended badly; a sweep repeats this after a kill.

    The caller may have lost to a finalize: then the bytes are a stored file's, and stay.
    """
    badly_ended = UploadSession.objects.filter(
        id=session.id,
        status__in=[SessionStatus.FAILED, SessionStatus.ABORTED],
        spool_removed_at__isnull=True,  # else they may be kept apart for a while
    )
    if badly_ended.exists():  # for good: nothing leads out of these states
        storage_for(session).uploads.discard(handle_of(session))
        badly_ended.update(spool_removed_at=Now())


def session_of_key(*, principal: Principal, request: UploadRequest) -> UploadSession | None:
    """The session that this idempotency key made. Raises Conflict for other values."""
    if request.idempotency_key is None:
        return None
    session = (
        UploadSession.objects.select_related("file")
        .filter(
            created_by=principal.owner,
            grant_id=principal.grant_id,
            idempotency_key=request.idempotency_key,
        )
        .first()
    )
    if session and session.request_digest != request.digest():
        raise Conflict(
            "idempotency_key_reused",
            "This idempotency key was used for another upload; choose a new one.",
        )
    return session


def _insert_session(
    principal: Principal,
    request: UploadRequest,
    file_id: UUID,
    store: Storage,
    handle: UploadHandle,
) -> UploadSession:
    # First, as in every change: a repeated key may have to wait for the session that had it, and
    # that one's end for the grant, the batch and the usage that come with the file.
    grid = _grid(request, store)
    session = UploadSession.objects.create(
        file_id=file_id,
        created_by=principal.owner,
        grant_id=principal.grant_id,
        part_order=request.part_order,
        door=request.door,
        door_data=request.door_data,
        keep_seconds=request.keep_seconds,
        length_bytes=request.size_bytes,
        **grid,
        transfer=transfer_for(store, request.transfer, total_parts=grid.get("total_parts")),
        declared_sha256=request.sha256,
        idempotency_key=request.idempotency_key,
        request_digest=request.digest(),
        storage_backend=handle.backend,
        spool_key=handle.key,
        storage_token=handle.token,
        storage_epoch=epoch_of(store),
        last_activity_at=Now(),
    )
    session.file = states.begin(request.new_file(principal, file_id))
    return session


def _grid(request: UploadRequest, store: Storage) -> dict[str, int]:
    """How numbered parts are cut: within the portal's bounds and the store's."""
    if request.part_order != PartOrder.NUMBERED or request.size_bytes is None:
        return {}
    chunk = policy.chunk_size_for(request.size_bytes, request.chunk_size_bytes)
    rules = store.uploads.rules
    chunk = min(max(chunk, rules.min_bytes), rules.max_bytes)
    chunk = max(chunk, math.ceil(request.size_bytes / rules.max_count))
    return {"chunk_size_bytes": chunk, "total_parts": math.ceil(request.size_bytes / chunk)}
