"""The canonical record of one file."""

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Lower

from common import lengths
from common.models import TimeStampedModel
from uploads.models.batches import UploadBatch
from uploads.models.grants import UploadGrant
from uploads.models.searching import FILE_KIND, NameWords


class FileStatus(models.TextChoices):
    UPLOADING = "uploading"
    CHECKING = "checking", "Being checked"  # all there and proven; what is accepted is stored
    STORED = "stored"
    PROCESSED = "processed"  # a runner consumed it
    DELETED = "deleted"  # expired or removed; the row stays as a tombstone
    FAILED = "failed"


class IngestFile(TimeStampedModel):
    """One file. Once checked, its size, SHA-256 and storage pointer never change.

    The error of one that is being checked says what that waits for.
    The bytes of a processed or deleted file go at `purge_at`; `purged_at` says that they went.
    """

    UNDER_WAY = (FileStatus.UPLOADING, FileStatus.CHECKING)
    WITH_POINTER = (FileStatus.STORED, FileStatus.PROCESSED)
    GONE = (FileStatus.PROCESSED, FileStatus.DELETED, FileStatus.FAILED)

    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,  # as in every model here: a composite index or constraint begins with it
    )
    batch = models.ForeignKey(
        UploadBatch,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="files",
        db_index=False,
    )
    # Under which a guest sent it; null: the owner's own.
    grant = models.ForeignKey(
        UploadGrant,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="files",
        db_index=False,
    )
    # What a workflow made: reached through its run, not listed among what was uploaded, and
    # announced with the run.
    is_result = models.BooleanField(default=False)
    # Sent to be put together with others to one file (`receiving/concatenating.py`): never stored,
    # listed or announced itself.
    is_piece = models.BooleanField(default=False, db_default=False)
    original_filename = models.CharField(max_length=lengths.FILE_NAME)
    relative_path = models.CharField(max_length=lengths.FILE_PATH, blank=True)
    # As the client declared it, and as the bytes say.
    content_type = models.CharField(max_length=lengths.CONTENT_TYPE, blank=True)
    detected_type = models.CharField(max_length=lengths.CONTENT_TYPE, blank=True)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64, blank=True)
    storage_backend = models.CharField(max_length=16, blank=True)
    storage_bucket = models.CharField(max_length=255, blank=True)
    storage_key = models.CharField(max_length=255, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=16, choices=FileStatus, default=FileStatus.UPLOADING)
    error_code = models.CharField(max_length=lengths.ERROR_CODE, blank=True)
    error_message = models.CharField(max_length=lengths.ERROR_MESSAGE, blank=True)
    stored_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    expiry_notified_at = models.DateTimeField(null=True, blank=True)
    processed_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    purge_at = models.DateTimeField(null=True, blank=True)
    purged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "ingest_file"
        permissions = [("access_all_files", "Can read and consume every user's files")]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(status__in=["stored", "processed"])
                | (
                    models.Q(sha256__regex=r"^[0-9a-f]{64}$")
                    & ~models.Q(storage_backend="")
                    & ~models.Q(storage_key="")
                    & models.Q(stored_at__isnull=False)
                    & models.Q(expires_at__isnull=False)
                ),
                name="ingest_file_stored_is_whole",
            ),
            models.CheckConstraint(
                condition=~models.Q(status="checking")
                | (
                    models.Q(sha256__regex=r"^[0-9a-f]{64}$")
                    & ~models.Q(storage_backend="")
                    & ~models.Q(storage_key="")
                ),
                name="ingest_file_checked_is_whole",
            ),
        ]
        indexes = [
            # A user's files, newest first (list page, GET /files).
            models.Index(
                fields=["uploaded_by", "-id"],
                condition=models.Q(is_result=False),
                name="ingest_file_of_user",
            ),
            # The same of one status, and the dashboard's counts.
            models.Index(
                fields=["uploaded_by", "status", "-id"],
                condition=models.Q(is_result=False),
                name="ingest_file_by_status",
            ),
            # The same of one kind of content, and in other orders: the largest first, by name.
            models.Index(
                models.F("uploaded_by"),
                FILE_KIND,
                models.F("id").desc(),
                condition=models.Q(is_result=False),
                name="ingest_file_by_kind",
            ),
            models.Index(
                fields=["uploaded_by", "-size_bytes", "-id"],
                condition=models.Q(is_result=False),
                name="ingest_file_by_size",
            ),
            models.Index(
                models.F("uploaded_by"),
                Lower("original_filename"),
                models.F("id"),
                condition=models.Q(is_result=False),
                name="ingest_file_by_name",
            ),
            # The search for words of names.
            GinIndex(
                NameWords("original_filename"),
                condition=models.Q(is_result=False),
                name="ingest_file_words",
            ),
            # A batch's files in order of arrival.
            models.Index(
                fields=["batch", "id"],
                condition=models.Q(batch__isnull=False),
                name="ingest_file_of_batch",
            ),
            # A guest's files, newest first.
            models.Index(
                fields=["grant", "-id"],
                condition=models.Q(grant__isnull=False),
                name="ingest_file_of_grant",
            ),
            # What guests have sent since their owner was told (uploads.files.notices).
            models.Index(
                fields=["grant", "stored_at"],
                condition=models.Q(grant__isnull=False, stored_at__isnull=False),
                name="ingest_file_came",
            ),
            # Sweeps: what expires next, and what has not been told so.
            models.Index(
                fields=["expires_at"],
                condition=models.Q(status="stored"),
                name="ingest_file_expiry",
            ),
            models.Index(
                fields=["expires_at"],
                condition=models.Q(status="stored", expiry_notified_at__isnull=True),
                name="ingest_file_expiry_unnotified",
            ),
            # Sweep: records of files that are gone.
            models.Index(
                fields=["updated_at"],
                condition=models.Q(status__in=["processed", "deleted", "failed"]),
                name="ingest_file_gone",
            ),
            # Sweep: bytes still to be removed.
            models.Index(
                fields=["purge_at"],
                condition=models.Q(purge_at__isnull=False, purged_at__isnull=True),
                name="ingest_file_purge",
            ),
        ]

    def __str__(self) -> str:
        return self.original_filename
