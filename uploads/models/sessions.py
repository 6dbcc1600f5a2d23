"""Resumable uploads: a session and the parts it has received."""

from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models.functions import Coalesce

from common import lengths
from common.models import TimeStampedModel
from uploads.models.files import IngestFile


class SessionStatus(models.TextChoices):
    INIT = "init"
    IN_PROGRESS = "in_progress"
    COMPLETE = "complete"
    FAILED = "failed"
    ABORTED = "aborted"


class PartOrder(models.TextChoices):
    """How a part's place in the file is known."""

    NUMBERED = "numbered"  # by its number: all parts but the last have one size
    APPENDED = "appended"  # by what came before it
    TOLD_LAST = "told_last"  # by a list of all parts, once all are there


class Transfer(models.TextChoices):
    """Which way a session's parts come."""

    PORTAL = "portal"
    DIRECT = "direct"  # to the store, at addresses that the portal signs


class UploadSession(TimeStampedModel):
    """One resumable upload of one file.

    What was received is a set of byte ranges, its parts; it is whole when they cover
    `length_bytes`, which may become known late. Numbered parts are all of `chunk_size_bytes`,
    and `total_parts` of them cover the file; for other orders both are unknown (null).

    `hash_state` is the SHA-256 state after the first `hashed_bytes` of the file: it advances as
    the received prefix grows, so that finalizing reads only what the prefix lacks.
    """

    OPEN = (SessionStatus.INIT, SessionStatus.IN_PROGRESS)
    ENDED = (SessionStatus.COMPLETE, SessionStatus.FAILED, SessionStatus.ABORTED)

    file = models.OneToOneField(IngestFile, on_delete=models.CASCADE, related_name="session")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,
    )
    status = models.CharField(max_length=16, choices=SessionStatus, default=SessionStatus.INIT)
    part_order = models.CharField(
        max_length=16, choices=PartOrder, default=PartOrder.NUMBERED, db_default=PartOrder.NUMBERED
    )
    transfer = models.CharField(
        max_length=16, choices=Transfer, default=Transfer.PORTAL, db_default=Transfer.PORTAL
    )
    # Which protocol it began with (the name of its room), and what that has to tell again.
    door = models.CharField(max_length=16, default="api", db_default="api")
    door_data = models.JSONField(default=dict, blank=True, db_default={})
    # How long the file is to be kept at least, if it is stored later than it was sent.
    keep_seconds = models.PositiveBigIntegerField(null=True, blank=True)
    length_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    chunk_size_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    total_parts = models.PositiveIntegerField(null=True, blank=True)
    # Where the next part goes whose place is told last; parts that broke off leave holes.
    allocated_bytes = models.PositiveBigIntegerField(default=0, db_default=0)
    received_parts_count = models.PositiveIntegerField(default=0)
    received_bytes = models.PositiveBigIntegerField(default=0)
    declared_sha256 = models.CharField(max_length=64, blank=True)
    # Of the guest who sends it. Without a foreign key, as it only keeps apart whose keys are whose.
    grant_id = models.UUIDField(null=True, blank=True)
    idempotency_key = models.CharField(max_length=lengths.IDEMPOTENCY_KEY, null=True, blank=True)
    # SHA-256 of the values that the session was asked with: tells a repeat from another use.
    request_digest = models.CharField(max_length=64)
    # What the store calls this upload: see `uploads.storage.handle_of`.
    storage_backend = models.CharField(max_length=16, default="local", db_default="local")
    spool_key = models.CharField(max_length=255)
    storage_token = models.CharField(max_length=1024, blank=True, default="", db_default="")
    hash_state = models.BinaryField(null=True, blank=True)
    hashed_bytes = models.PositiveBigIntegerField(default=0)
    # Since when a worker reads the finished object through, and who asked (kind, id, label); the
    # worker that does has it until `finalizing_until`.
    finalizing_at = models.DateTimeField(null=True, blank=True)
    finalizing_until = models.DateTimeField(null=True, blank=True)
    finalizing_for = models.JSONField(null=True, blank=True)
    last_activity_at = models.DateTimeField()
    # The latest request that found another one appending: see `receiving/turns.py`.
    wanted_by = models.UUIDField(null=True, blank=True)
    # The store's epoch in which the parts were received (`MayLoseWrites`).
    storage_epoch = models.CharField(max_length=36, blank=True, db_column="boot_id")
    # Why the session ended badly; a repeated finalize answers the same.
    error_status = models.PositiveSmallIntegerField(null=True, blank=True)
    error_code = models.CharField(max_length=lengths.ERROR_CODE, blank=True)
    error_message = models.CharField(max_length=lengths.ERROR_MESSAGE, blank=True)
    # When the spool of a session that ended badly was removed.
    spool_removed_at = models.DateTimeField(null=True, blank=True)
    # When the rows of an ended session's parts were deleted.
    parts_purged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "upload_session"
        constraints = [
            # An owner's keys and those of each of its guests are different keys.
            models.UniqueConstraint(
                models.F("created_by"),
                models.F("idempotency_key"),
                Coalesce("grant_id", models.Value(UUID(int=0), models.UUIDField())),
                name="upload_session_idempotency",
            ),
            models.CheckConstraint(
                condition=models.Q(received_parts_count__lte=models.F("total_parts")),
                name="upload_session_counts_parts_once",
            ),
            models.CheckConstraint(
                condition=~models.Q(status="complete")
                | models.Q(received_parts_count=models.F("total_parts")),
                name="upload_session_complete_is_whole",
            ),
            models.CheckConstraint(
                condition=~models.Q(status="complete")
                | models.Q(length_bytes__isnull=False, received_bytes=models.F("length_bytes")),
                name="upload_session_complete_covers_length",
            ),
            models.CheckConstraint(
                condition=~models.Q(part_order="numbered")
                | models.Q(
                    length_bytes__isnull=False,
                    chunk_size_bytes__isnull=False,
                    total_parts__isnull=False,
                ),
                name="upload_session_numbered_has_a_grid",
            ),
        ]
        indexes = [
            # An owner's unfinished uploads, newest first.
            models.Index(
                fields=["created_by", "-id"],
                condition=models.Q(status__in=["init", "in_progress"]),
                name="upload_session_unfinished",
            ),
            # Sweep: open sessions by idleness.
            models.Index(
                fields=["last_activity_at"],
                condition=models.Q(status__in=["init", "in_progress"]),
                name="upload_session_idle",
            ),
            # What workers have to read through.
            models.Index(
                fields=["finalizing_at"],
                condition=models.Q(status__in=["init", "in_progress"], finalizing_at__isnull=False),
                name="upload_session_finalizing",
            ),
            # Sweep: spools of ended sessions that are still there.
            models.Index(
                fields=["updated_at"],
                condition=models.Q(status__in=["failed", "aborted"], spool_removed_at__isnull=True),
                name="upload_session_spool_left",
            ),
            # Sweep: parts of ended sessions that are still there.
            models.Index(
                fields=["updated_at"],
                condition=models.Q(
                    status__in=["complete", "failed", "aborted"], parts_purged_at__isnull=True
                ),
                name="upload_session_parts_left",
            ),
        ]

    def __str__(self) -> str:
        return f"session {self.id}"


class UploadPart(TimeStampedModel):
    """A received range of a session.

    `part_number` counts from 1 in the order of the file; where that is told last, in the order
    of arrival until then. `offset_bytes` is where the bytes lie in the upload. A digest without
    an algorithm: none was kept.
    """

    session = models.ForeignKey(
        UploadSession, on_delete=models.CASCADE, related_name="parts", db_index=False
    )
    part_number = models.PositiveIntegerField()
    offset_bytes = models.PositiveBigIntegerField()
    size_bytes = models.PositiveBigIntegerField()
    digest_algorithm = models.CharField(max_length=16)
    digest = models.CharField(max_length=128)
    # The store's proof that it took the range, which finishing needs.
    receipt = models.CharField(max_length=1024, blank=True, default="", db_default="")

    class Meta:
        db_table = "upload_part"
        constraints = [
            # Also the index that lists a session's parts in order.
            models.UniqueConstraint(fields=["session", "part_number"], name="upload_part_once"),
        ]

    def __str__(self) -> str:
        return f"part {self.part_number} of {self.session_id}"
