from common.models.audit import AuditEntry
from common.models.base import TimeStampedModel, TimeStampedQuerySet
from common.models.heartbeats import Heartbeat
from common.models.outbox import DeliveryStatus, KickLane, OutboxEvent, OutboxKick
from common.models.tallies import Tally, TallyChange
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
    "Heartbeat",
    "KickLane",
    "OutboxEvent",
    "OutboxKick",
    "RetiredSecret",
    "Tally",
    "TallyChange",
    "TimeStampedModel",
    "TimeStampedQuerySet",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
]
