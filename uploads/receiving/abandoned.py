"""What uploads that are given up, or were cut short by a kill, leave behind.

Every function does a bounded batch and says how much it did.
"""

import logging
from collections.abc import Iterator
from datetime import timedelta
from itertools import batched
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from accounts.principals import PORTAL
from common.errors import Gone, ServiceUnavailable
from uploads.files.expiry import idle_before
from uploads.models import FileStatus, IngestFile, SessionStatus, UploadPart, UploadSession
from uploads.receiving.sessions import end_session, remove_spool
from uploads.storage import (
    Storage,
    UploadHandle,
    backends,
    handle_of,
    named,
    storage_for,
)

logger = logging.getLogger(__name__)

BATCH = 200
PARTS_BATCH = 20  # sessions, of up to 10,000 parts each
_SETTLE = timedelta(minutes=10)  # younger leftovers may belong to a request that still runs


def abort_idle_sessions() -> int:
    """Give up open sessions without activity, never one that is receiving."""
    idle = _idle_sessions().select_related("file").order_by("last_activity_at")
    return sum(_abort_if_quiet(session) for session in list(idle[:BATCH]))


def remove_leftover_spools() -> int:
    """Free the bytes of ended sessions where a kill came between the row and the bytes."""
    left = UploadSession.objects.filter(
        status__in=[SessionStatus.FAILED, SessionStatus.ABORTED],
        spool_removed_at__isnull=True,
        updated_at__lt=Now() - _SETTLE,
    ).order_by("updated_at")[:BATCH]
    return sum(_remove_spool(session) for session in list(left))


def purge_parts() -> int:
    """Delete the rows of parts that ended sessions need no more; how many sessions had some."""
    ended = UploadSession.objects.filter(
        status__in=UploadSession.ENDED,
        parts_purged_at__isnull=True,
        updated_at__lt=Now() - _SETTLE,
    ).order_by("updated_at")
    ids = list(ended.values_list("id", flat=True)[:PARTS_BATCH])
    UploadPart.objects.filter(session__in=ids).delete()
    UploadSession.objects.filter(id__in=ids).update(parts_purged_at=Now())
    return len(ids)


def remove_orphan_spools() -> int:
    """Free spool files that no open session owns: their creation was cut short by a kill."""
    removed = 0
    for store in map(named, backends()):
        for handle, file in _unfinished(store):
            if _is_orphan(store, file):
                removed += _discard(store, handle)
            elif file is not None and file.status in IngestFile.WITH_POINTER:
                store.uploads.settle(handle)  # its object stays, what is beside it goes
    return removed


def orphan_spools(store: Storage) -> Iterator[UploadHandle]:
    """What `remove_orphan_spools` would free in one store."""
    return (handle for handle, file in _unfinished(store) if _is_orphan(store, file))


def remove_orphan_spool(store: Storage, handle: UploadHandle) -> bool:
    """Free one of them, unless it has got an owner."""
    file = IngestFile.objects.filter(id=UUID(handle.key)).first()
    return _is_orphan(store, file) and _discard(store, handle)


def _remove_spool(session: UploadSession) -> bool:
    try:
        remove_spool(session)
    except OSError:  # to the end of the queue, so that it does not keep all others
        logger.exception("The spool of session %s cannot be removed", session.id)
        UploadSession.objects.filter(id=session.id).update(updated_at=Now())
        return False
    return True


def _idle_sessions() -> QuerySet[UploadSession]:
    """Not those that wait to be checked: that has a bound of its own."""
    idle = UploadSession.objects.filter(
        status__in=UploadSession.OPEN, last_activity_at__lt=idle_before()
    )
    return idle.exclude(file__status=FileStatus.CHECKING)


def _abort_if_quiet(session: UploadSession) -> bool:
    with storage_for(session).locks.try_idle(handle_of(session)) as quiet:
        if not quiet:
            UploadSession.objects.filter(id=session.id).update(last_activity_at=Now())
            return False
        # It may have received a part, or been finalized, since it was listed.
        if not _idle_sessions().filter(id=session.id).exists():
            return False
        return end_session(
            session,
            status=SessionStatus.ABORTED,
            error=Gone("session_expired", "The upload was idle for too long."),
            actor=PORTAL,
        )


def _unfinished(store: Storage) -> Iterator[tuple[UploadHandle, IngestFile | None]]:
    """What was not written to of late, with the file that it belongs to."""
    before = timezone.now() - _SETTLE  # files' times are this machine's
    for handles in batched(store.uploads.unfinished(older_than=before), BATCH):
        # A key is its file's id, which is indexed.
        files = IngestFile.objects.in_bulk([UUID(handle.key) for handle in handles])
        yield from ((handle, files.get(UUID(handle.key))) for handle in handles)


def _is_orphan(store: Storage, file: IngestFile | None) -> bool:
    if file is None or file.status == FileStatus.DELETED or file.purged_at is not None:
        return True
    # One that lies elsewhere is on its way here; a move that was killed does it again.
    return file.storage_backend not in {"", store.name}


def _discard(store: Storage, handle: UploadHandle) -> bool:
    """Unless somebody is writing it just now."""
    try:
        with store.locks.try_idle(handle) as idle:
            if idle:
                store.uploads.discard(handle)
            return idle
    except (OSError, ServiceUnavailable):  # one spool's trouble must not keep all others
        logger.exception("The spool %s cannot be removed", handle.key)
        return False
