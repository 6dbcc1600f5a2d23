"""Small files, sent in a single request: no session, no parts.

The body is hashed on its way to the disk, and one transaction makes the file, its event and, for
an idempotency key, the session that a repeat finds.
"""

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from accounts.principals import Principal
from common.db import release_connection
from common.errors import Conflict, DooritoError, ServiceUnavailable, UnprocessableContent
from common.http.digests import Digest
from common.ids import uuid7
from uploads import policy, selectors
from uploads.files import grants, lifecycle, states
from uploads.files.acceptance import checks
from uploads.files.acceptance.base import Candidate, Proof
from uploads.files.acceptance.checks import REFUSALS, Accepted
from uploads.files.content_types import detect_type
from uploads.models import FileStatus, IngestFile, SessionStatus, UploadSession
from uploads.receiving import accepting
from uploads.receiving.bodies import (
    PartRange,
    digest_of_repeat,
    no_more_than,
    require_declared,
    require_whole,
)
from uploads.receiving.digests import part_digester
from uploads.receiving.endings import original_error
from uploads.receiving.intake import Intake, with_head
from uploads.receiving.requests import UploadRequest
from uploads.receiving.sessions import forget_unless_busy, session_of_key
from uploads.storage import Storage, StoredObject, UploadHandle, storage_for_new
from uploads.storage.base import ObjectWriter


def store_in_one_request(
    *,
    principal: Principal,
    request: UploadRequest,
    blocks: Iterator[memoryview],
    declared: Digest | None = None,
) -> IngestFile:
    """The stored file, or one that is being checked and stored later.

    For a repeated idempotency key with the same bytes it is the one from before. What fails leaves
    nothing behind, but a record of content that was refused. Raises InvalidInput, PayloadTooLarge
    `file_too_large`, UnprocessableContent `digest_mismatch` or `sha256_mismatch`, what the checks
    of acceptance refuse it for, such as UnsupportedType `type_not_allowed`, NotFound
    `batch_not_found`, Conflict `batch_closed`, `idempotency_key_reused` or `upload_in_progress`,
    InsufficientStorage `no_room`, and what the owner's limits raise (`limits.enforce`).
    """
    size = policy.check_single_request_size(request.size_bytes or 0)
    request = replace(request, chunk_size_bytes=policy.single_part_size(size)).checked()
    request = request.under_grant(principal)
    # Before the body is taken; the transaction looks again. A guest's batch is the grant's.
    if request.batch_id and not principal.is_guest:
        selectors.get_batch(principal=principal, batch_id=request.batch_id)
    known = session_of_key(principal=principal, request=request)
    if known is not None and (file := _stored_before(known, principal)) is not None:
        _require_same(file, blocks=blocks, declared=declared)
        return file
    if request.idempotency_key is None:  # else it may be that of a repeat, which needs no room
        grants.require_room(principal, size_bytes=size)
    store = storage_for_new()
    file_id = uuid7()
    release_connection()  # the body may take its time
    with store.uploads.put(file_id.hex, size_bytes=request.size_bytes or 0) as writer:
        proof = _take(principal, request, writer, blocks=blocks, declared=declared)
        return _accepted(principal, request, file_id, proof, store)


def _take(
    principal: Principal,
    request: UploadRequest,
    writer: ObjectWriter,
    *,
    blocks: Iterator[memoryview],
    declared: Digest | None,
) -> Proof:
    whole = _whole(request.size_bytes or 0)
    sha256 = part_digester("sha-256")
    promised = part_digester(declared.algorithm) if declared else None
    head = bytearray()
    intake = Intake(writer, [sha256, promised] if promised else [sha256])
    intake.take(with_head(head, no_more_than(whole, blocks)))
    require_whole(whole, received=intake.size_bytes)
    if promised:
        require_declared(promised.digest(), declared=declared)
    if request.sha256 and request.sha256 != sha256.hexdigest():
        raise UnprocessableContent(
            "sha256_mismatch",
            f"The file's SHA-256 is {sha256.hexdigest()}, not the declared {request.sha256}. "
            "It was not kept; upload it again.",
        )
    detected = detect_type(bytes(head))
    checks.check_facts(_candidate(principal, request, detected))
    return Proof(sha256.hexdigest(), detected, writer.commit())


def _candidate(principal: Principal, request: UploadRequest, detected: str) -> Candidate:
    return Candidate(
        filename=request.filename,
        size_bytes=request.size_bytes or 0,
        content_type=request.content_type,
        detected_type=detected,
        grant_id=principal.grant_id,
    )


