"""What leaves, and when. Every function does a bounded batch and says how much it did.

A removal is three steps, each of which a sweep finds again after a kill: the row is marked (with
its event), the bytes go, the row is finished.
"""

import logging
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, QuerySet
from django.utils import timezone

from common.errors import Gone
from uploads.models import (
    FileStatus,
    IngestFile,
    RunStatus,
    SessionStatus,
    UploadPart,
    UploadSession,
    WorkflowRun,
)
from uploads.services.announce import announce_file
from uploads.services.expiry import expiry_notice_from, idle_before
from uploads.services.files import active_runs, mark_expired
from uploads.services.run_results import discard_unfinished
from uploads.services.sessions import end_session, remove_spool
from uploads.storage import storage

logger = logging.getLogger(__name__)

BATCH = 200
PARTS_BATCH = 20  # sessions, of up to 10,000 parts each
MOST_STUCK = 10 * BATCH
_SETTLE = timedelta(minutes=10)  # younger leftovers may belong to a request that still runs


def notify_expiring_files() -> int:
    """Emit `file.expiring` once for files that are about to expire."""
    now = timezone.now()
    with transaction.atomic():
        due = list(
            IngestFile.objects.filter(
                status=FileStatus.STORED,
                expiry_notified_at__isnull=True,
                expires_at__gt=now,
                expires_at__lte=expiry_notice_from(now),
            )
            .select_related("uploaded_by")
            .locked()
            .order_by("expires_at")[:BATCH]
        )
        for file in due:
            announce_file("file.expiring", file)
        IngestFile.objects.filter(id__in=[file.id for file in due]).update(expiry_notified_at=now)
    return len(due)


def expire_files() -> int:
    """Mark stored files past their expiry as deleted; `purge_files` removes the bytes.

    A file that a run is active on stays until the run has ended.
    """
    expired = (
        IngestFile.objects.filter(
            ~Exists(active_runs()), status=FileStatus.STORED, expires_at__lte=timezone.now()
        )
        .order_by("expires_at")
        .values_list("id", flat=True)
    )
    return sum(mark_expired(file_id=file_id) for file_id in list(expired[:BATCH]))


def purge_files() -> int:
    """Remove the bytes of deleted and consumed files whose time has come; none is being read.

    Files whose bytes cannot be removed do not keep all others: they are passed over.
    """
    due = IngestFile.objects.filter(
        ~Exists(active_runs([RunStatus.RUNNING])),
        purge_at__lte=timezone.now(),
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


def abort_idle_sessions() -> int:
    """Give up open sessions without activity, never one that is receiving."""
    idle = _idle_sessions().select_related("file").order_by("last_activity_at")
    return sum(_abort_if_quiet(session) for session in list(idle[:BATCH]))


def remove_leftover_spools() -> int:
    """Free the bytes of ended sessions where a kill came between the row and the bytes."""
    left = UploadSession.objects.filter(
        status__in=[SessionStatus.FAILED, SessionStatus.ABORTED],
        spool_removed_at__isnull=True,
        updated_at__lt=timezone.now() - _SETTLE,
    ).order_by("updated_at")[:BATCH]
    return sum(_remove_spool(session) for session in list(left))


def purge_parts() -> int:
    """Delete the rows of parts that ended sessions need no more; how many sessions had some."""
    ended = UploadSession.objects.filter(
        status__in=UploadSession.ENDED,
        parts_purged_at__isnull=True,
        updated_at__lt=timezone.now() - _SETTLE,
    ).order_by("updated_at")
    ids = list(ended.values_list("id", flat=True)[:PARTS_BATCH])
    UploadPart.objects.filter(session__in=ids).delete()
    UploadSession.objects.filter(id__in=ids).update(parts_purged_at=timezone.now())
    return len(ids)


def remove_orphan_spools() -> int:
    """Free spool files that no open session owns: their creation was cut short by a kill."""
    removed = 0
    keys: list[str] = []
    for key in storage().unfinished(older_than=timezone.now() - _SETTLE):
        keys.append(key)
        if len(keys) == BATCH:
            removed += _remove_unowned(keys)
            keys = []
    return removed + _remove_unowned(keys)


def remove_leftover_results() -> int:
    """Free the bytes of results where a kill came between them and the end of their run."""
    left = WorkflowRun.objects.exclude(result_key="").filter(completed_at__isnull=False)
    runs = list(left.order_by("id")[:BATCH])
    for run in runs:
        discard_unfinished(run)
    return len(runs)


def purge_runs() -> int:
    """Delete the records of runs that ended long ago, with their attempts and logs."""
    before = timezone.now() - timedelta(days=settings.PORTAL_WORKFLOW_RETENTION_DAYS)
    ended = WorkflowRun.objects.filter(completed_at__lt=before).order_by("completed_at")
    old = list(ended.values_list("id", flat=True)[:BATCH])
    WorkflowRun.objects.filter(id__in=old).delete()
    return len(old)


def _purge(file: IngestFile) -> bool:
    try:
        storage().delete(file.storage_key)
    except OSError:  # a later sweep tries it again
        logger.exception("The bytes of file %s cannot be removed", file.id)
        return False
    return (
        IngestFile.objects.filter(id=file.id, purged_at__isnull=True).update(
            purged_at=timezone.now()
        )
        == 1
    )


def _remove_spool(session: UploadSession) -> bool:
    try:
        remove_spool(session)
    except OSError:  # to the end of the queue, so that it does not keep all others
        logger.exception("The spool of session %s cannot be removed", session.id)
        UploadSession.objects.filter(id=session.id).update(updated_at=timezone.now())
        return False
    return True


def _idle_sessions() -> QuerySet[UploadSession]:
    return UploadSession.objects.filter(
        status__in=UploadSession.OPEN, last_activity_at__lt=idle_before(timezone.now())
    )


def _abort_if_quiet(session: UploadSession) -> bool:
    with storage().try_idle(session.spool_key) as quiet:
        if not quiet:
            UploadSession.objects.filter(id=session.id).update(last_activity_at=timezone.now())
            return False
        # It may have received a part, or been finalized, since it was listed.
        if not _idle_sessions().filter(id=session.id).exists():
            return False
        return end_session(
            session,
            status=SessionStatus.ABORTED,
            error=Gone("session_expired", "The upload was idle for too long."),
        )


def _remove_unowned(keys: list[str]) -> int:
    # A key is its file's id, which is indexed.
    files = IngestFile.objects.filter(id__in=keys).values_list("id", flat=True)
    owned = {file_id.hex for file_id in files}
    return sum(_discard(key) for key in keys if key not in owned)


def _discard(key: str) -> bool:
    try:
        storage().discard(key)
    except OSError:  # one spool's trouble must not keep all others
        logger.exception("The spool %s cannot be removed", key)
        return False
    return True
