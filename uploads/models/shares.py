"""Links by which people without an account download a file."""

from django.conf import settings
from django.db import models

from common.models import TimeStampedModel
from uploads.models.files import IngestFile


class ShareLink(TimeStampedModel):
    """Lets whoever has it download one file, while that is stored.

    Only the SHA-256 of its token is kept; `hint` is enough to recognise it in a list.
    """

    file = models.ForeignKey(
        IngestFile, on_delete=models.CASCADE, related_name="share_links", db_index=False
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="share_links"
    )
    hint = models.CharField(max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    # As Django keeps those of accounts; empty: none is asked for.
    password_hash = models.CharField(max_length=128, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)  # null: with the file
    revoked_at = models.DateTimeField(null=True, blank=True)
    downloads = models.PositiveIntegerField(default=0, editable=False)  # that were begun
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        db_table = "share_link"
        indexes = [
            # A file's links, newest first.
            models.Index(fields=["file", "-id"], name="share_link_of_file"),
        ]

    def __str__(self) -> str:
        return f"{self.hint}…"
