"""Uploads that grow at their end: each request appends; a broken request's bytes are kept."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from accounts.principals import Principal
from common.db import release_connection
from common.errors import Conflict, DooritoError, InvalidInput
from common.http.digests import Digest
from uploads import policy, selectors
from uploads.files import states
from uploads.files.acceptance import checks
from uploads.files.expiry import session_expiry
from uploads.models import FileStatus, PartOrder, UploadSession
from uploads.receiving import turns
from uploads.receiving.bodies import require_declared
from uploads.receiving.digests import Prefix, part_digester, prefix_digester
from uploads.receiving.endings import missing_spool_explained, require_open
from uploads.receiving.intake import Digester, Intake
from uploads.receiving.record import Range, record_at_the_end
from uploads.storage import handle_of, storage_for
from uploads.storage.base import RangeWriter

_DIGEST = "blake3"
# A long body is saved after so much, or so long: a kill loses no more, and whoever looks at the
# upload sees it grow.
CHECKPOINT_BYTES = 64 * 2**20
CHECKPOINT_SECONDS = 5.0


@dataclass(frozen=True)
class Progress:
    """Where an upload ends now.

    `length_bytes` None: its length is not known yet. `expires_at` None: it is complete.
    `is_checked`: all of it is there, and whether it is stored is being decided.
    """

    session_id: UUID
    offset_bytes: int
    length_bytes: int | None
    expires_at: datetime | None
    is_piece: bool
    is_checked: bool
    door_data: dict[str, Any]

    @classmethod
    def of(cls, session: UploadSession) -> Self:
        is_open = session.status in UploadSession.OPEN
        return cls(
            session_id=session.id,
            offset_bytes=session.received_bytes,
            length_bytes=session.length_bytes,
            expires_at=session_expiry(session.last_activity_at) if is_open else None,
            is_piece=session.file.is_piece,
            is_checked=session.file.status == FileStatus.CHECKING,
            door_data=session.door_data,
        )

    @property
    def is_whole(self) -> bool:
        return self.offset_bytes == self.length_bytes


def append(
    *,
    principal: Principal,
    session_id: UUID,
    offset: int,
    blocks: Iterator[memoryview],
    declared: Digest | None = None,
    length_bytes: int | None = None,
    let_go: Callable[[], object] = lambda: None,
) -> Progress:
    """Append a body at `offset`, which must be where the upload ends.

    If the body breaks off, the bytes that arrived are kept before its error is raised, unless a
    digest was `declared`: then the whole body counts, or nothing. `length_bytes` is declared first
    (see `declare_length`). Another request that is appending has to give way; `let_go` is called,
    from another thread, when this one has to, and should end `blocks`.

    Raises NotFound, Gone `session_…`, Conflict `offset_mismatch` (with `offset_bytes`, where the
    upload ends), `superseded`, `part_in_progress` or `not_appendable`, InvalidInput
    `beyond_length`, PayloadTooLarge `file_too_large`, UnprocessableContent `digest_mismatch`,
    InsufficientStorage `no_room`, what `declare_length` and what `blocks` raises.
    """
    session = _appendable(principal, session_id)
    with (
        missing_spool_explained(session_id),
        turns.sole_writer(session, offset=offset) as wish,
    ):
        session = _appendable(principal, session_id)  # only now nobody else appends
        turns.require_latest(session, wish)
        _require_at_end(session, offset)
        if length_bytes is not None:
            declare_length(principal=principal, session_id=session_id, length_bytes=length_bytes)
            session.length_bytes = length_bytes
        release_connection()
        with turns.turn_of(session, let_go=let_go) as turn:
            body = _Body(turn.blocks(_within(session, offset, blocks)))
            while not body.is_over:
                _append_some(session, body, declared=declared)
        if body.error is not None:
            raise body.error
    return Progress.of(session)


def declare_length(*, principal: Principal, session_id: UUID, length_bytes: int) -> None:
    """Say how long an upload will be whose length was not known. Repeating it is harmless.

    Raises NotFound, Gone, InvalidInput `length_too_small`, Conflict `length_known` for another
    length than before, PayloadTooLarge `file_too_large`, InsufficientStorage `no_room`.
    """
    policy.check_size(length_bytes)
    checks.require_checkable(length_bytes)
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

    @property
    def is_superseded(self) -> bool:
        return self.error is not None and self.error.code == turns.superseded().code

    def whole(self) -> Iterator[memoryview]:
        while (block := self._next()) is not None:
            yield block

    def piece(self) -> Iterator[memoryview]:
        """The next blocks, until it is time for a checkpoint."""
        taken = 0
        until = time.monotonic() + CHECKPOINT_SECONDS
        while taken < CHECKPOINT_BYTES and (block := self._next()) is not None:
            taken += block.nbytes
            yield block
            if time.monotonic() > until:
                return

    def _next(self) -> memoryview | None:
        try:
            return next(self._blocks)
        except StopIteration:
            self.is_over = True
        except DooritoError as error:
            self.is_over, self.error = True, error
        return None


def _append_some(session: UploadSession, body: _Body, *, declared: Digest | None) -> None:
    """Append a piece of the body. Brings what changes with it in `session` up to date."""
    offset = session.received_bytes
    digester = part_digester(_DIGEST)
    rolling = prefix_digester(Prefix(session.hashed_bytes, session.hash_state), offset=offset)
    promised = part_digester(declared.algorithm) if declared else None
    digesters: list[Digester] = [each for each in (digester, rolling, promised) if each is not None]
    with _writer(session) as writer:
        intake = Intake(writer, digesters)
        intake.take(body.whole() if declared else body.piece())
        if body.is_superseded or (declared and body.error is not None):
            return
        if promised:
            require_declared(promised.digest(), declared=declared)
        if writer is not None and intake.size_bytes:
            taken = Range(writer.commit(), Digest(_DIGEST, digester.digest()), prefix=rolling)
            _record(session, taken)


def _writer(session: UploadSession) -> AbstractContextManager[RangeWriter | None]:
    """None for an upload that has all its bytes: it may be finished, and is not to be touched."""
    if session.received_bytes == session.length_bytes:
        return nullcontext()
    uploads = storage_for(session).uploads
    return uploads.write(handle_of(session), offset=session.received_bytes, size_bytes=None)


def _record(session: UploadSession, taken: Range) -> None:
    recorded = record_at_the_end(session.id, taken)
    if recorded is None:
        current = UploadSession.objects.get(id=session.id)
        require_open(current)
        raise _not_at_end(current)  # a request that was killed had recorded it after all
    session.received_bytes, session.last_activity_at = recorded.received_bytes, recorded.at
    if taken.prefix is not None:
        session.hashed_bytes, session.hash_state = recorded.received_bytes, taken.prefix.state()


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
