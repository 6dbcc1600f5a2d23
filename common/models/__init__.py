from common.models.audit import AuditEntry
from common.models.base import TimeStampedModel, TimeStampedQuerySet
from common.models.outbox import DeliveryStatus, KickLane, OutboxEvent, OutboxKick
from common.models.webhooks import (
    DisabledReason,
    HealthNotice,
    RetiredSecret,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)

__all__ = [
    "AuditEntry",
    "DeliveryStatus",
    "DisabledReason",
    "HealthNotice",
    "KickLane",
    "OutboxEvent",
    "OutboxKick",
    "RetiredSecret",
    "TimeStampedModel",
    "TimeStampedQuerySet",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
]
