"""Who needs bytes to stay where they are for a while."""

from django.db import models

from common.models import TimeStampedModel


class BytesHold(TimeStampedModel):
    """A lease: until it expires, no stored bytes are removed, whatever becomes of their row."""

    reason = models.CharField(max_length=64)
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "bytes_hold"

    def __str__(self) -> str:
        return f"{self.reason} until {self.expires_at:%Y-%m-%d %H:%M:%S}"
