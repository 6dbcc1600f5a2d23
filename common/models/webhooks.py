"""Where events go, and what became of each."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from common.fields import EncryptedTextField
from common.models.base import TimeStampedModel
from common.models.outbox import DeliveryStatus, OutboxEvent


class WebhookEndpoint(TimeStampedModel):
    """A receiver of events. An empty `event_types` means all."""

    description = models.CharField(max_length=255, blank=True)
    url = models.URLField(max_length=2048)
    secret = EncryptedTextField()
    event_types = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    is_active = models.BooleanField(default=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        db_table = "webhook_endpoint"

    def __str__(self) -> str:
        return self.description or self.url


class WebhookDelivery(TimeStampedModel):
    """One event for one endpoint: the row that workers claim.

    `due_at` is the time of the next attempt while pending, and the end of the worker's lease
    while sending: whoever finds it passed may claim the row. `lease_id` names the claim, so a
    worker that lost its lease cannot write a result over another's.

    `attempt_count` numbers the attempts and only grows. `schedule_step` counts those of the
    current run through the retry schedule; a manual retry starts it again from 0.
    """

    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="deliveries")
    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries"
    )
    status = models.CharField(max_length=16, choices=DeliveryStatus, default=DeliveryStatus.PENDING)
    due_at = models.DateTimeField()
    lease_id = models.UUIDField(null=True, blank=True)
    attempt_count = models.PositiveIntegerField(default=0)
    schedule_step = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=500, blank=True)
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
        ]

    def __str__(self) -> str:
        return f"{self.event_id} → {self.endpoint_id}"


class WebhookAttempt(TimeStampedModel):
    """One HTTP attempt of a delivery. Append-only."""

    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    response_body = models.TextField(blank=True)  # the first 4 KiB
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "webhook_attempt"
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="webhook_attempt_once"),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.delivery_id}"
