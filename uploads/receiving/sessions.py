"""Resumable uploads: create, finalize, abort. (Parts: `uploads.receiving.parts`.)"""

import math
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from accounts.principals import Principal
from common.db import release_connection
from common.errors import Conflict, DooritoError, Gone, InvalidInput, UnprocessableContent
from common.ids import uuid7
from uploads import policy, selectors
from uploads.files import states
from uploads.files.content_types import detect_type
from uploads.files.states import NewFile, Proof
from uploads.models import IngestFile, SessionStatus, UploadSession
from uploads.receiving.crashes import boot_id, distrust, survived_crash
from uploads.receiving.digests import complete_digest
from uploads.receiving.endings import missing_spool_explained, original_error
from uploads.receiving.requests import UploadRequest
from uploads.storage import storage


def create_session(*, principal: Principal, request: UploadRequest) -> tuple[UploadSession, bool]:
    """A session for `request` and whether it is new.

    A repeated idempotency key gives the session it made before.

    Raises InvalidInput, PayloadTooLarge, UnsupportedType `type_not_allowed`, InsufficientStorage
    `no_room`, NotFound `batch_not_found`, Conflict `batch_closed` or `idempotency_key_reused`.
    """
    request = request.checked()
    existing = _session_of_key(principal=principal, request=request)
    if existing:
        return existing, False
    file_id = uuid7()
    storage().create(file_id.hex, size_bytes=request.size_bytes)
    try:
        with transaction.atomic():
            return _insert_session(principal=principal, request=request, file_id=file_id), True
    except IntegrityError:
        storage().discard(file_id.hex)
        existing = _session_of_key(principal=principal, request=request)
        if existing is None:
            raise
        return existing, False
    except DooritoError:
        storage().discard(file_id.hex)
        raise  # after any other error the rows may be there; if not, a sweep frees the bytes


def finalize_session(*, principal: Principal, session_id: UUID) -> IngestFile:
    """Prove and store the file; the same answer when repeated.

    Raises NotFound, Gone `session_aborted`, InvalidInput `parts_missing`, UnprocessableContent
    `sha256_mismatch`, UnsupportedType `type_not_allowed`, Conflict `finalize_in_progress`.
    """
    session = selectors.get_session(principal=principal, session_id=session_id)
    if session.status not in UploadSession.OPEN:
        return _outcome(session)
    _require_all_parts(session)
    release_connection()  # those who wait must leave one to the caller they wait for
    with missing_spool_explained(session.id), storage().settled(session.spool_key):
        session = selectors.get_session(principal=principal, session_id=session_id)
        if session.status not in UploadSession.OPEN:
            return _outcome(session)
        if survived_crash(session):
            distrust(session)
            session = selectors.get_session(principal=principal, session_id=session_id)
        _require_all_parts(session)  # whoever held the upload before may have found some lost
        return _finalize(session)


def abort_session(*, principal: Principal, session_id: UUID) -> None:
    """Give an upload up and free its space. Repeating it is harmless.

    Raises NotFound, Conflict `session_complete`.
    """
    session = selectors.get_session(principal=principal, session_id=session_id)
    _abort(session)
    if (
        selectors.get_session(principal=principal, session_id=session_id).status
        == SessionStatus.COMPLETE
    ):
        raise Conflict("session_complete", "The upload is complete; delete the file instead.")


def abort_unless_busy(session: UploadSession) -> None:
    """Give an upload up, unless another request is receiving or finalizing it."""
    with storage().try_idle(session.spool_key) as idle:
        if idle:
            _abort(session)


def give_up(*, file_id: UUID, error: DooritoError) -> bool:
    """Abort the upload of a file that is deleted; False when it had ended before."""
    session = UploadSession.objects.get(file_id=file_id)
    return end_session(session, status=SessionStatus.ABORTED, error=error)


def _abort(session: UploadSession) -> None:
    error = Gone("aborted", "The upload was aborted.")
    end_session(session, status=SessionStatus.ABORTED, error=error)


def end_session(session: UploadSession, *, status: SessionStatus, error: DooritoError) -> bool:
    """Fail the session and its file for `error`, then free the spool; whether it was open.

    An aborted session gives its idempotency key back, so that the upload can be begun anew with
    the same one; a failed one keeps it, because the same bytes would fail again.
    """
    released = {"idempotency_key": None} if status == SessionStatus.ABORTED else {}
    with transaction.atomic():
        ended = UploadSession.objects.filter(id=session.id, status__in=UploadSession.OPEN).change(
            **released,
            status=status,
            error_status=error.status,
            error_code=error.code,
            error_message=error.message[:500],
        )
        if ended:
            states.fail(session.file_id, error)
    remove_spool(session)
    return ended


