"""Uploads that grow at their end: each request appends; a broken request's bytes are kept."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from accounts.principals import Principal
from common.db import release_connection
from common.errors import Conflict, DooritoError, InvalidInput
from common.http.digests import Digest
from uploads import policy, selectors
from uploads.files import states
from uploads.models import PartOrder, UploadSession
from uploads.receiving.bodies import require_declared
from uploads.receiving.digests import Prefix, part_digester, prefix_digester
from uploads.receiving.endings import missing_spool_explained, require_open
from uploads.receiving.intake import Digester, Intake
from uploads.receiving.record import Range, record_at_the_end
from uploads.storage import handle_of, storage_for

CHECKPOINT_BYTES = 64 * 2**20  # a long body is saved after this much; a kill loses no more


@dataclass(frozen=True)
class Appended:
    """Where the upload ends now. `length_bytes` None: its length is not known yet."""

    offset_bytes: int
    length_bytes: int | None


def append(
    *,
    principal: Principal,
    session_id: UUID,
    offset: int,
    blocks: Iterator[memoryview],
    declared: Digest | None = None,
) -> Appended:
    """Append a body at `offset`, which must be where the upload ends.

    If the body breaks off, the bytes that arrived are kept before its error is raised, unless a
    digest was `declared`: then the whole body counts, or nothing.

    Raises NotFound, Gone `session_…`, Conflict `offset_mismatch` (with `offset_bytes`, where the
    upload ends), `part_in_progress` or `not_appendable`, InvalidInput `beyond_length`,
    PayloadTooLarge `file_too_large`, UnprocessableContent `digest_mismatch`, InsufficientStorage
    `no_room`, and what `blocks` raises.
    """
    session = _appendable(principal, session_id)
    store, handle = storage_for(session), handle_of(session)
    with (
        missing_spool_explained(session_id),
        store.locks.writing(handle, offset=offset, size_bytes=None),
    ):
        session = _appendable(principal, session_id)  # only now nobody else appends
        _require_at_end(session, offset)
        release_connection()
        body = _Body(_within(session, offset, blocks))
        at_most = None if declared else CHECKPOINT_BYTES
        while not body.is_over:
            session = _append_some(session, body, at_most=at_most, declared=declared)
        if body.error is not None:
            raise body.error
    return Appended(session.received_bytes, session.length_bytes)


def declare_length(*, principal: Principal, session_id: UUID, length_bytes: int) -> None:
    """Say how long an upload will be whose length was not known. Repeating it is harmless.

    Raises NotFound, Gone, InvalidInput `length_too_small`, Conflict `length_known` for another
    length than before, PayloadTooLarge `file_too_large`, InsufficientStorage `no_room`.
    """
    policy.check_size(length_bytes)
    session = _appendable(principal, session_id)
    if session.length_bytes is None:
        storage_for(session).uploads.resize(handle_of(session), size_bytes=length_bytes)
        with transaction.atomic():
            declared = UploadSession.objects.filter(
                Q(length_bytes=None),
                id=session_id,
                status__in=UploadSession.OPEN,
                received_bytes__lte=length_bytes,
            ).change(length_bytes=length_bytes)
            if declared:
                states.declare_size(session.file_id, size_bytes=length_bytes)
                return
        session = _appendable(principal, session_id)
    if session.length_bytes is None:
        raise InvalidInput(
            "length_too_small", f"{session.received_bytes} bytes were received already."
        )
    if session.length_bytes != length_bytes:
        raise Conflict("length_known", f"The upload has {session.length_bytes} bytes.")


class _Body:
    """Splits a body into pieces and remembers how it ended."""

    def __init__(self, blocks: Iterator[memoryview]) -> None:
        self._blocks = blocks
        self.is_over = False
        self.error: DooritoError | None = None

    def piece(self, *, at_most: int | None) -> Iterator[memoryview]:
        """The next blocks, until there are `at_most` bytes; None: until the end."""
        taken = 0
        while at_most is None or taken < at_most:
            try:
                block = next(self._blocks)
            except StopIteration:
                self.is_over = True
                return
            except DooritoError as error:
                self.is_over, self.error = True, error
                return
            taken += block.nbytes
            yield block


def _append_some(
    session: UploadSession, body: _Body, *, at_most: int | None, declared: Digest | None
) -> UploadSession:
    """Append a piece of the body. Returns the session as it is afterwards."""
    offset = session.received_bytes
    algorithm = declared.algorithm if declared else "blake3"
    digester = part_digester(algorithm)
    rolling = prefix_digester(Prefix(session.hashed_bytes, session.hash_state), offset=offset)
    digesters: list[Digester] = [digester] if rolling is None else [digester, rolling]
    with ExitStack() as stack:
        writer = stack.enter_context(
            storage_for(session).uploads.write(handle_of(session), offset=offset, size_bytes=None)
        )
        intake = Intake(writer, digesters)
        intake.take(body.piece(at_most=at_most))
        if declared and body.error is not None:
            return session
        require_declared(digester.digest(), declared=declared)
        if intake.size_bytes:
            taken = Range(writer.commit(), Digest(algorithm, digester.digest()), prefix=rolling)
            _record(session, taken)
    return UploadSession.objects.get(id=session.id)


def _record(session: UploadSession, taken: Range) -> None:
    if record_at_the_end(session.id, taken) is not None:
        return
    current = UploadSession.objects.get(id=session.id)
    require_open(current)
    raise _not_at_end(current)  # a request that was killed had recorded it after all


def _appendable(principal: Principal, session_id: UUID) -> UploadSession:
    session = selectors.get_session(principal=principal, session_id=session_id)
    require_open(session)
    if session.part_order != PartOrder.APPENDED:
        raise Conflict("not_appendable", "This upload takes parts, not appended bytes.")
    return session


def _require_at_end(session: UploadSession, offset: int) -> None:
    if session.received_bytes != offset:
        raise _not_at_end(session)


def _not_at_end(session: UploadSession) -> Conflict:
    return Conflict(
        "offset_mismatch",
        f"The upload has {session.received_bytes} bytes; go on from there.",
        offset_bytes=session.received_bytes,
    )


def _within(
    session: UploadSession, offset: int, blocks: Iterator[memoryview]
) -> Iterator[memoryview]:
    """Raises InvalidInput `beyond_length` or PayloadTooLarge for more than the upload may have."""
    for block in blocks:
        offset += block.nbytes
        if session.length_bytes is None:
            policy.check_size(offset)
        elif offset > session.length_bytes:
            raise InvalidInput(
                "beyond_length", f"The upload has {session.length_bytes} bytes, not more."
            )
        yield block
