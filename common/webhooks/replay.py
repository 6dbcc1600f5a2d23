"""Manual retries: of failed deliveries, and of others that a receiver wants again.

The same delivery of the same event is sent with the same id, from the first step of its schedule.
Each restart is one transaction: a running dispatcher sends what is committed in between.
"""

from collections.abc import Collection
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from common.errors import Conflict
from common.models import DeliveryStatus, OutboxEvent, WebhookDelivery, WebhookEndpoint
from common.outbox import events, kicks
from common.webhooks import endpoints
from common.webhooks.selectors import event_not_found, get_delivery

LOCK_BATCH = 1000  # deliveries restarted in one transaction
_RESTARTABLE = (*events.FINISHED, DeliveryStatus.PENDING)


def retry_failed(deliveries: QuerySet[WebhookDelivery]) -> int:
    """Restart failed deliveries to active endpoints. Returns how many."""
    failed = deliveries.filter(status=DeliveryStatus.FAILED).order_by("id")
    restarted = 0
    ids = list(failed.values_list("id", flat=True)[:LOCK_BATCH])
    while ids:
        with transaction.atomic():
            restarted += _restart(ids, from_states=[DeliveryStatus.FAILED])
        # Each delivery once: those that fail again meanwhile are not restarted for ever.
        ids = list(failed.filter(id__gt=ids[-1]).values_list("id", flat=True)[:LOCK_BATCH])
    return restarted


def resend(*, delivery_id: UUID) -> WebhookDelivery:
    """Send one delivery again, whatever its state.

    Raises NotFound `delivery_not_found`, Conflict `webhook_disabled` or `delivery_in_progress`.
    """
    delivery = get_delivery(delivery_id=delivery_id)
    with transaction.atomic():
        _lock_active(delivery.endpoint_id)
        restarted = _restart([delivery_id], from_states=_RESTARTABLE)
    delivery = get_delivery(delivery_id=delivery_id)
    if not restarted:
        raise Conflict("delivery_in_progress", "The delivery is being sent at this moment.")
    return delivery


def redeliver(*, event_id: UUID, endpoint_id: UUID | None = None) -> list[WebhookDelivery]:
    """Send an event again: to one endpoint, or to all active ones that it was sent to.

    One endpoint gets it even if its filters do not match. Raises NotFound `event_not_found` or
    `webhook_not_found`, Conflict `webhook_disabled`.
    """
    own = WebhookDelivery.objects.filter(event_id=event_id, endpoint__is_active=True)
    with transaction.atomic():
        if endpoint_id:
            endpoint = _lock_active(endpoint_id)
            own = own.filter(endpoint=endpoint)
            _subscribe(event_id, endpoint)
        else:
            _lock_event(event_id)
        _restart(own.values_list("id", flat=True), from_states=_RESTARTABLE)
    return list(own.select_related("event", "endpoint").order_by("id"))


def _lock_active(endpoint_id: UUID) -> WebhookEndpoint:
    """Lock an active endpoint until the transaction ends. Call before its events are locked."""
    endpoint = endpoints.locked(endpoint_id)
    if not endpoint.is_active:
        raise Conflict("webhook_disabled", "The endpoint is disabled: enable it first.")
    return endpoint


def _lock_event(event_id: UUID) -> OutboxEvent:
    event = OutboxEvent.objects.select_for_update(no_key=True).filter(id=event_id).first()
    if event is None:
        raise event_not_found(event_id)
    return event


def _subscribe(event_id: UUID, endpoint: WebhookEndpoint) -> None:
    """Make sure that the endpoint has a delivery of the event."""
    delivery = WebhookDelivery(event=_lock_event(event_id), endpoint=endpoint, due_at=Now())
    WebhookDelivery.objects.bulk_create([delivery], ignore_conflicts=True)


def _restart(ids: Collection[UUID], *, from_states: Collection[DeliveryStatus]) -> int:
    """Make deliveries to active endpoints due, in the caller's transaction. Returns how many.

    Locked deliveries are skipped: a claim is about to send them.
    """
    chosen = WebhookDelivery.objects.filter(id__in=list(ids))
    event_ids = set(chosen.values_list("event_id", flat=True))
    events.lock(event_ids)
    free = chosen.filter(status__in=from_states, endpoint__is_active=True).locked()
    restarted = WebhookDelivery.objects.filter(id__in=list(free.values_list("id", flat=True)))
    count = restarted.update(
        status=DeliveryStatus.PENDING, due_at=Now(), schedule_step=0, delivered_at=None
    )
    events.roll_up(event_ids)
    transaction.on_commit(kicks.request, robust=True)
    return count