def _accepted(
    principal: Principal, request: UploadRequest, file_id: UUID, proof: Proof, store: Storage
) -> IngestFile:
    """Stored, or to be checked by a worker. What is refused is on record before that is said."""
    candidate = _candidate(principal, request, proof.detected_type)
    try:
        accepted = accepting.accept_at_once(candidate, proof)
    except REFUSALS as refusal:
        why = accepting.decided(refusal)
        file = _insert(principal, request, file_id, proof, store, accepted=why)
        if file.id != file_id:  # another request with the same key was faster
            return file
        session = UploadSession.objects.get(file=file)
        raise accepting.refuse(session, refusal, actor=principal.actor) from refusal
    except (DooritoError, OSError):
        _discard(store, proof.stored)
        raise
    return _insert(principal, request, file_id, proof, store, accepted=accepted)


def _insert(
    principal: Principal,
    request: UploadRequest,
    file_id: UUID,
    proof: Proof,
    store: Storage,
    *,
    accepted: Accepted | ServiceUnavailable,
) -> IngestFile:
    """The rows of a file whose bytes are stored; without them, the bytes go again.

    After any other error than ours the rows may be there; if not, a sweep frees the bytes.
    """
    try:
        with transaction.atomic():
            new = request.new_file(principal, file_id)
            session = _new_session(principal, request, file_id, proof.stored)
            if not isinstance(accepted, Accepted):
                return accepting.hold_new(
                    session, new, proof, waits_for=accepted, actor=principal.actor
                )
            if request.idempotency_key is not None:  # first, as wherever a session begins
                session.save(force_insert=True)
            file = states.store_new(new, accepted, actor=principal.actor)
            return lifecycle.keep_at_least(file, seconds=request.keep_seconds)
    except IntegrityError:
        _discard(store, proof.stored)
        known = session_of_key(principal=principal, request=request)
        if known is None:
            raise
        same = _stored_before(known, principal)
        if same is None or same.sha256 != proof.sha256:
            raise _other_bytes() from None
        return same
    except DooritoError:
        _discard(store, proof.stored)
        raise


def _discard(store: Storage, stored: StoredObject) -> None:
    store.uploads.discard(UploadHandle(stored.backend, stored.key))


def _new_session(
    principal: Principal, request: UploadRequest, file_id: UUID, stored: StoredObject
) -> UploadSession:
    """A session that is complete from the start, so that a repeated key is recognised."""
    size = request.size_bytes or 0
    parts = 1 if size else 0
    return UploadSession(
        file_id=file_id,
        created_by=principal.owner,
        grant_id=principal.grant_id,
        status=SessionStatus.COMPLETE,
        length_bytes=size,
        chunk_size_bytes=max(size, 1),
        total_parts=parts,
        received_parts_count=parts,
        received_bytes=size,
        declared_sha256=request.sha256,
        idempotency_key=request.idempotency_key,
        request_digest=request.digest(),
        keep_seconds=request.keep_seconds,
        storage_backend=stored.backend,
        spool_key=stored.key,
        last_activity_at=Now(),
        parts_purged_at=Now(),
    )


def _stored_before(known: UploadSession, principal: Principal) -> IngestFile | None:
    """What the same request stored before; None where it came to nothing, and may try again.

    Raises what it was refused for, Conflict `upload_in_progress` while a session of this key
    receives.
    """
    if known.file.status == FileStatus.CHECKING:
        return known.file
    if known.status in UploadSession.OPEN:
        forget_unless_busy(known, actor=principal.actor)
        known.refresh_from_db()
    if known.status in UploadSession.OPEN:
        raise Conflict(
            "upload_in_progress",
            "A session with this idempotency key is receiving the file; wait for it.",
            retry_after=2,
        )
    if known.status == SessionStatus.COMPLETE:
        return known.file
    if known.status == SessionStatus.FAILED:
        raise original_error(known)
    return None


def _require_same(
    file: IngestFile, *, blocks: Iterator[memoryview], declared: Digest | None
) -> None:
    """Require that the body repeats the stored bytes; otherwise it is a conflict."""
    release_connection()
    whole = _whole(file.size_bytes)
    repeat = digest_of_repeat(whole, "sha-256", blocks=blocks, declared=declared)
    if repeat.hex() != file.sha256:
        raise _other_bytes()


def _other_bytes() -> Conflict:
    return Conflict(
        "idempotency_key_reused",
        "This idempotency key was used for a file with other bytes; choose a new one.",
    )


def _whole(size_bytes: int) -> PartRange:
    return PartRange(1, 0, size_bytes)
