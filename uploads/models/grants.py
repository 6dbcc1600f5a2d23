"""What owners let people without an account send."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from accounts.models import TokenScope
from common import lengths
from common.models import TimeStampedModel
from uploads.models.batches import UploadBatch


def upload_only() -> list[str]:
    return [TokenScope.UPLOAD.value]


class UploadGrant(TimeStampedModel):
    """A guest's right to send files to an owner, within limits; null is no limit.

    Only the SHA-256 of its token is kept; `hint` is enough to recognise it in a list. The counters
    say what was begun with it, less what failed: they change in the transaction in which an upload
    begins or fails. What is deleted later still counts.

    Its token also opens a page for guests (`uploads.files.visits`), if they know the password.
    """

    SCOPES = (TokenScope.UPLOAD, TokenScope.READ, TokenScope.CONSUME)

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="upload_grants",
        db_index=False,
    )
    name = models.CharField(max_length=lengths.LINK_NAME)
    hint = models.CharField(max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(
        models.CharField(max_length=32, choices=[(scope.value, scope.label) for scope in SCOPES]),
        default=upload_only,
    )
    max_files = models.PositiveIntegerField(null=True, blank=True)
    max_bytes = models.PositiveBigIntegerField(null=True, blank=True)  # of all files together
    max_file_size = models.PositiveBigIntegerField(null=True, blank=True)
    # Content types or patterns such as image/*; empty: what the portal takes.
    allowed_types = ArrayField(models.CharField(max_length=255), default=list, blank=True)
    # What is sent joins it.
    batch = models.ForeignKey(
        UploadBatch,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    message = models.TextField(blank=True, default="", db_default="")  # to the guest
    # As Django keeps those of accounts; empty: none is asked for.
    password_hash = models.CharField(
        max_length=128, blank=True, default="", db_default="", editable=False
    )
    # Started on each file that is stored, if it takes its type.
    workflow = models.ForeignKey(
        "uploads.Workflow",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    # Whether its owner gets mail of what came; see `uploads.files.notices`.
    mails_owner = models.BooleanField(default=False, db_default=False)
    untold_since = models.DateTimeField(null=True, blank=True, editable=False)
    notice_due_at = models.DateTimeField(null=True, blank=True, editable=False)
    told_until = models.DateTimeField(null=True, blank=True, editable=False)
    files_begun = models.PositiveIntegerField(default=0)
    bytes_begun = models.PositiveBigIntegerField(default=0)

    class Meta:
        db_table = "upload_grant"
        indexes = [
            # An owner's grants, newest first.
            models.Index(fields=["owner", "-id"], name="upload_grant_of_owner"),
            # Whose owners are to be told next.
            models.Index(
                fields=["notice_due_at"],
                condition=models.Q(notice_due_at__isnull=False),
                name="upload_grant_notice",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"
