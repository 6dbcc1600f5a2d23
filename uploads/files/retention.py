"""What leaves, and when. Every function does a bounded batch and says how much it did.

A removal is three steps, each of which a sweep finds again after a kill: the row is marked (with
its event), the bytes go, the row is finished.
"""

import logging
from uuid import UUID

from django.db.models.functions import Now

from uploads.files import holds, hooks, states
from uploads.files.batches import close_if_idle, idle_batches
from uploads.files.expiry import expiry_notice_from, tombstone_before
from uploads.models import FileStatus, IngestFile
from uploads.storage import object_of, storage_for

logger = logging.getLogger(__name__)

BATCH = 200
MOST_STUCK = 10 * BATCH


def notify_expiring_files() -> int:
    """Emit `file.expiring` once for files that are about to expire."""
    return states.announce_expiring(before=expiry_notice_from(), limit=BATCH)


def expire_files() -> int:
    """Mark stored files past their expiry as deleted; `purge_files` removes the bytes.

    A file that is worked on stays until that has ended.
    """
    unused = (~condition for condition in hooks.keeps_file)
    expired = (
        IngestFile.objects.filter(*unused, status=FileStatus.STORED, expires_at__lte=Now())
        .order_by("expires_at")
        .values_list("id", flat=True)
    )
    return sum(states.expire(file_id) for file_id in list(expired[:BATCH]))


def purge_files() -> int:
    """Remove the bytes of deleted and consumed files whose time has come.

    None is being read or held. Files whose bytes cannot be removed do not keep all others: they are
    passed over.
    """
    unread = (~condition for condition in hooks.keeps_bytes)
    due = IngestFile.objects.filter(
        *unread,
        ~holds.held(),
        purge_at__lte=Now(),
        purge_at__isnull=False,
        purged_at__isnull=True,
    ).order_by("purge_at")
    stuck: list[UUID] = []
    while len(stuck) < MOST_STUCK and (batch := list(due.exclude(id__in=stuck)[:BATCH])):
        failed = [file.id for file in batch if not _purge(file)]
        if len(failed) < len(batch):
            return len(batch) - len(failed)
        stuck += failed
    return 0


def close_idle_batches() -> int:
    """Close batches that were left open; `batch.completed` then tells of what is in them."""
    idle = idle_batches().order_by("updated_at").values_list("id", flat=True)
    return sum(close_if_idle(batch_id) for batch_id in list(idle[:BATCH]))


def purge_tombstones() -> int:
    """Delete the records of files that are long gone, with their sessions; not while runs tell of
    them, whose own retention comes first.
    """
    return states.forget_gone(before=tombstone_before(), limit=BATCH)


def _purge(file: IngestFile) -> bool:
    try:
        storage_for(file).objects.delete(object_of(file))
    except OSError:  # a later sweep tries it again
        logger.exception("The bytes of file %s cannot be removed", file.id)
        return False
    return states.mark_purged(file.id)
