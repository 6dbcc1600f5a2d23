"""The event outbox: facts, written in the transaction of the change that they report."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from common import lengths
from common.models.base import TimeStampedModel


class DeliveryStatus(models.TextChoices):
    """The state of a delivery. An event's state summarises those of its deliveries."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"


class OutboxEvent(TimeStampedModel):
    """An immutable fact. Its id is the `webhook-id` of every attempt."""

    event_type = models.CharField(max_length=lengths.EVENT_TYPE)
    schema_version = models.PositiveSmallIntegerField(default=1)
    aggregate_type = models.CharField(max_length=64)
    aggregate_id = models.UUIDField()
    idempotency_key = models.CharField(max_length=255)
    payload = models.JSONField(encoder=DjangoJSONEncoder)
    # What endpoints filter by; null or empty where it does not apply.
    user_id = models.UUIDField(null=True, blank=True)
    batch_id = models.UUIDField(null=True, blank=True)
    content_type = models.CharField(max_length=lengths.CONTENT_TYPE, blank=True)
    status = models.CharField(max_length=16, choices=DeliveryStatus, default=DeliveryStatus.PENDING)
    # The request that the fact comes from (`common.journal`); empty: it comes from none.
    request_id = models.CharField(
        max_length=lengths.REQUEST_ID, blank=True, default="", db_default=""
    )
    traceparent = models.CharField(
        max_length=lengths.TRACEPARENT, blank=True, default="", db_default=""
    )

    class Meta:
        db_table = "outbox_event"
        constraints = [
            models.UniqueConstraint(
                fields=["event_type", "idempotency_key"], name="outbox_event_once"
            ),
        ]
        indexes = [
            # A file's or batch's events, newest first (file page).
            models.Index(
                fields=["aggregate_type", "aggregate_id", "-id"], name="outbox_event_aggregate"
            ),
            # Lists by type.
            models.Index(fields=["event_type", "-id"], name="outbox_event_type"),
            # Lists by status. (What is delivered, nearly all, is met soon enough without.)
            models.Index(
                fields=["status", "-id"],
                condition=~models.Q(status=DeliveryStatus.DELIVERED),
                name="outbox_event_status",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.id}"


class KickLane(models.TextChoices):
    """What a kick is for: work that is due now, or the next retry."""

    NOW = "now"
    LATER = "later"


class OutboxKick(models.Model):
    """A kick that was sent and has not arrived yet. If `at` is long past, the kick was lost."""

    lane = models.CharField(max_length=8, choices=KickLane, primary_key=True)
    at = models.DateTimeField()

    class Meta:
        db_table = "outbox_kick"

    def __str__(self) -> str:
        return f"{self.lane} at {self.at}"
