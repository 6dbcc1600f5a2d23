"""A file that is sent in several uploads, which are put together in the end.

Each is a piece: an upload of its own, of which no file is made. The whole is a further upload that
gets the pieces' bytes, is hashed on the way and stored. Pieces can be used again until they expire.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Least, Now

from accounts.principals import Principal
from common.errors import DooritoError, InvalidInput
from uploads import selectors
from uploads.files.expiry import last_activity_of_used_pieces
from uploads.models import PartOrder, UploadSession
from uploads.receiving.appending import Progress, append
from uploads.receiving.digests import BLOCK_BYTES, reader_of, upload_blocks
from uploads.receiving.finalizing import FinalizeUnderWay, finalize_session
from uploads.receiving.lost_writes import forget_lost_parts, may_have_lost_parts
from uploads.receiving.proof import receipts_of
from uploads.receiving.requests import UploadRequest
from uploads.receiving.sessions import create_session, forget_unless_busy
from uploads.storage import handle_of, storage_for
from uploads.storage.base import ReadsBack

MAX_PIECES = 1000


def concatenate(
    *, principal: Principal, request: UploadRequest, piece_ids: Sequence[UUID]
) -> Progress:
    """Store the file that the pieces make in this order. `request` needs no size.

    Raises InvalidInput `unknown_piece`, `piece_incomplete` or `too_many_pieces`, and what
    `create_session`, `append` and `finalize_session` raise; then there is no file.
    """
    pieces = _whole_pieces(principal, piece_ids)
    request = replace(
        request,
        size_bytes=sum(piece.received_bytes for piece in pieces),
        part_order=PartOrder.APPENDED,
    )
    used = UploadSession.objects.filter(id__in=set(piece_ids), status__in=UploadSession.OPEN)
    used.update(last_activity_at=Now())  # no sweep takes them for idle while they are read
    session, _ = create_session(principal=principal, request=request)
    try:
        append(principal=principal, session_id=session.id, offset=0, blocks=_contents(pieces))
        with suppress(FinalizeUnderWay):  # whoever asks how far it is, is told so
            finalize_session(principal=principal, session_id=session.id)
    except DooritoError:
        forget_unless_busy(session, actor=principal.actor)
        raise
    used.update(last_activity_at=Least(F("last_activity_at"), last_activity_of_used_pieces()))
    return Progress.of(selectors.get_session(principal=principal, session_id=session.id))


def _whole_pieces(principal: Principal, piece_ids: Sequence[UUID]) -> list[UploadSession]:
    """The pieces in the order that is told; one may come twice."""
    if not 1 <= len(piece_ids) <= MAX_PIECES:
        raise InvalidInput("too_many_pieces", f"Put 1 to {MAX_PIECES} pieces together.")
    found = selectors.get_sessions(principal=principal, ids=piece_ids)
    for piece_id in piece_ids:
        if not _is_there(found.get(piece_id)):
            raise InvalidInput("unknown_piece", f"There is no partial upload {piece_id}.")
    pieces = {piece.id: _checked(principal, piece) for piece in found.values()}
    return [pieces[piece_id] for piece_id in piece_ids]


def _is_there(piece: UploadSession | None) -> bool:
    return piece is not None and piece.file.is_piece and piece.status in UploadSession.OPEN


def _checked(principal: Principal, piece: UploadSession) -> UploadSession:
    if may_have_lost_parts(piece):
        with storage_for(piece).locks.settled(handle_of(piece)):
            forget_lost_parts(piece)
        piece = selectors.get_session(principal=principal, session_id=piece.id)
    if piece.received_bytes != piece.length_bytes:
        raise InvalidInput(
            "piece_incomplete",
            f"Partial upload {piece.id} has {piece.received_bytes} of {piece.length_bytes} bytes; "
            "send the rest first.",
        )
    return piece


def _contents(pieces: list[UploadSession]) -> Iterator[memoryview]:
    for piece in pieces:
        with _content(piece) as blocks:
            yield from blocks


@contextmanager
def _content(piece: UploadSession) -> Iterator[Iterator[memoryview]]:
    """The bytes of a piece. A store that gives nothing back before it has finished does so now."""
    store, handle, size = storage_for(piece), handle_of(piece), piece.received_bytes
    if isinstance(store.uploads, ReadsBack):
        with reader_of(handle) as reader:
            yield upload_blocks(reader, start=0, end=size)
        return
    with store.locks.settled(handle):
        stored = store.uploads.finish(
            handle, receipts_of(piece, store, size_bytes=size), size_bytes=size
        )
    with store.objects.open(stored) as content:
        yield map(memoryview, iter(lambda: content.read(BLOCK_BYTES), b""))
