"""The audit trail: who did what to whom and what, told once and never changed."""

from django.db import models

from common import lengths
from common.models.base import TimeStampedModel


class AuditEntry(TimeStampedModel):
    """One act. The database refuses to change or delete it before its retention is over.

    Without foreign keys: it outlives whom and what it tells of.
    """

    actor_kind = models.CharField(max_length=16)
    actor_id = models.UUIDField(null=True, blank=True)
    actor_label = models.CharField(max_length=lengths.EMAIL)
    address = models.CharField(max_length=64, blank=True)  # of the client
    action = models.CharField(max_length=64)
    subject_type = models.CharField(max_length=32)
    subject_id = models.CharField(max_length=64)
    subject_label = models.CharField(max_length=255, blank=True)

    class Meta:
        db_table = "audit_entry"
        verbose_name_plural = "audit trail"
        indexes = [
            # What was done to one thing, and what somebody did, newest first.
            models.Index(fields=["subject_id", "-id"], name="audit_entry_of_subject"),
            models.Index(fields=["actor_id", "-id"], name="audit_entry_of_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_label}: {self.action} {self.subject_label or self.subject_id}"
