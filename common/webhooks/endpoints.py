"""Webhook endpoints: add, change, rotate secrets, disable, enable, remove."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from common import audit
from common.errors import NotFound
from common.models import (
    DeliveryStatus,
    DisabledReason,
    HealthNotice,
    RetiredSecret,
    TimeStampedQuerySet,
    WebhookDelivery,
    WebhookEndpoint,
)
from common.outbox import events as outbox
from common.outbox import payloads
from common.webhooks import endpoint_settings, sending
from common.webhooks.endpoint_settings import EndpointSettings

BATCH = 1000  # rows changed in one transaction
DISABLED = "The endpoint is disabled."
ALWAYS = Q()


def add_endpoint(
    chosen: EndpointSettings,
    *,
    user: AbstractBaseUser | None = None,
    lifetime: timedelta | None = None,
) -> WebhookEndpoint:
    """Register a receiver; its new secret is in `secret`.

    Raises what `endpoint_settings.check` raises.
    """
    endpoint_settings.check(chosen)
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.create(
            **asdict(chosen),
            secret=sending.new_secret(),
            created_by_id=user.pk if user else None,
            expires_at=None if lifetime is None else Now() + lifetime,
        )
        _record("created", endpoint.id, label=endpoint.description)
    return endpoint


def change_endpoint(*, endpoint_id: UUID, chosen: EndpointSettings) -> WebhookEndpoint:
    """Replace the settings.

    Raises NotFound `webhook_not_found` and what `endpoint_settings.check` raises. An unchanged URL
    is checked again too: the network may have changed.
    """
    endpoint_settings.check(chosen)
    _change("changed", endpoint_id, **asdict(chosen))
    return get(endpoint_id=endpoint_id)


def change_some(*, endpoint_id: UUID, changes: Mapping[str, Any]) -> WebhookEndpoint:
    """Replace some of the settings and write only these, so that concurrent changes are kept.

    `changes` are fields of EndpointSettings. Raises the errors of `change_endpoint`.
    """
    endpoint = get(endpoint_id=endpoint_id)
    # Headers that cannot be decrypted can still be replaced.
    names = EndpointSettings.__dataclass_fields__.keys() - changes.keys()
    kept = {name: getattr(endpoint, name) for name in names}
    endpoint_settings.check(EndpointSettings(**changes, **kept))
    _change("changed", endpoint_id, **changes)
    return get(endpoint_id=endpoint_id)


def _change(action: str, endpoint_id: UUID, **values: Any) -> None:
    with transaction.atomic():
        if not WebhookEndpoint.objects.filter(id=endpoint_id).change(**values):
            raise not_found(endpoint_id)
        _record(action, endpoint_id)


def _record(action: str, endpoint_id: UUID, *, label: str = "") -> None:
    audit.record(f"webhook.{action}", subject="webhook", subject_id=endpoint_id, label=label)


def list_endpoints() -> QuerySet[WebhookEndpoint]:
    return WebhookEndpoint.objects.order_by("-id")


def get(*, endpoint_id: UUID) -> WebhookEndpoint:
    """Raises NotFound `webhook_not_found`."""
    try:
        return WebhookEndpoint.objects.get(id=endpoint_id)
    except WebhookEndpoint.DoesNotExist as exc:
        raise not_found(endpoint_id) from exc


def not_found(endpoint_id: UUID) -> NotFound:
    return NotFound("webhook_not_found", f"There is no webhook endpoint {endpoint_id}.")


# --- Secrets ---------------------------------------------------------------------------------


def rotate_secret(*, endpoint_id: UUID) -> WebhookEndpoint:
    """Sign with a new secret; the old one signs too, for the configured overlap.

    Raises NotFound `webhook_not_found`, DooritoError `secret_unreadable`.
    """
    overlap = timedelta(hours=settings.PORTAL_WEBHOOK_SECRET_OVERLAP_HOURS)
    with transaction.atomic():
        endpoint = locked(endpoint_id)
        RetiredSecret.objects.create(
            endpoint=endpoint, secret=endpoint.secret, expires_at=Now() + overlap
        )
        endpoint.secret = sending.new_secret()
        endpoint.save(update_fields=["secret", "updated_at"])
        _record("secret_rotated", endpoint_id)
    return endpoint


def replace_secret(*, endpoint_id: UUID) -> WebhookEndpoint:
    """Sign with a new secret only, at once: if the old one leaked or cannot be decrypted."""
    with transaction.atomic():
        endpoint = locked(endpoint_id)
        endpoint.secret = sending.new_secret()
        endpoint.save(update_fields=["secret", "updated_at"])
        endpoint.retired_secrets.all().delete()
        _record("secret_replaced", endpoint_id)
    return endpoint


def revoke_old_secrets(*, endpoint_id: UUID) -> int:
    """End the overlap of a rotation now. Returns how many secrets no longer sign."""
    with transaction.atomic():
        endpoint = locked(endpoint_id)
        endpoint.save(update_fields=["updated_at"])  # workers read changed endpoints again
        _record("old_secrets_revoked", endpoint_id)
        return endpoint.retired_secrets.all().delete()[0]


def overlap_end(endpoint: WebhookEndpoint) -> datetime | None:
    """Until when an old secret signs too; None if none does."""
    signing = endpoint.retired_secrets.filter(expires_at__gt=Now())
    return signing.aggregate(end=Max("expires_at"))["end"]


def purge_secrets() -> None:
    """Delete secrets that no longer sign."""
    RetiredSecret.objects.filter(expires_at__lte=Now()).delete()


def locked(endpoint_id: UUID) -> WebhookEndpoint:
    """An endpoint, locked against changes and removal until the transaction ends.

    Writers of deliveries to it need not wait. Lock it before events and deliveries. Raises NotFound
    `webhook_not_found`.
    """
    rows = WebhookEndpoint.objects.select_for_update(no_key=True)
    try:
        return rows.get(id=endpoint_id)
    except WebhookEndpoint.DoesNotExist as exc:
        raise not_found(endpoint_id) from exc


# --- On and off ------------------------------------------------------------------------------


def enable(*, endpoint_id: UUID) -> None:
    """Send new events to an endpoint again. `recovery.start` sends what it missed."""
    _change(
        "enabled",
        endpoint_id,
        is_active=True,
        disabled_reason="",
        disabled_at=None,
        consecutive_failures=0,
        failing_since=None,
        notice=HealthNotice.NONE,
    )


def disable(
    *,
    endpoint_id: UUID,
    reason: DisabledReason = DisabledReason.MANUAL,
    condition: Q = ALWAYS,
) -> None:
    """Stop an endpoint: its pending deliveries fail, those being sent may still arrive.

    The other endpoints get `webhook.disabled`. The endpoint must meet `condition`:
    it may have recovered since the caller looked. Raises NotFound `webhook_not_found`.
    """
    with transaction.atomic():
        endpoint = locked(endpoint_id)
        if WebhookEndpoint.objects.filter(condition, id=endpoint_id, is_active=True).exists():
            _deactivate(endpoint, reason)
            _record("disabled", endpoint_id)
    _fail_pending(endpoint_id)


def _deactivate(endpoint: WebhookEndpoint, reason: DisabledReason) -> None:
    now = timezone.now()
    endpoint.is_active = False
    endpoint.disabled_reason = reason
    endpoint.disabled_at = now
    endpoint.save(update_fields=["is_active", "disabled_reason", "disabled_at", "updated_at"])
    if endpoint.expires_at is None:  # temporary endpoints of listeners emit no event
        outbox.emit_event(
            event_type="webhook.disabled",
            idempotency_key=f"{endpoint.id}@{now.isoformat()}",
            aggregate_type="webhook",
            aggregate_id=endpoint.id,
            payload=payloads.webhook_disabled(endpoint, disabled_at=now).to_json(),
        )


def _fail_pending(endpoint_id: UUID) -> None:
    while _fail_some(endpoint_id):
        pass


def _fail_some(endpoint_id: UUID) -> int:
    pending = WebhookDelivery.objects.filter(
        endpoint_id=endpoint_id,
        endpoint__is_active=False,  # if it was enabled meanwhile, deliveries stay pending
        status=DeliveryStatus.PENDING,
    )
    return give_up(pending, error=DISABLED)


def give_up(deliveries: TimeStampedQuerySet, *, error: str) -> int:
    """Fail a batch of deliveries without an attempt, except locked ones. Returns how many.

    The reason must be part of the query, because it is evaluated again after locking.
    """
    with transaction.atomic():
        events = dict(_lock_batch(deliveries).values_list("id", "event_id"))
        WebhookDelivery.objects.filter(id__in=events).update(
            status=DeliveryStatus.FAILED, lease_id=None, last_error=error
        )
        outbox.roll_up(set(events.values()))
    return len(events)


def _lock_batch(deliveries: TimeStampedQuerySet) -> TimeStampedQuerySet:
    """Lock a batch of deliveries and, before them, their events; skip deliveries locked by others.

    A claim locks its deliveries first and may need their events next: waiting for it while holding
    the events would be a deadlock.
    """
    event_ids = dict(deliveries.order_by("id").values_list("id", "event_id")[:BATCH])
    outbox.lock(set(event_ids.values()))
    return deliveries.filter(id__in=event_ids).locked()


def remove_endpoint(*, endpoint_id: UUID) -> None:
    """Delete an endpoint with its deliveries. Raises NotFound `webhook_not_found`.

    Not inside a transaction: it would keep the locks of all batches.
    """
    if not _remove(WebhookEndpoint.objects.filter(id=endpoint_id), endpoint_id):
        raise not_found(endpoint_id)
    _record("removed", endpoint_id)


def _remove(chosen: TimeStampedQuerySet, endpoint_id: UUID) -> bool:
    """Remove an endpoint. Returns False if it is no longer among the `chosen`.

    It is disabled first and emptied in batches, so that the last transaction, for which new events
    wait, is short.
    """
    if not chosen.filter(id=endpoint_id).change(is_active=False):
        return False
    while not _delete_empty(endpoint_id):
        while _delete_some(endpoint_id):
            pass
    return True


def _delete_empty(endpoint_id: UUID) -> bool:
    with transaction.atomic():
        # Waits for transactions that are writing deliveries to it, and holds back new ones.
        endpoint = WebhookEndpoint.objects.select_for_update().filter(id=endpoint_id)
        list(endpoint)
        if WebhookDelivery.objects.filter(endpoint_id=endpoint_id).exists():
            return False
        endpoint.delete()
    return True


def _delete_some(endpoint_id: UUID) -> int:
    with transaction.atomic():
        own = _lock_batch(WebhookDelivery.objects.filter(endpoint_id=endpoint_id))
        some = dict(own.values_list("id", "event_id"))
        WebhookDelivery.objects.filter(id__in=some).delete()
        outbox.roll_up(set(some.values()))
    return len(some)


# --- Temporary endpoints ---------------------------------------------------------------------


def keep_alive(*, endpoint_id: UUID, lifetime: timedelta) -> None:
    """Extend the life of a temporary endpoint. Raises NotFound `webhook_not_found`."""
    if not WebhookEndpoint.objects.filter(id=endpoint_id, expires_at__isnull=False).change(
        expires_at=Now() + lifetime
    ):
        raise not_found(endpoint_id)


def remove_expired() -> None:
    """Remove temporary endpoints whose listener ended without doing so."""
    expired = WebhookEndpoint.objects.filter(expires_at__lte=Now())
    for endpoint_id in list(expired.values_list("id", flat=True)):
        _remove(expired, endpoint_id)
