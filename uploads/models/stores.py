"""What stores without a disk of their own keep of uploads: which there are, and who writes."""

from django.db import models

from common.models import TimeStampedModel


class StoreUpload(TimeStampedModel):
    """An upload in an object store, from its creation until its object is removed.

    The row is there before anything is asked of the store, so that nothing a kill leaves is lost.
    """

    backend = models.CharField(max_length=16)
    key = models.CharField(max_length=255)
    # The store's id of the multipart upload, once one was needed.
    token = models.CharField(max_length=1024, blank=True)
    size_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    written_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "store_upload"
        constraints = [
            # Also the index by which each request finds its upload.
            models.UniqueConstraint(fields=["backend", "key"], name="store_upload_once"),
        ]
        indexes = [
            # Sweep: unfinished uploads by age.
            models.Index(
                fields=["backend", "written_at"],
                condition=models.Q(finished_at__isnull=True),
                name="store_upload_unfinished",
            ),
        ]

    def __str__(self) -> str:
        return f"upload {self.key}"


class LeftObject(TimeStampedModel):
    """Where a file lay before it was moved to another backend, until those bytes are gone."""

    file_id = models.UUIDField(db_index=True)
    storage_backend = models.CharField(max_length=16)
    storage_bucket = models.CharField(max_length=255, blank=True)
    storage_key = models.CharField(max_length=255)

    class Meta:
        db_table = "left_object"

    def __str__(self) -> str:
        return f"{self.storage_backend} {self.storage_key}"


class RangeLease(models.Model):
    """The sole right to bytes `start_bytes` to `end_bytes` (exclusive) of an upload, for a time."""

    id = models.UUIDField(primary_key=True, editable=False)
    upload = models.ForeignKey(
        StoreUpload, on_delete=models.CASCADE, related_name="leases", db_index=False
    )
    start_bytes = models.BigIntegerField()
    end_bytes = models.BigIntegerField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "range_lease"
        indexes = [
            # Who has some of a range of this upload.
            models.Index(fields=["upload", "end_bytes"], name="range_lease_of_upload"),
        ]

    def __str__(self) -> str:
        return f"lease of {self.upload_id} {self.start_bytes}-{self.end_bytes}"
