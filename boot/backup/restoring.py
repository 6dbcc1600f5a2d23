"""Making a portal of a backup: the files first, then the rows, all of them or none.

A restore that was cut short leaves an empty database, and can be done again.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from django.utils.crypto import constant_time_compare

from accounts.principals import PORTAL
from boot import startup
from boot.backup import postgres
from boot.backup.folder import Backup, Entry, Manifest, Progress, copy, verify
from boot.backup.taking import key_check
from boot.errors import CannotRunError
from common.errors import Gone
from uploads.files import states
from uploads.models import BytesHold, FileStatus, SessionStatus, UploadSession
from uploads.receiving.sessions import end_session
from uploads.storage import StoredObject, named


@dataclass(frozen=True)
class Restored:
    """`ended` uploads were under way at the backup; their clients have to begin anew."""

    manifest: Manifest
    ended: int


def restore(backup: Backup, *, keep_for: timedelta, begin: Callable[[int], Progress]) -> Restored:
    """Into this portal's empty database and storage.

    Files expire no sooner than `keep_for` from now. Raises CannotRunError; then the database is
    still empty.
    """
    manifest = backup.manifest()
    _require_same_key(backup, manifest)
    if not postgres.is_empty():
        raise CannotRunError(
            "The database is not empty; a backup is restored into an empty one. "
            "Set DOORITO_DATA_DIR to a new folder, or DATABASE_URL to a new database."
        )
    total = manifest.size_bytes
    progress = begin(2 * total)
    verify(backup, progress=progress)
    lost = set(manifest.lost)
    for entry in backup.entries():
        if entry.id not in lost:
            _put(entry, backup, progress=progress)
    postgres.restore(backup.database)
    connection.close()
    _use_key(backup)
    startup.migrate()
    BytesHold.objects.all().delete()  # the backup's own
    for file_id in manifest.lost:
        states.delete(UUID(file_id), actor=PORTAL)
    states.extend_all(until=Now() + keep_for)
    return Restored(manifest, _end_uploads())


def _require_same_key(backup: Backup, manifest: Manifest) -> None:
    if backup.secret_key.exists() and settings.GENERATED_SECRET_KEY_FILE:
        return
    if not constant_time_compare(key_check(), manifest.key_check):
        raise CannotRunError(
            "Secrets in this backup were encrypted with another DJANGO_SECRET_KEY than this "
            "portal's: set it to the one that the portal had."
        )


def _use_key(backup: Backup) -> None:
    """Take the backup's secret key in place of the one that this data directory began with."""
    path = settings.GENERATED_SECRET_KEY_FILE
    if path is None:
        return
    candidate = path.with_name(f".secret_key.{secrets.token_hex(4)}")
    candidate.touch(mode=0o600)
    candidate.write_text(backup.secret_key.read_text())
    candidate.replace(path)


def _put(entry: Entry, backup: Backup, *, progress: Progress) -> None:
    store = named(entry.backend)
    stored = StoredObject(entry.backend, entry.bucket, entry.key)
    with (
        backup.bytes_of(entry).open("rb") as source,
        store.uploads.put_back(entry.key, size_bytes=entry.size_bytes) as target,
    ):
        sha256 = copy(source, lambda block: target.write(memoryview(block)), progress=progress)
        if sha256 != entry.sha256:
            raise CannotRunError(f"{backup.bytes_of(entry)} changed while it was read.")
        if target.commit() != stored:
            raise CannotRunError(
                f"The file {entry.id} was kept in the bucket {entry.bucket!r}, and this portal "
                "uses another: set it as it was, and move the files afterwards."
            )


def _end_uploads() -> int:
    error = Gone("restored", "The portal was restored from a backup; begin the upload anew.")
    under_way = UploadSession.objects.filter(status__in=UploadSession.OPEN)
    checking = under_way.filter(file__status=FileStatus.CHECKING)  # all there, and in the backup
    checking.update(finalizing_at=Now(), finalizing_until=None)
    under_way = under_way.exclude(file__status=FileStatus.CHECKING)
    return sum(
        end_session(session, status=SessionStatus.ABORTED, error=error, actor=PORTAL)
        for session in under_way.iterator(chunk_size=200)
    )
