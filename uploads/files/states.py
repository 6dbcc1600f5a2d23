"""The ledger of files: here, and nowhere else, a file's row is made and changes.

A change of state is one conditional UPDATE whose row count says whether it happened, in one short
transaction with all that goes with it: the event, the batch's count, and what the rooms above add
(`uploads.files.hooks`). A caller that has more to change opens the transaction itself.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.transaction import Atomic
from django.utils import timezone

from common.errors import Conflict, DooritoError
from common.models import TimeStampedQuerySet
from uploads.files import batches, hooks
from uploads.files.announce import announce_file
from uploads.files.expiry import first_expiry
from uploads.models import FileStatus, IngestFile
from uploads.storage import StoredObject


@dataclass(frozen=True)
class NewFile:
    """What is known of a file when its row is made."""

    id: UUID
    owner_id: UUID | None
    filename: str
    size_bytes: int
    content_type: str = ""  # as declared
    relative_path: str = ""
    batch_id: UUID | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    is_result: bool = False  # made by a workflow


@dataclass(frozen=True)
class Proof:
    """What the bytes of a whole file were found to be, and where they lie."""

    sha256: str
    detected_type: str
    stored: StoredObject


def begin(new: NewFile) -> IngestFile:
    """A file whose upload begins; the caller opens a session for it in the same transaction.

    Raises NotFound `batch_not_found`, Conflict `batch_closed`.
    """
    with _one_transaction():
        return _insert(new, status=FileStatus.UPLOADING)


def declare_size(file_id: UUID, *, size_bytes: int) -> bool:
    """The size of a file whose upload began without one. (Until then it counts as 0 bytes.)"""
    uploading = IngestFile.objects.filter(id=file_id, status=FileStatus.UPLOADING)
    return uploading.change(size_bytes=size_bytes)


def store(file_id: UUID, proof: Proof) -> IngestFile:
    """The upload is whole. Raises Conflict `file_not_uploading`."""
    uploading = IngestFile.objects.filter(id=file_id, status=FileStatus.UPLOADING)
    with _one_transaction():
        if not uploading.change(status=FileStatus.STORED, **_stored_values(proof)):
            raise Conflict("file_not_uploading", "The file is not being uploaded any more.")
        file = _changed(file_id)
        _tell_stored(file)
    return file


def store_new(new: NewFile, proof: Proof) -> IngestFile:
    """A file whose bytes are stored before it has a row, without a session.

    Raises NotFound `batch_not_found`, Conflict `batch_closed`.
    """
    with _one_transaction():
        file = _insert(new, status=FileStatus.STORED, **_stored_values(proof))
        _tell_stored(file)
    return file


def fail(file_id: UUID, error: DooritoError) -> bool:
    """The upload ended without a stored file, for `error`."""
    uploading = IngestFile.objects.filter(id=file_id, status=FileStatus.UPLOADING)
    with _one_transaction():
        failed = uploading.change(
            status=FileStatus.FAILED, error_code=error.code, error_message=error.message[:500]
        )
        if failed:
            file = _changed(file_id)
            announce_file("file.failed", file)
            batches.count_failed(file.batch_id)
    return failed


def leave_batch(file_id: UUID, *, batch_id: UUID) -> None:
    """Another upload of the same file takes this one's place: its batch forgets it."""
    uploading = IngestFile.objects.filter(
        id=file_id, batch_id=batch_id, status=FileStatus.UPLOADING
    )
    with _one_transaction():
        if uploading.change(batch=None):
            batches.remove_file(batch_id)


def consume(file_id: UUID, *, purge_at: datetime) -> IngestFile | None:
    """For a caller who asks for a file to process: exactly one gets it, before it expires.

    Its bytes stay until `purge_at`.
    """
    unexpired = _stored(file_id).filter(expires_at__gt=timezone.now())
    return _consume(unexpired, file_id, purge_at=purge_at)


def consume_after_runs(file_id: UUID, *, purge_at: datetime) -> IngestFile | None:
    """For runs that are done with a file, which may have expired while they kept it."""
    return _consume(_stored(file_id), file_id, purge_at=purge_at)


def delete(file_id: UUID) -> bool:
    """Remove a stored or consumed file before its time."""
    return _delete(
        IngestFile.objects.filter(id=file_id, status__in=IngestFile.WITH_POINTER), file_id
    )


