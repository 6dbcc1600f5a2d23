"""Small files, sent in a single request: a session of one part, begun and finalized at once."""

from collections.abc import Iterator
from dataclasses import replace

from accounts.principals import Principal
from common.errors import Conflict, Gone
from common.http.digests import Digest
from uploads import policy, selectors
from uploads.models import IngestFile, SessionStatus, UploadSession
from uploads.receiving.digests import part_digester
from uploads.receiving.parts import (
    PartRange,
    digest_of_repeat,
    receive_part,
    require_declared,
)
from uploads.receiving.requests import UploadRequest
from uploads.receiving.sessions import abort_unless_busy, create_session, finalize_session


def store_in_one_request(
    *,
    principal: Principal,
    request: UploadRequest,
    blocks: Iterator[memoryview],
    declared: Digest | None = None,
) -> IngestFile:
    """The stored file; for a repeated idempotency key with the same bytes, the one stored before.

    What fails leaves nothing behind. Raises what creating, receiving and finalizing raise, and
    Conflict `idempotency_key_reused` for other bytes.
    """
    size = policy.check_single_request_size(request.size_bytes)
    request = replace(request, chunk_size_bytes=policy.single_part_size(size))
    session, created = create_session(principal=principal, request=request)
    try:
        if session.status in UploadSession.OPEN:
            _receive(principal=principal, session=session, blocks=blocks, declared=declared)
        else:
            _require_same(session, blocks=blocks, declared=declared)
        return finalize_session(principal=principal, session_id=session.id)
    except Exception:
        if created:  # and no repeat of the request goes on with it
            abort_unless_busy(session)
        raise


def _receive(
    *,
    principal: Principal,
    session: UploadSession,
    blocks: Iterator[memoryview],
    declared: Digest | None,
) -> None:
    if session.total_parts == 0:
        if declared:
            require_declared(part_digester(declared.algorithm).digest(), declared=declared)
        return
    try:
        receive_part(
            principal=principal,
            session_id=session.id,
            part_number=1,
            length=session.file.size_bytes,
            blocks=blocks,
            declared=declared,
        )
    except Gone:  # a repeat of this request was quicker
        current = selectors.get_session(principal=principal, session_id=session.id)
        _require_same(current, blocks=blocks, declared=declared)


def _require_same(
    session: UploadSession, *, blocks: Iterator[memoryview], declared: Digest | None
) -> None:
    """The same bytes again as a complete session has stored, or a conflict."""
    if session.status != SessionStatus.COMPLETE:
        return  # finalizing says why
    whole = PartRange(1, 0, session.file.size_bytes)
    repeat = digest_of_repeat(whole, "sha-256", blocks=blocks, declared=declared)
    if repeat.hex() != session.file.sha256:
        raise Conflict(
            "idempotency_key_reused",
            "This idempotency key was used for a file with other bytes; choose a new one.",
        )
