"""The end of an upload: its bytes are proven and finished, and the file is accepted and stored.

Where a store gives nothing back before an upload is finished, what was not hashed on its way in is
read once from the object. A little is read at once; for more, a worker does it, and the session
says how far it is (`uploads.receiving.reading`).
"""

import hashlib
from collections.abc import Callable
from uuid import UUID

from accounts.principals import Actor, Principal
from common.db import release_connection
from common.errors import (
    Conflict,
    DooritoError,
    InvalidInput,
    ServiceUnavailable,
    UnprocessableContent,
)
from uploads import selectors
from uploads.files.acceptance import checks
from uploads.files.acceptance.base import Candidate, LeftToWorker, Proof
from uploads.files.acceptance.checks import REFUSALS, Accepted
from uploads.models import (
    FileStatus,
    IngestFile,
    PartOrder,
    SessionStatus,
    Transfer,
    UploadSession,
)
from uploads.receiving import accepting, reading_queue
from uploads.receiving.direct import adopt_parts
from uploads.receiving.endings import missing_spool_explained, original_error
from uploads.receiving.lost_writes import (
    forget_lost_parts,
    forget_parts_at,
    may_have_lost_parts,
)
from uploads.receiving.proof import Facts, bytes_to_read, prove_and_finish
from uploads.receiving.sessions import end_session, remove_spool
from uploads.storage import handle_of, storage_for
from uploads.storage.base import PartsLost

AT_ONCE_BYTES = 64 * 2**20  # that a request reads itself, rather than a worker


class FinalizeUnderWay(Conflict):
    """A worker reads the upload through, or checks it. `session` says how far it is."""

    def __init__(self, session: UploadSession) -> None:
        doing = "checked" if session.file.status == FileStatus.CHECKING else "read through"
        super().__init__(
            "finalize_in_progress",
            f"The upload is being {doing}. Look at its session, and finalize again.",
            retry_after=2,
        )
        self.session = session

    @property
    def is_proven(self) -> bool:
        """Whether nothing more is to be sent, and only its acceptance is to be decided."""
        return self.session.file.status == FileStatus.CHECKING


def finalize_session(*, principal: Principal, session_id: UUID, md5: str = "") -> IngestFile:
    """Prove and store the file; the same answer when repeated.

    `md5`, in hex, is checked besides, of an upload whose parts' order was told last.

    Raises NotFound, Gone `session_aborted`, InvalidInput `parts_missing` or `upload_incomplete`,
    UnprocessableContent `sha256_mismatch` or `md5_mismatch`, what the checks of acceptance refuse
    it for, such as UnsupportedType `type_not_allowed`, Conflict `is_piece` for what is only a piece
    of a file, or `finalize_in_progress`: FinalizeUnderWay once a worker has taken it over.
    """
    session = selectors.get_session(principal=principal, session_id=session_id)
    if session.status not in UploadSession.OPEN:
        return _outcome(session)
    if session.file.is_piece:
        raise Conflict("is_piece", "This is a piece of a file; put it together with the others.")
    require_not_under_way(session)
    if session.transfer != Transfer.DIRECT:
        _require_whole(session)
    release_connection()  # those who wait must leave one to the caller they wait for
    with (
        missing_spool_explained(session.id),
        storage_for(session).locks.settled(handle_of(session)),
    ):
        session = selectors.get_session(principal=principal, session_id=session_id)
        if session.status not in UploadSession.OPEN:
            return _outcome(session)
        require_not_under_way(session)
        if session.transfer == Transfer.DIRECT:
            adopt_parts(session)
            session = selectors.get_session(principal=principal, session_id=session_id)
        if may_have_lost_parts(session):
            forget_lost_parts(session)
            session = selectors.get_session(principal=principal, session_id=session_id)
        # The previous holder of the upload may have found lost parts.
        size_bytes = _require_whole(session)
        # An MD5 is known to this request alone: a worker would not ask for it.
        if not md5 and bytes_to_read(session, size_bytes=size_bytes) > AT_ONCE_BYTES:
            reading_queue.put(session, actor=principal.actor)
            raise FinalizeUnderWay(
                selectors.get_session(principal=principal, session_id=session_id)
            )
        try:
            return finish_session(session, size_bytes=size_bytes, md5=md5, actor=principal.actor)
        except PartsLost as lost:
            forget_parts_at(session, lost.offsets)
            _require_whole(selectors.get_session(principal=principal, session_id=session_id))
            raise


