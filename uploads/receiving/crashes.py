"""Uploads that outlived a crash of the machine.

A part counts as received once its bytes are with the kernel: that survives the death of any
process, but a power failure can lose what was not flushed yet, although the database knows of it.
So an upload that finishes in another run of the machine than it began in is checked part by part.
"""

import logging
from functools import cache
from pathlib import Path

from django.db import transaction
from django.db.models import F

from common.db import release_connection
from uploads.models import UploadPart, UploadSession
from uploads.receiving.digests import part_digester, upload_blocks
from uploads.storage import storage
from uploads.storage.base import UploadReader

logger = logging.getLogger(__name__)


@cache
def boot_id() -> str:
    """Names this run of the machine (random(4)); "" where the system does not tell."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def survived_crash(session: UploadSession) -> bool:
    return session.boot_id != boot_id()


def distrust(session: UploadSession) -> None:
    """Forget the parts whose bytes are not what was received; their senders send them again.

    The caller must hold the upload exclusively.
    """
    parts = list(UploadPart.objects.filter(session=session).order_by("part_number"))
    release_connection()
    with storage().reader(session.spool_key) as reader:
        lost = [part for part in parts if not _is_intact(part, reader)]
    with transaction.atomic():
        UploadPart.objects.filter(id__in=[part.id for part in lost]).delete()
        UploadSession.objects.filter(id=session.id, status__in=UploadSession.OPEN).update(
            received_parts_count=F("received_parts_count") - len(lost),
            received_bytes=F("received_bytes") - sum(part.size_bytes for part in lost),
            hash_state=None,
            hashed_bytes=0,
            boot_id=boot_id(),
        )


def _is_intact(part: UploadPart, reader: UploadReader) -> bool:
    digester = part_digester(part.digest_algorithm)
    end = part.offset_bytes + part.size_bytes
    try:
        for block in upload_blocks(reader, start=part.offset_bytes, end=end):
            digester.update(block)
    except OSError as exc:
        logger.warning("part %s of session %s is lost: %s", part.part_number, part.session_id, exc)
        return False
    return bool(digester.hexdigest() == part.digest)