def remove_spool(session: UploadSession) -> None:
    """Free the bytes of a session that ended badly; a sweep repeats this after a kill.

    The caller may have lost to a finalize: then the bytes are a stored file's, and stay.
    """
    badly_ended = UploadSession.objects.filter(
        id=session.id, status__in=[SessionStatus.FAILED, SessionStatus.ABORTED]
    )
    if badly_ended.exists():  # for good: nothing leads out of these states
        storage().discard(session.spool_key)
        badly_ended.update(spool_removed_at=timezone.now())


def _session_of_key(*, principal: Principal, request: UploadRequest) -> UploadSession | None:
    """The session that this idempotency key made. Raises Conflict for other values."""
    if request.idempotency_key is None:
        return None
    session = (
        UploadSession.objects.select_related("file")
        .filter(created_by=principal.owner, idempotency_key=request.idempotency_key)
        .first()
    )
    if session and session.request_digest != request.digest():
        raise Conflict(
            "idempotency_key_reused",
            "This idempotency key was used for another upload; choose a new one.",
        )
    return session


def _insert_session(
    *, principal: Principal, request: UploadRequest, file_id: UUID
) -> UploadSession:
    chunk = policy.chunk_size_for(request.size_bytes, request.chunk_size_bytes)
    # First, as in every change: a repeated key may have to wait for the session that had it, and
    # that one's end for the batch and the usage that come with the file.
    session = UploadSession.objects.create(
        file_id=file_id,
        created_by=principal.owner,
        chunk_size_bytes=chunk,
        total_parts=math.ceil(request.size_bytes / chunk),
        declared_sha256=request.sha256,
        idempotency_key=request.idempotency_key,
        request_digest=request.digest(),
        spool_key=file_id.hex,
        last_activity_at=timezone.now(),
        boot_id=boot_id(),
    )
    session.file = states.begin(
        NewFile(
            id=file_id,
            owner_id=principal.owner.id,
            filename=request.filename,
            size_bytes=request.size_bytes,
            content_type=request.content_type,
            relative_path=request.relative_path,
            batch_id=request.batch_id,
            metadata=request.metadata,
        )
    )
    return session


def _outcome(session: UploadSession) -> IngestFile:
    """What finalizing gave before: the file, or the same error."""
    if session.status == SessionStatus.COMPLETE:
        return session.file
    raise original_error(session)


def _finalize(session: UploadSession) -> IngestFile:
    sha256 = complete_digest(session)
    release_connection()
    with storage().reader(session.spool_key) as reader:
        detected = detect_type(reader, size_bytes=session.file.size_bytes)
    try:
        _require_declared_sha256(session, sha256)
        policy.check_detected_type(detected)
    except DooritoError as error:
        end_session(session, status=SessionStatus.FAILED, error=error)
        raise _why_ended(session) from error
    stored = storage().finish(session.spool_key, size_bytes=session.file.size_bytes)
    if not _mark_stored(session, Proof(sha256, detected, stored)):
        remove_spool(session)
        raise _why_ended(session)
    return IngestFile.objects.select_related("uploaded_by", "batch").get(id=session.file_id)


def _why_ended(session: UploadSession) -> DooritoError:
    """The error as a repeated finalize will give it, even to the letter."""
    return original_error(UploadSession.objects.get(id=session.id))


def _mark_stored(session: UploadSession, proof: Proof) -> bool:
    """The session and its file, together; False when no longer open."""
    with transaction.atomic():
        complete = UploadSession.objects.filter(
            id=session.id,
            status__in=UploadSession.OPEN,
            received_parts_count=F("total_parts"),
        ).change(status=SessionStatus.COMPLETE, last_activity_at=timezone.now())
        if complete:
            states.store(session.file_id, proof)
    return complete


def _require_all_parts(session: UploadSession) -> None:
    missing = selectors.missing_ranges(session)
    if missing:
        raise InvalidInput(
            "parts_missing",
            f"Parts are missing: {missing}. Send them, then finalize.",
            missing_parts=missing,
        )


def _require_declared_sha256(session: UploadSession, sha256: str) -> None:
    if session.declared_sha256 and session.declared_sha256 != sha256:
        raise UnprocessableContent(
            "sha256_mismatch",
            f"The file's SHA-256 is {sha256}, not the declared {session.declared_sha256}. "
            "It was not kept; upload it again.",
        )
