"""The end of an upload: its bytes are checked and finished, and the file is stored."""

import hashlib
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from accounts.principals import Actor, Principal
from common.db import release_connection
from common.errors import (
    Conflict,
    DooritoError,
    InvalidInput,
    UnprocessableContent,
    UnsupportedType,
)
from uploads import selectors
from uploads.files import grants, states
from uploads.files.states import Proof
from uploads.models import IngestFile, PartOrder, SessionStatus, UploadSession
from uploads.receiving.endings import missing_spool_explained, original_error
from uploads.receiving.lost_writes import forget_lost_parts, may_have_lost_parts
from uploads.receiving.proof import Facts, prove_and_finish
from uploads.receiving.sessions import end_session, remove_spool
from uploads.storage import handle_of, storage_for


def finalize_session(*, principal: Principal, session_id: UUID, md5: str = "") -> IngestFile:
    """Prove and store the file; the same answer when repeated.

    `md5`, in hex, is checked besides, of an upload whose parts' order was told last.

    Raises NotFound, Gone `session_aborted`, InvalidInput `parts_missing` or `upload_incomplete`,
    UnprocessableContent `sha256_mismatch` or `md5_mismatch`, UnsupportedType `type_not_allowed`,
    Conflict `finalize_in_progress`, or `is_piece` for what is only a piece of a file.
    """
    session = selectors.get_session(principal=principal, session_id=session_id)
    if session.status not in UploadSession.OPEN:
        return _outcome(session)
    if session.file.is_piece:
        raise Conflict("is_piece", "This is a piece of a file; put it together with the others.")
    _require_whole(session)
    release_connection()  # those who wait must leave one to the caller they wait for
    with (
        missing_spool_explained(session.id),
        storage_for(session).locks.settled(handle_of(session)),
    ):
        session = selectors.get_session(principal=principal, session_id=session_id)
        if session.status not in UploadSession.OPEN:
            return _outcome(session)
        if may_have_lost_parts(session):
            forget_lost_parts(session)
            session = selectors.get_session(principal=principal, session_id=session_id)
        # The previous holder of the upload may have found lost parts.
        size_bytes = _require_whole(session)
        return _finalize(session, size_bytes=size_bytes, md5=md5, actor=principal.actor)


def _outcome(session: UploadSession) -> IngestFile:
    """The result of an earlier finalize: the file, or the same error."""
    if session.status == SessionStatus.COMPLETE:
        return session.file
    raise original_error(session)


def _finalize(session: UploadSession, *, size_bytes: int, md5: str, actor: Actor) -> IngestFile:
    digest = hashlib.md5(usedforsecurity=False) if md5 else None

    def check(facts: Facts) -> None:
        if digest is not None:
            _require_md5(digest.hexdigest(), declared=md5)
        _require_declared_sha256(session, facts.sha256)
        grants.check_detected_type(facts.detected_type, grant_id=session.grant_id)

    try:
        facts, stored = prove_and_finish(session, size_bytes=size_bytes, check=check, also=digest)
    except (UnprocessableContent, UnsupportedType) as error:  # what `check` raises
        end_session(session, status=SessionStatus.FAILED, error=error, actor=actor)
        raise _why_ended(session) from error
    proof = Proof(facts.sha256, facts.detected_type, stored)
    file = _mark_stored(session, proof, actor=actor)
    if file is None:
        remove_spool(session)
        raise _why_ended(session)
    return file


def _why_ended(session: UploadSession) -> DooritoError:
    """The error as a repeated finalize will give it, even to the letter."""
    return original_error(UploadSession.objects.get(id=session.id))


def _mark_stored(session: UploadSession, proof: Proof, *, actor: Actor) -> IngestFile | None:
    """The session's end and the file's state, together; None when no longer open."""
    with transaction.atomic():
        completed = UploadSession.objects.filter(
            id=session.id, status__in=UploadSession.OPEN, received_bytes=F("length_bytes")
        ).change(status=SessionStatus.COMPLETE, last_activity_at=Now())
        return states.store(session.file_id, proof, actor=actor) if completed else None


def _require_whole(session: UploadSession) -> int:
    """The length of an upload that has all its bytes."""
    length = session.length_bytes
    if session.part_order == PartOrder.NUMBERED:
        missing = selectors.missing_ranges(session)
        if missing:
            raise InvalidInput(
                "parts_missing",
                f"Parts are missing: {missing}. Send them, then finalize.",
                missing_parts=missing,
            )
    if length is None or session.received_bytes != length:
        raise InvalidInput(
            "upload_incomplete",
            f"{session.received_bytes} bytes were received; "
            + ("say how many there will be." if length is None else f"{length} are expected."),
            received_bytes=session.received_bytes,
            length_bytes=length,
        )
    return length


def _require_md5(md5: str, *, declared: str) -> None:
    if md5 != declared:
        raise UnprocessableContent(
            "md5_mismatch",
            f"The file's MD5 is {md5}, not the declared {declared}. It was not kept; upload it "
            "again.",
        )


def _require_declared_sha256(session: UploadSession, sha256: str) -> None:
    if session.declared_sha256 and session.declared_sha256 != sha256:
        raise UnprocessableContent(
            "sha256_mismatch",
            f"The file's SHA-256 is {sha256}, not the declared {session.declared_sha256}. "
            "It was not kept; upload it again.",
        )
