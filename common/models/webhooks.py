"""Webhook endpoints, deliveries of events to them, and attempts."""

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from common import lengths
from common.fields import EncryptedJSONField, EncryptedTextField
from common.models.base import TimeStampedModel
from common.models.outbox import DeliveryStatus, OutboxEvent


class DisabledReason(models.TextChoices):
    """Why an endpoint was disabled."""

    MANUAL = "manual", "disabled by hand"
    GONE = "gone", "it answered 410 Gone"
    FAILING = "failing", "it failed for too long"


class HealthNotice(models.TextChoices):
    """The last notice that staff got about a failing endpoint."""

    NONE = "", "nothing"
    WARNED = "warned"
    DISABLED = "disabled"


class WebhookEndpoint(TimeStampedModel):
    """A receiver of events: its URL, filters, way of sending, and health."""

    description = models.CharField(max_length=lengths.DESCRIPTION, blank=True)
    url = models.URLField(max_length=lengths.URL)
    secret = EncryptedTextField()  # the current one; see RetiredSecret
    headers = EncryptedJSONField(default=dict, blank=True)  # sent with every attempt, name → value
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    # The events it gets: those that pass all filters. Empty or null matches all.
    event_types = ArrayField(
        models.CharField(max_length=lengths.EVENT_TYPE), default=list, blank=True
    )
    content_types = ArrayField(
        models.CharField(max_length=lengths.CONTENT_TYPE), default=list, blank=True
    )
    # Ids without a foreign key: when the user or batch is deleted, nothing matches.
    user_id = models.UUIDField(null=True, blank=True)
    batch_id = models.UUIDField(null=True, blank=True)

    # How events are sent. Null uses the portal's setting.
    retry_schedule = ArrayField(models.PositiveIntegerField(), null=True, blank=True)  # seconds
    timeout_seconds = models.PositiveSmallIntegerField(null=True, blank=True)

    is_active = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=16, choices=DisabledReason, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    # The end of a temporary endpoint, unless its listener extends it. Then it is removed.
    expires_at = models.DateTimeField(null=True, blank=True)

    # Attempts that failed since the last success, and when the first of them did.
    consecutive_failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    notice = models.CharField(
        max_length=16, choices=HealthNotice, default=HealthNotice.NONE, blank=True
    )

    # Ids of events (UUIDv7: by time) that recovery has yet to look at: after the one, up to the
    # other. Null when none is under way.
    recovery_after = models.UUIDField(null=True, blank=True)
    recovery_until = models.UUIDField(null=True, blank=True)

    class Meta:
        db_table = "webhook_endpoint"

    def __str__(self) -> str:
        return self.description or self.url

    @property
    def host(self) -> str:
        """The host, for people who may not see the URL: path and query can be secrets."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


class RetiredSecret(TimeStampedModel):
    """A secret that was replaced. It signs too, until it expires."""

    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, related_name="retired_secrets"
    )
    secret = EncryptedTextField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "webhook_retired_secret"

    def __str__(self) -> str:
        return f"of {self.endpoint_id} until {self.expires_at}"


class WebhookDelivery(TimeStampedModel):
    """One event for one endpoint: the row that workers claim.

    `due_at` is the time of the next attempt while the delivery is pending, and the end of the
    worker's lease while it is being sent. After that time, any worker may claim the row. `lease_id`
    identifies the claim, so that a worker that lost its lease cannot overwrite another's result.

    `attempt_count` numbers the attempts and only grows. `schedule_step` counts the attempts of the
    current pass through the retry schedule; a manual retry sets it to 0.
    """

    # The constraint's index and those below begin with them.
    event = models.ForeignKey(
        OutboxEvent, on_delete=models.CASCADE, db_index=False, related_name="deliveries"
    )
    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, db_index=False, related_name="deliveries"
    )
    status = models.CharField(max_length=16, choices=DeliveryStatus, default=DeliveryStatus.PENDING)
    due_at = models.DateTimeField()
    lease_id = models.UUIDField(null=True, blank=True)
    attempt_count = models.PositiveIntegerField(default=0)
    schedule_step = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=lengths.ERROR_MESSAGE, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "webhook_delivery"
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.UniqueConstraint(fields=["event", "endpoint"], name="webhook_delivery_once"),
        ]
        indexes = [
            # The claim query: what is due for an endpoint, oldest first.
            models.Index(
                fields=["endpoint", "due_at"],
                condition=models.Q(status__in=[DeliveryStatus.PENDING, DeliveryStatus.SENDING]),
                name="webhook_delivery_due",
            ),
            # An endpoint's deliveries, newest first (its page, the API).
            models.Index(fields=["endpoint", "-id"], name="webhook_delivery_list"),
            # The same of those that failed. (What is delivered is met soon enough without.)
            models.Index(
                fields=["endpoint", "-id"],
                condition=models.Q(status=DeliveryStatus.FAILED),
                name="webhook_delivery_failed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} → {self.endpoint_id}"


class WebhookAttempt(TimeStampedModel):
    """One HTTP attempt of a delivery. Append-only, except that its details are purged earlier.

    The details are what was sent besides the event, and the response. Headers are null after the
    purge.
    """

    delivery = models.ForeignKey(  # the constraint's index begins with it
        WebhookDelivery, on_delete=models.CASCADE, db_index=False, related_name="attempts"
    )
    # The delivery's, for the health of an endpoint. It goes with the delivery.
    endpoint = models.ForeignKey(
        WebhookEndpoint,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    request_headers = models.JSONField(null=True, blank=True)  # custom values are hidden
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    response_headers = models.JSONField(null=True, blank=True)
    response_body = models.TextField(blank=True)  # the first 4 KiB
    error = models.CharField(max_length=lengths.ERROR_MESSAGE, blank=True)

    class Meta:
        db_table = "webhook_attempt"
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="webhook_attempt_once"),
        ]
        indexes = [
            # The latest attempts at an endpoint, from which its health is told.
            models.Index(fields=["endpoint", "-id"], name="webhook_attempt_health"),
            # Retention of details, oldest first.
            models.Index(
                fields=["id"],
                condition=models.Q(request_headers__isnull=False),
                name="webhook_attempt_details",
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.delivery_id}"
