"""Uploads whose store may have lost what it took.

A part counts as received once the store has it. A store on the machine's own disk may have it in
memory only, and lose it with the machine's power, although the database knows of it. So an upload
that finishes in another epoch of its store than it began in is checked part by part.
"""

import logging

from django.db import transaction
from django.db.models import F

from common.db import release_connection
from common.errors import ServiceUnavailable
from uploads.models import PartOrder, UploadPart, UploadSession
from uploads.receiving.digests import part_digester, reader_of, upload_blocks
from uploads.receiving.record import number_anew
from uploads.storage import Storage, handle_of, storage_for
from uploads.storage.base import MayLoseWrites, UploadReader

logger = logging.getLogger(__name__)


def epoch_of(store: Storage) -> str:
    """The store's epoch; "" where nothing that was taken can be lost."""
    return store.uploads.epoch() if isinstance(store.uploads, MayLoseWrites) else ""


def may_have_lost_parts(session: UploadSession) -> bool:
    return session.storage_epoch != epoch_of(storage_for(session))


def forget_lost_parts(session: UploadSession) -> None:
    """Forget the parts whose bytes are not what was received; their senders send them again.

    Of an upload that was appended to, all that follows the first of them goes too: it is sent
    again from there. The caller must hold the upload exclusively.
    """
    parts = list(UploadPart.objects.filter(session=session).order_by("part_number"))
    release_connection()
    with reader_of(handle_of(session)) as reader:
        lost = [part for part in parts if not _is_intact(part, reader)]
    if lost and session.part_order == PartOrder.APPENDED:
        lost = parts[parts.index(lost[0]) :]
    _forget(session, lost)


def forget_parts_at(session: UploadSession, offsets: list[int]) -> None:
    """Forget the parts that begin at `offsets`, which the store does not have as they came.

    As `forget_lost_parts`.
    """
    parts = UploadPart.objects.filter(session=session)
    if session.part_order == PartOrder.APPENDED:
        _forget(session, list(parts.filter(offset_bytes__gte=min(offsets))))
    else:
        _forget(session, list(parts.filter(offset_bytes__in=offsets)))


def _forget(session: UploadSession, lost: list[UploadPart]) -> None:
    told_last = session.part_order == PartOrder.TOLD_LAST
    with transaction.atomic():
        UploadPart.objects.filter(id__in=[part.id for part in lost]).delete()
        if lost and told_last:  # the order is told anew, and new parts count from the last one on
            UploadSession.objects.filter(id=session.id).update(total_parts=None)
            rest = UploadPart.objects.filter(session=session).order_by("part_number")
            number_anew(session.id, list(rest.values_list("id", flat=True)))
        UploadSession.objects.filter(id=session.id, status__in=UploadSession.OPEN).update(
            received_parts_count=F("received_parts_count") - len(lost),
            received_bytes=F("received_bytes") - sum(part.size_bytes for part in lost),
            hash_state=None,
            hashed_bytes=0,
            storage_epoch=epoch_of(storage_for(session)),
        )


def _is_intact(part: UploadPart, reader: UploadReader) -> bool:
    digester = part_digester(part.digest_algorithm)
    end = part.offset_bytes + part.size_bytes
    try:
        for block in upload_blocks(reader, start=part.offset_bytes, end=end):
            digester.update(block)
    except (OSError, ServiceUnavailable) as exc:
        logger.warning("part %s of session %s is lost: %s", part.part_number, part.session_id, exc)
        return False
    return bool(digester.hexdigest() == part.digest)
