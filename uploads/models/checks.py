"""What the portal found when it compared rows and bytes."""

from django.db import models

from common.models import TimeStampedModel


class StorageCheck(TimeStampedModel):
    """One walk of the portal through one backend, in slices.

    `position` is where it goes on. `findings` are counts by kind, `examples` the first of them.
    """

    MOST_EXAMPLES = 20

    backend = models.CharField(max_length=16)
    position = models.CharField(max_length=255, blank=True)
    objects_seen = models.PositiveBigIntegerField(default=0)
    size_bytes = models.PositiveBigIntegerField(default=0)
    rows_seen = models.PositiveBigIntegerField(default=0)
    findings = models.JSONField(default=dict, blank=True)
    examples = models.JSONField(default=list, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "storage_check"
        constraints = [
            models.UniqueConstraint(
                fields=["backend"],
                condition=models.Q(finished_at__isnull=True),
                name="storage_check_one_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"check of {self.backend}"