def require_not_under_way(session: UploadSession) -> None:
    """Raises FinalizeUnderWay."""
    if session.finalizing_at is not None:
        raise FinalizeUnderWay(session)


def _outcome(session: UploadSession) -> IngestFile:
    """The result of an earlier finalize: the file, or the same error."""
    if session.status == SessionStatus.COMPLETE:
        return session.file
    raise original_error(session)


def finish_session(
    session: UploadSession,
    *,
    size_bytes: int,
    actor: Actor,
    md5: str = "",
) -> IngestFile:
    """Prove, finish and store an upload that the caller holds exclusively, and that is whole.

    Raises as `finalize_session`, PartsLost.
    """
    candidate, proof = _proven(session, size_bytes=size_bytes, actor=actor, md5=md5)
    try:
        accepted = accepting.accept_at_once(candidate, proof)
    except REFUSALS as error:
        accepting.hold(session, proof, waits_for=accepting.decided(error), actor=actor)
        raise accepting.refuse(session, error, actor=actor) from error
    if not isinstance(accepted, Accepted):
        _hold(session, proof, waits_for=accepted, actor=actor)
    elif file := accepting.mark_stored(session, accepted, actor=actor):
        return file
    raise _why_ended(session)


def finish_by_worker(
    session: UploadSession, *, size_bytes: int, actor: Actor, on_round: Callable[[], bool]
) -> None:
    """The same for a worker, which checks the file in a turn of its own where that means reading.

    Raises as `finish_session`, MoreToRead where `on_round` ends it.
    """
    _, proof = _proven(session, size_bytes=size_bytes, actor=actor, on_round=on_round)
    if checks.reads_content():
        _hold(session, proof, waits_for=LeftToWorker(), actor=actor)
    elif not accepting.mark_stored(session, Accepted(proof), actor=actor):
        raise _why_ended(session)


def _proven(
    session: UploadSession,
    *,
    size_bytes: int,
    actor: Actor,
    md5: str = "",
    on_round: Callable[[], bool] = lambda: True,
) -> tuple[Candidate, Proof]:
    digest = hashlib.md5(usedforsecurity=False) if md5 else None

    def candidate(facts: Facts) -> Candidate:
        file = session.file
        return Candidate(
            filename=file.original_filename,
            size_bytes=size_bytes,
            content_type=file.content_type,
            detected_type=facts.detected_type,
            grant_id=session.grant_id,
        )

    def check(facts: Facts) -> None:
        if digest is not None:
            _require_md5(digest.hexdigest(), declared=md5)
        _require_declared_sha256(session, facts.sha256)
        checks.check_facts(candidate(facts))

    try:
        facts, stored = prove_and_finish(
            session, size_bytes=size_bytes, check=check, also=digest, on_round=on_round
        )
    except REFUSALS as error:  # what `check` raises
        end_session(session, status=SessionStatus.FAILED, error=error, actor=actor)
        raise _why_ended(session) from error
    return candidate(facts), Proof(facts.sha256, facts.detected_type, stored)


def _hold(
    session: UploadSession, proof: Proof, *, waits_for: ServiceUnavailable, actor: Actor
) -> None:
    """Raises FinalizeUnderWay, unless the upload has ended meanwhile."""
    if accepting.hold(session, proof, waits_for=waits_for, actor=actor):
        raise FinalizeUnderWay(UploadSession.objects.select_related("file").get(id=session.id))


def _why_ended(session: UploadSession) -> DooritoError:
    """The error as a repeated finalize will give it, even to the letter. Its bytes are freed."""
    remove_spool(session)
    return original_error(UploadSession.objects.get(id=session.id))


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