def expire(file_id: UUID) -> bool:
    """Remove a file that nobody has extended or consumed meanwhile, and that nobody works on."""
    with _one_transaction():
        # Who begins to work on a file holds its row meanwhile: it can be seen from here on.
        IngestFile.objects.select_for_update().get(id=file_id)
        unused = (~condition for condition in hooks.keeps_file)
        expired = _stored(file_id).filter(*unused, expires_at__lte=timezone.now())
        return _delete(expired, file_id)


def extend(file_id: UUID, *, expires_at: datetime) -> bool:
    """Keep a stored file longer; False when it is kept as long already, or is gone."""
    now = timezone.now()
    return (
        _stored(file_id)
        .filter(expires_at__gt=now, expires_at__lt=expires_at)
        .change(expires_at=expires_at, expiry_notified_at=None)
    )


def announce_expiring(*, before: datetime, limit: int) -> int:
    """Emit `file.expiring`, once each, for up to `limit` files that expire until then."""
    now = timezone.now()
    with _one_transaction():
        due = list(
            IngestFile.objects.filter(
                status=FileStatus.STORED,
                expiry_notified_at__isnull=True,
                expires_at__gt=now,
                expires_at__lte=before,
            )
            .select_related("uploaded_by")
            .locked()
            .order_by("expires_at")[:limit]
        )
        for file in due:
            announce_file("file.expiring", file)
        IngestFile.objects.filter(id__in=[file.id for file in due]).update(expiry_notified_at=now)
    return len(due)


def mark_purged(file_id: UUID) -> bool:
    """The bytes of a consumed or deleted file were removed."""
    unpurged = IngestFile.objects.filter(id=file_id, purged_at__isnull=True)
    return unpurged.change(purged_at=timezone.now())


def _one_transaction() -> Atomic:
    """The caller's if there is one. Without a savepoint: what fails here, fails as a whole."""
    return transaction.atomic(savepoint=False)


def _insert(new: NewFile, **state: Any) -> IngestFile:
    if new.batch_id:
        batches.add_file(owner_id=new.owner_id, batch_id=new.batch_id)
    return IngestFile.objects.create(
        id=new.id,
        uploaded_by_id=new.owner_id,
        batch_id=new.batch_id,
        is_result=new.is_result,
        original_filename=new.filename,
        relative_path=new.relative_path,
        content_type=new.content_type,
        size_bytes=new.size_bytes,
        metadata=new.metadata,
        **state,
    )


def _stored_values(proof: Proof) -> dict[str, Any]:
    now = timezone.now()
    return {
        "sha256": proof.sha256,
        "detected_type": proof.detected_type,
        "storage_backend": proof.stored.backend,
        "storage_bucket": proof.stored.bucket,
        "storage_key": proof.stored.key,
        "stored_at": now,
        "expires_at": first_expiry(now),
    }


def _tell_stored(file: IngestFile) -> None:
    announce_file("file.uploaded", file)
    for call in hooks.on_stored:
        call(file)
    batches.count_stored(file.batch_id)


def _consume(
    stored: TimeStampedQuerySet, file_id: UUID, *, purge_at: datetime
) -> IngestFile | None:
    with _one_transaction():
        consumed = stored.change(
            status=FileStatus.PROCESSED, processed_at=timezone.now(), purge_at=purge_at
        )
        if not consumed:
            return None
        file = _changed(file_id)
        announce_file("file.processed", file)
    return file


def _delete(removable: TimeStampedQuerySet, file_id: UUID) -> bool:
    """The first step of a removal: the bytes go with the next purge."""
    now = timezone.now()
    with _one_transaction():
        deleted = removable.change(status=FileStatus.DELETED, deleted_at=now, purge_at=now)
        if deleted:
            file = _changed(file_id)
            for call in hooks.on_deleted:
                call(file)
            announce_file("file.deleted", file)
    return deleted


def _stored(file_id: UUID) -> TimeStampedQuerySet:
    return IngestFile.objects.filter(id=file_id, status=FileStatus.STORED)


def _changed(file_id: UUID) -> IngestFile:
    """The row as it is now; it is locked until the transaction ends."""
    return IngestFile.objects.select_related("uploaded_by").get(id=file_id)
