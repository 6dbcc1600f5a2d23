"""Recovery: sends an endpoint again what failed and what it missed since some time.

This may concern all stored events, so it runs in the background, chunk by chunk. Its position is in
the endpoint's row: if a worker dies, the next one continues.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Least, Now

from common.errors import Conflict
from common.ids import first_id, uuid7
from common.models import DeliveryStatus, OutboxEvent, WebhookDelivery, WebhookEndpoint
from common.outbox import events as outbox
from common.outbox import kicks
from common.webhooks import endpoints

CHUNK = 500  # events looked at in one transaction
FOR_ONE_ONLY = "webhook.test"  # sent only to the tested endpoint, not by subscription


def start(*, endpoint_id: UUID, since: datetime) -> None:
    """Start to send an endpoint the events that it did not get since a time, up to now.

    These are its failed deliveries, and events that pass its filters but came while it was
    disabled. Events from before it was added are not included: `replay.redeliver` sends single ones
    of these. Raises NotFound `webhook_not_found`, Conflict `webhook_disabled`.
    """
    started = WebhookEndpoint.objects.filter(id=endpoint_id, is_active=True).change(
        # One that is under way may have begun earlier, and had not come so far.
        recovery_after=Least("recovery_after", first_id(since)),
        recovery_until=uuid7(),
    )
    if not started:
        endpoints.get(endpoint_id=endpoint_id)
        raise Conflict("webhook_disabled", "The endpoint is disabled: enable it first.")
    kicks.request()


def advance(*, endpoint_id: UUID | None = None) -> int | None:
    """Process the next chunk of a recovery, of any endpoint or of one.

    Returns how many deliveries it started; None when nothing is left, or another worker is
    processing.
    """
    waiting = WebhookEndpoint.objects.filter(recovery_after__isnull=False)
    if endpoint_id:
        waiting = waiting.filter(id=endpoint_id)
    with transaction.atomic():
        endpoint = waiting.select_for_update(no_key=True, skip_locked=True).first()
        return _advance(endpoint) if endpoint else None


def _advance(endpoint: WebhookEndpoint) -> int:
    events = _events(endpoint) if endpoint.is_active else []
    started = _send_again(endpoint, events)
    is_over = len(events) < CHUNK
    WebhookEndpoint.objects.filter(id=endpoint.id).update(
        recovery_after=None if is_over else events[-1].id,
        recovery_until=None if is_over else endpoint.recovery_until,
    )
    if started:
        transaction.on_commit(kicks.request, robust=True)
    return started


def _events(endpoint: WebhookEndpoint) -> list[OutboxEvent]:
    """The next events, locked before their deliveries, in the order in which the purge locks."""
    return list(
        OutboxEvent.objects.filter(id__gt=endpoint.recovery_after, id__lte=endpoint.recovery_until)
        .select_for_update(no_key=True)
        .defer("payload")
        .order_by("id")[:CHUNK]
    )


def _send_again(endpoint: WebhookEndpoint, events: list[OutboxEvent]) -> int:
    own = WebhookDelivery.objects.filter(endpoint=endpoint, event__in=events)
    known = set(own.values_list("event_id", flat=True))
    missed = [
        WebhookDelivery(event=event, endpoint=endpoint, due_at=Now())
        for event in events
        if event.created_at >= endpoint.created_at
        and event.id not in known
        and event.event_type != FOR_ONE_ONLY
        and event.aggregate_id
        != endpoint.id  # its own `webhook.disabled` goes to the other endpoints only
        and outbox.takes(endpoint, event)
    ]
    WebhookDelivery.objects.bulk_create(missed, ignore_conflicts=True)
    failed = own.filter(status=DeliveryStatus.FAILED).exclude(event__event_type=FOR_ONE_ONLY)
    restarted = set(failed.values_list("event_id", flat=True))
    own.filter(event__in=restarted, status=DeliveryStatus.FAILED).update(
        status=DeliveryStatus.PENDING, due_at=Now(), schedule_step=0
    )
    changed = restarted | {delivery.event_id for delivery in missed}
    outbox.roll_up(changed)
    return len(changed)
