"""Mends what a walk found: bytes that nobody owns go, files without bytes fail.

Each is looked at once more before, so that nothing is touched that has changed meanwhile. What has
wrong bytes is left for a person to decide: there may be no other copy.
"""

from uuid import UUID

from accounts.principals import PORTAL
from common.errors import Conflict, Gone
from uploads.checking.findings import Finding, Kind
from uploads.checking.walking import (
    is_still_lost,
    is_still_ownerless,
    is_upload_lost,
)
from uploads.files import states
from uploads.models import IngestFile, SessionStatus, UploadSession
from uploads.receiving import abandoned
from uploads.receiving.sessions import end_session
from uploads.storage import Storage, StoredObject, UploadHandle
from uploads.storage.base import ListsObjects

LOST = Gone("bytes_lost", "Its bytes were lost from the storage. Send it again.")


def require_something_held(store: Storage) -> None:
    """Refuse to take all files for lost where the store has none: it may not be mounted.

    Raises Conflict `storage_empty`.
    """
    if not isinstance(store.objects, ListsObjects) or any(True for _ in store.objects.held()):
        return
    if IngestFile.objects.filter(
        status__in=IngestFile.WITH_POINTER, storage_backend=store.name, purged_at__isnull=True
    ).exists():
        raise Conflict(
            "storage_empty",
            f"The storage {store.name!r} has no object at all, and there are files in it by their "
            "rows. Is it mounted? Nothing was changed. If they are lost for good, delete them.",
        )


def mend(store: Storage, finding: Finding) -> bool:
    """Whether it was mended."""
    match finding.kind:
        case Kind.BYTES_WITHOUT_ROW:
            return _remove(store, finding)
        case Kind.ROW_WITHOUT_BYTES:
            return finding.file_id is not None and _lose(store, finding.file_id)
        case Kind.UPLOAD_WITHOUT_BYTES:
            return finding.file_id is not None and _end(store, finding.file_id)
        case Kind.SPOOL_WITHOUT_UPLOAD:
            handle = UploadHandle(finding.backend, finding.key, finding.token)
            return abandoned.remove_orphan_spool(store, handle)
        case _:
            return False


def _remove(store: Storage, finding: Finding) -> bool:
    stored = StoredObject(finding.backend, finding.bucket, finding.key)
    with store.locks.try_idle(UploadHandle(store.name, finding.key)) as idle:
        if not idle or not is_still_ownerless(stored):
            return False
        store.objects.delete(stored)
        return True


def _lose(store: Storage, file_id: UUID) -> bool:
    """A file that was consumed stays so; its bytes were to go anyway."""
    if not is_still_lost(store, file_id):
        return False
    return states.lose(file_id, LOST) or states.mark_purged(file_id)


def _end(store: Storage, file_id: UUID) -> bool:
    session = UploadSession.objects.get(file_id=file_id)
    return is_upload_lost(store, session) and end_session(
        session, status=SessionStatus.FAILED, error=LOST, actor=PORTAL
    )
