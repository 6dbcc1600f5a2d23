"""Files that belong together."""

from django.conf import settings
from django.db import models

from common import lengths
from common.models import TimeStampedModel


class BatchStatus(models.TextChoices):
    INIT = "init"
    IN_PROGRESS = "in_progress"
    COMPLETE = "complete"  # closed, every file stored
    PARTIAL = "partial"  # closed, some stored and some failed
    FAILED = "failed"  # closed, none stored


class UploadBatch(TimeStampedModel):
    """A batch is open until it is closed; it is final when closed and every file is final.

    The counters change in the transaction of the file's own change, by an UPDATE on this row.
    """

    OPEN = (BatchStatus.INIT, BatchStatus.IN_PROGRESS)

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,
    )
    # Whose guest opened it, for what was sent together; null: the owner's own.
    grant = models.ForeignKey(
        "uploads.UploadGrant",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    name = models.CharField(max_length=lengths.BATCH_NAME, blank=True)
    status = models.CharField(max_length=16, choices=BatchStatus, default=BatchStatus.INIT)
    total_files = models.PositiveIntegerField(default=0)
    stored_count = models.PositiveIntegerField(default=0)
    failed_count = models.PositiveIntegerField(default=0)
    # How many files its maker means to put in: when it is closed, those that never came in (they
    # were refused, say) count as failed. Null: as many as come.
    expected_files = models.PositiveIntegerField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "upload_batch"
        verbose_name_plural = "upload batches"
        indexes = [
            # A user's batches, newest first.
            models.Index(fields=["created_by", "-id"], name="upload_batch_of_user"),
            # Those of a grant's guests, newest first.
            models.Index(
                fields=["grant", "-id"],
                condition=models.Q(grant__isnull=False),
                name="upload_batch_of_grant",
            ),
            # Sweep: open batches that nothing happens to, with no file under way.
            models.Index(
                fields=["updated_at"],
                condition=models.Q(
                    closed_at__isnull=True,
                    total_files=models.F("stored_count") + models.F("failed_count"),
                ),
                name="upload_batch_idle",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    total_files__gte=models.F("stored_count") + models.F("failed_count")
                ),
                name="upload_batch_counters_add_up",
            ),
        ]

    def __str__(self) -> str:
        return self.name or str(self.id)
