"""Sending again, by hand: what failed, or what a receiver wants once more.

It is the same delivery of the same event, with the same id, from the first step of its schedule.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from common.errors import Conflict
from common.models import DeliveryStatus, OutboxEvent, WebhookDelivery, WebhookEndpoint
from common.outbox import events, kicks
from common.webhooks import endpoints
from common.webhooks.selectors import get_delivery, get_event

LOCK_BATCH = 1000  # events


def retry_failed(deliveries: QuerySet[WebhookDelivery]) -> int:
    """Start failed deliveries to active endpoints again; how many it were."""
    failed = deliveries.filter(status=DeliveryStatus.FAILED, endpoint__is_active=True)
    started = 0
    while ids := list(failed.order_by("id").values_list("id", flat=True)[:LOCK_BATCH]):
        restarted = _restart(ids, from_states=[DeliveryStatus.FAILED])
        started += restarted
        if not restarted:
            break
    return started


def resend(*, delivery_id: UUID) -> WebhookDelivery:
    """Send one delivery again, whatever became of it.

    Raises NotFound `delivery_not_found`, Conflict `webhook_disabled` or `delivery_in_progress`.
    """
    delivery = get_delivery(delivery_id=delivery_id)
    _require_active(delivery.endpoint)
    if not _restart([delivery_id], from_states=[*events.FINISHED, DeliveryStatus.PENDING]):
        raise Conflict("delivery_in_progress", "The delivery is being sent at this moment.")
    return get_delivery(delivery_id=delivery_id)


def redeliver(*, event_id: UUID, endpoint_id: UUID | None = None) -> list[WebhookDelivery]:
    """Send an event again: to one endpoint, or to all active ones that it was meant for.

    One endpoint gets it even when it was not meant for it. Raises NotFound `event_not_found` or
    `webhook_not_found`, Conflict `webhook_disabled`.
    """
    event = get_event(event_id=event_id)
    own = WebhookDelivery.objects.filter(event=event, endpoint__is_active=True)
    if endpoint_id:
        endpoint = endpoints.get(endpoint_id=endpoint_id)
        _require_active(endpoint)
        own = own.filter(endpoint=endpoint)
        _subscribe(event, endpoint)
    ids = list(own.values_list("id", flat=True))
    _restart(ids, from_states=[*events.FINISHED, DeliveryStatus.PENDING])
    return list(own.select_related("event", "endpoint").order_by("id"))


def _subscribe(event: OutboxEvent, endpoint: WebhookEndpoint) -> None:
    """Make sure that there is a delivery. Raises NotFound when one of both was just removed."""
    delivery = WebhookDelivery(event=event, endpoint=endpoint, due_at=timezone.now())
    try:
        WebhookDelivery.objects.bulk_create([delivery], ignore_conflicts=True)
    except IntegrityError:
        endpoints.get(endpoint_id=endpoint.id)
        get_event(event_id=event.id)
        raise


def _require_active(endpoint: WebhookEndpoint) -> None:
    if not endpoint.is_active:
        raise Conflict("webhook_disabled", "The endpoint is disabled: enable it first.")


def _restart(ids: Iterable[UUID], *, from_states: list[DeliveryStatus]) -> int:
    now = timezone.now()
    with transaction.atomic():
        chosen = WebhookDelivery.objects.filter(id__in=list(ids))
        event_ids = set(chosen.values_list("event_id", flat=True))
        events.lock(event_ids)
        # Those that a claim holds are about to be sent: they are not waited for.
        free = chosen.filter(status__in=from_states).locked().values_list("id", flat=True)
        started = WebhookDelivery.objects.filter(id__in=list(free)).update(
            status=DeliveryStatus.PENDING, due_at=now, schedule_step=0, delivered_at=None
        )
        events.roll_up(event_ids)
        transaction.on_commit(lambda: kicks.request(now), robust=True)
    return started
