from common.models.base import TimeStampedModel, TimeStampedQuerySet
from common.models.outbox import DeliveryStatus, KickLane, OutboxEvent, OutboxKick
from common.models.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint

__all__ = [
    "DeliveryStatus",
    "KickLane",
    "OutboxEvent",
    "OutboxKick",
    "TimeStampedModel",
    "TimeStampedQuerySet",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
]
