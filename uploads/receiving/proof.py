"""What the bytes of a whole upload are: their SHA-256 and their type.

How that is found out follows from what the store can do. Where an upload can be read back, the
digest has rolled along and the proof comes before finishing: what does not pass never becomes an
object. Elsewhere the object is read after finishing, once at most, and removed if it does not pass.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from common.db import release_connection
from uploads.files.content_types import HEAD_BYTES, detect_type
from uploads.models import PartOrder, UploadPart, UploadSession
from uploads.receiving.digests import (
    BLOCK_BYTES,
    complete_digest,
    digest_of,
    hash_object,
    reader_of,
)
from uploads.receiving.intake import Digester
from uploads.storage import Storage, StoredObject, handle_of, storage_for
from uploads.storage.base import ReadsBack, Receipt


@dataclass(frozen=True)
class Facts:
    """`sha256` is in lower-case hex."""

    sha256: str
    detected_type: str


def bytes_to_read(session: UploadSession, *, size_bytes: int) -> int:
    """How much of the finished object has to be read for its digest: none that was hashed before,
    and none where the upload can be read back.
    """
    if isinstance(storage_for(session).uploads, ReadsBack):
        return 0
    return size_bytes - session.hashed_bytes


def prove_and_finish(
    session: UploadSession,
    *,
    size_bytes: int,
    check: Callable[[Facts], None],
    also: Digester | None = None,
    on_round: Callable[[], bool] = lambda: True,
) -> tuple[Facts, StoredObject]:
    """Finish a whole upload that passes `check`; what it is, and where it lies now.

    `also` is fed with its bytes, if their order was told last: only then they are read anyway.

    The caller must hold the upload exclusively. Repeating it is harmless.
    Raises what `check` raises; then there is no object. MoreToRead where `on_round` ends it.
    """
    store = storage_for(session)
    receipts = receipts_of(session, store, size_bytes=size_bytes)
    if isinstance(store.uploads, ReadsBack):
        facts = _facts_of_upload(session, receipts, size_bytes=size_bytes, also=also)
        check(facts)
        return facts, _finish(session, store, receipts, size_bytes=size_bytes)
    stored = _finish(session, store, receipts, size_bytes=size_bytes)
    facts = _facts_of_object(
        session, store, stored, size_bytes=size_bytes, also=also, on_round=on_round
    )
    try:
        check(facts)
    except Exception:
        store.objects.delete(stored)
        raise
    return facts, stored


def receipts_of(session: UploadSession, store: Storage, *, size_bytes: int) -> list[Receipt]:
    """The ranges of a whole upload in the file's order.

    A store that writes in place needs no more than one for all, of which there may be very many,
    unless their order was told last.
    """
    in_place = isinstance(store.uploads, ReadsBack)
    if in_place and session.part_order != PartOrder.TOLD_LAST:
        return [Receipt(0, size_bytes)] if size_bytes else []
    parts = UploadPart.objects.filter(session=session).order_by("part_number")
    return [Receipt(*row) for row in parts.values_list("offset_bytes", "size_bytes", "receipt")]


def _facts_of_upload(
    session: UploadSession, receipts: list[Receipt], *, size_bytes: int, also: Digester | None
) -> Facts:
    handle = handle_of(session)
    if session.part_order == PartOrder.TOLD_LAST:
        spans = [(receipt.offset_bytes, receipt.size_bytes) for receipt in receipts]
        sha256 = digest_of(handle, spans, also=also)
    else:
        sha256 = complete_digest(session, length=size_bytes) or ""
    release_connection()
    head = b""
    with reader_of(handle) as reader:
        for receipt in receipts:
            buffer = memoryview(bytearray(min(HEAD_BYTES - len(head), receipt.size_bytes)))
            head += bytes(buffer[: reader.read_into(buffer, offset=receipt.offset_bytes)])
            if len(head) == HEAD_BYTES:
                break
    return Facts(sha256, detect_type(head))


def _facts_of_object(
    session: UploadSession,
    store: Storage,
    stored: StoredObject,
    *,
    size_bytes: int,
    also: Digester | None,
    on_round: Callable[[], bool],
) -> Facts:
    if also is not None:
        return _read_through(store, stored, also=also)
    sha256 = hash_object(session, stored, length=size_bytes, on_round=on_round)
    release_connection()
    with store.objects.open(stored, end=min(HEAD_BYTES, size_bytes)) as content:
        return Facts(sha256, detect_type(content.read()))


def _read_through(store: Storage, stored: StoredObject, *, also: Digester) -> Facts:
    release_connection()
    digest = hashlib.sha256()
    head = b""
    with store.objects.open(stored) as content:
        while block := content.read(BLOCK_BYTES):
            head = head or block[:HEAD_BYTES]
            digest.update(block)
            also.update(memoryview(block))
    return Facts(digest.hexdigest(), detect_type(head))


def _finish(
    session: UploadSession, store: Storage, receipts: list[Receipt], *, size_bytes: int
) -> StoredObject:
    return store.uploads.finish(handle_of(session), receipts, size_bytes=size_bytes)
