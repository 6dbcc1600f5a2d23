"""Webhook endpoints: add, change, rotate the secret of, disable, enable, remove."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from common.content_types import is_pattern
from common.errors import InvalidInput, NotFound
from common.models import (
    DeliveryStatus,
    DisabledReason,
    HealthNotice,
    RetiredSecret,
    TimeStampedQuerySet,
    WebhookDelivery,
    WebhookEndpoint,
)
from common.net import ssrf
from common.outbox import events as outbox
from common.outbox import payloads
from common.outbox.types import event_types
from common.webhooks import sending

URL_LENGTH = 2048  # characters
DESCRIPTION_LENGTH = 255  # characters
SCHEDULE_STEPS = 20
WAIT_MAX = 7 * 86_400  # seconds
TIMEOUT_MAX = 60  # seconds
HEADERS_MAX = 20
HEADER_LENGTH = 4096  # characters of a value
BATCH = 1000  # rows changed in one transaction
DISABLED = "The endpoint is disabled."
ALWAYS = Q()

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # a token, RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
# What the request itself is made of, and what we say of the event.
_OWN_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
_OWN_PREFIXES = ("webhook-", "x-webhook-", "proxy-")


@dataclass(frozen=True)
class EndpointSettings:
    """What can be chosen about an endpoint. Empty filters take all, null takes the setting.

    `retry_schedule` and `timeout_seconds` are in seconds; `headers` go with every attempt.
    """

    url: str
    description: str = ""
    event_types: Sequence[str] = ()
    content_types: Sequence[str] = ()
    user_id: UUID | None = None
    batch_id: UUID | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_schedule: Sequence[int] | None = None
    timeout_seconds: int | None = None

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> "EndpointSettings":
        """Raises DooritoError `secret_unreadable` when the headers cannot be decrypted."""
        return cls(**{name: getattr(endpoint, name) for name in cls.__dataclass_fields__})


def add_endpoint(
    chosen: EndpointSettings,
    *,
    user: AbstractBaseUser | None = None,
    expires_at: datetime | None = None,
) -> WebhookEndpoint:
    """Register a receiver; its new secret is in `secret`. Raises what `check` raises."""
    check(chosen)
    return WebhookEndpoint.objects.create(
        **asdict(chosen),
        secret=sending.new_secret(),
        created_by_id=user.pk if user else None,
        expires_at=expires_at,
    )


def change_endpoint(*, endpoint_id: UUID, chosen: EndpointSettings) -> WebhookEndpoint:
    """Replace what was chosen. Raises NotFound `webhook_not_found` and what `check` raises.

    The URL is checked against the guard also when it stays: the network may have changed.
    """
    check(chosen)
    if not WebhookEndpoint.objects.filter(id=endpoint_id).change(**asdict(chosen)):
        raise not_found(endpoint_id)
    return get(endpoint_id=endpoint_id)


def change_some(*, endpoint_id: UUID, changes: Mapping[str, Any]) -> WebhookEndpoint:
    """Replace some of what was chosen, and write only that: what others change meanwhile stays.

    `changes` are fields of EndpointSettings. Raises as `change_endpoint` does.
    """
    endpoint = get(endpoint_id=endpoint_id)
    # Headers that cannot be decrypted are in nobody's way who replaces them.
    names = EndpointSettings.__dataclass_fields__.keys() - changes.keys()
    check(EndpointSettings(**changes, **{name: getattr(endpoint, name) for name in names}))
    if not WebhookEndpoint.objects.filter(id=endpoint_id).change(**changes):
        raise not_found(endpoint_id)
    return get(endpoint_id=endpoint_id)


def check(chosen: EndpointSettings) -> None:
    """Refuse what cannot work. Raises InvalidInput, its member `field` names the setting:

    `webhook_url_invalid`, `webhook_url_not_public`, `webhook_event_type_unknown`,
    `webhook_description_invalid`, `webhook_content_type_invalid`, `webhook_header_invalid`,
    `webhook_schedule_invalid`, `webhook_timeout_invalid`.
    """
    _check_url(chosen.url)
    _check_description(chosen.description)
    _check_event_types(chosen.event_types)
    _check_content_types(chosen.content_types)
    check_headers(chosen.headers)
    _check_schedule(chosen.retry_schedule)
    _check_timeout(chosen.timeout_seconds)


def _check_url(url: str) -> None:
    if len(url) > URL_LENGTH:
        message = f"The URL is longer than {URL_LENGTH} characters."
        raise InvalidInput("webhook_url_invalid", message, field="url")
    try:
        ssrf.check_url(url)
    except InvalidInput as exc:
        raise InvalidInput(f"webhook_{exc.code}", exc.message, field="url") from exc


def _check_event_types(patterns: Sequence[str]) -> None:
    for pattern in patterns:
        if not event_types.has_any(pattern):
            raise InvalidInput(
                "webhook_event_type_unknown",
                f"There is no event type {pattern}. Types: {event_types.listed()}; file.* takes "
                "all of a kind.",
                field="event_types",
            )


def _check_description(description: str) -> None:
    problem = None
    if len(description) > DESCRIPTION_LENGTH:
        problem = f"The description is longer than {DESCRIPTION_LENGTH} characters."
    # Bytes of an argument that are not UTF-8 come as lone surrogates (PEP 383).
    elif any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in description):
        problem = "The description must be UTF-8 text without NUL."
    if problem:
        raise InvalidInput("webhook_description_invalid", problem, field="description")


def _check_content_types(patterns: Sequence[str]) -> None:
    for pattern in patterns:
        if not is_pattern(pattern):
            raise InvalidInput(
                "webhook_content_type_invalid",
                f"{pattern} is not a content type such as application/pdf or image/*.",
                field="content_types",
            )


def check_headers(headers: Mapping[str, str]) -> None:
    problem = None
    if len(headers) > HEADERS_MAX or len({name.lower() for name in headers}) < len(headers):
        problem = f"At most {HEADERS_MAX} headers can be added, each name once."
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            problem = f"{name!r} is not the name of a header."
        elif name.lower() in _OWN_HEADERS or name.lower().startswith(_OWN_PREFIXES):
            problem = f"The header {name} is set by Doorito itself."
        elif len(value) > HEADER_LENGTH or not _HEADER_VALUE.fullmatch(value):
            problem = (
                f"The value of {name} must be one line of at most {HEADER_LENGTH} ASCII characters."
            )
    if problem:
        raise InvalidInput("webhook_header_invalid", problem, field="headers")


def _check_schedule(schedule: Sequence[int] | None) -> None:
    if schedule is None:
        return
    if not 1 <= len(schedule) <= SCHEDULE_STEPS or not all(
        0 <= wait <= WAIT_MAX for wait in schedule
    ):
        raise InvalidInput(
            "webhook_schedule_invalid",
            f"A retry schedule has 1 to {SCHEDULE_STEPS} waits of 0 to {WAIT_MAX} seconds.",
            field="retry_schedule",
        )


def _check_timeout(timeout: int | None) -> None:
    if timeout is not None and not 1 <= timeout <= TIMEOUT_MAX:
        raise InvalidInput(
            "webhook_timeout_invalid",
            f"The timeout must be 1 to {TIMEOUT_MAX} seconds.",
            field="timeout_seconds",
        )


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
    """Sign with a new secret; the old one signs beside it for the overlap of the settings.

    Raises NotFound `webhook_not_found`, DooritoError `secret_unreadable`.
    """
    overlap = timedelta(hours=settings.PORTAL_WEBHOOK_SECRET_OVERLAP_HOURS)
    with transaction.atomic():
        endpoint = locked(endpoint_id)
        RetiredSecret.objects.create(
            endpoint=endpoint, secret=endpoint.secret, expires_at=timezone.now() + overlap
        )
        endpoint.secret = sending.new_secret()
        endpoint.save(update_fields=["secret", "updated_at"])
    return endpoint


def replace_secret(*, endpoint_id: UUID) -> WebhookEndpoint:
    """Sign with a new secret alone, at once: for one that leaked, or that cannot be read."""
    with transaction.atomic():
        endpoint = locked(endpoint_id)
        endpoint.secret = sending.new_secret()
        endpoint.save(update_fields=["secret", "updated_at"])
        endpoint.retired_secrets.all().delete()
    return endpoint


def revoke_old_secrets(*, endpoint_id: UUID) -> int:
    """End the overlap of a rotation now; how many secrets no longer sign."""
    with transaction.atomic():
        endpoint = locked(endpoint_id)
        endpoint.save(update_fields=["updated_at"])  # workers read changed endpoints again
        return endpoint.retired_secrets.all().delete()[0]


def overlap_end(endpoint: WebhookEndpoint) -> datetime | None:
    """Until when an old secret signs beside the current one; None when none does."""
    signing = endpoint.retired_secrets.filter(expires_at__gt=timezone.now())
    return signing.aggregate(end=Max("expires_at"))["end"]


def purge_secrets() -> None:
    """Forget secrets that sign no more."""
    RetiredSecret.objects.filter(expires_at__lte=timezone.now()).delete()


def locked(endpoint_id: UUID) -> WebhookEndpoint:
    """An endpoint that stays, and stays as it is, until the transaction ends.

    Whoever writes deliveries to it need not wait. Locked before events and deliveries. Raises
    NotFound `webhook_not_found`.
    """
    rows = WebhookEndpoint.objects.select_for_update(no_key=True)
    try:
        return rows.get(id=endpoint_id)
    except WebhookEndpoint.DoesNotExist as exc:
        raise not_found(endpoint_id) from exc


# --- On and off ------------------------------------------------------------------------------


def enable(*, endpoint_id: UUID) -> None:
    """Let new events go to an endpoint again; what it missed is for `recovery.start`."""
    changed = WebhookEndpoint.objects.filter(id=endpoint_id).change(
        is_active=True,
        disabled_reason="",
        disabled_at=None,
        consecutive_failures=0,
        failing_since=None,
        notice=HealthNotice.NONE,
    )
    if not changed:
        raise not_found(endpoint_id)


def disable(
    *,
    endpoint_id: UUID,
    reason: DisabledReason = DisabledReason.MANUAL,
    still: Q = ALWAYS,
) -> None:
    """Stop an endpoint: its pending deliveries fail, those being sent may still arrive.

    The others are told by `webhook.disabled`. `still` is why, as a condition on the endpoint: it
    may have become well since the caller looked. Raises NotFound `webhook_not_found`.
    """
    with transaction.atomic():
        endpoint = locked(endpoint_id)
        if WebhookEndpoint.objects.filter(still, id=endpoint_id, is_active=True).exists():
            _deactivate(endpoint, reason)
    _fail_pending(endpoint_id)


def _deactivate(endpoint: WebhookEndpoint, reason: DisabledReason) -> None:
    now = timezone.now()
    endpoint.is_active = False
    endpoint.disabled_reason = reason
    endpoint.disabled_at = now
    endpoint.save(update_fields=["is_active", "disabled_reason", "disabled_at", "updated_at"])
    if endpoint.expires_at is None:  # a listener's comings and goings are nobody's business
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
        endpoint__is_active=False,  # enabled meanwhile, it gets what waits
        status=DeliveryStatus.PENDING,
    )
    return give_up(pending, error=DISABLED)


def give_up(deliveries: TimeStampedQuerySet, *, error: str) -> int:
    """Fail a batch of deliveries without an attempt, except those that others hold; how many.

    Why they fail must be part of the selection: it is asked again once they are locked.
    """
    with transaction.atomic():
        events = dict(_held(deliveries).values_list("id", "event_id"))
        WebhookDelivery.objects.filter(id__in=events).update(
            status=DeliveryStatus.FAILED, lease_id=None, last_error=error
        )
        outbox.roll_up(set(events.values()))
    return len(events)


def _held(deliveries: TimeStampedQuerySet) -> TimeStampedQuerySet:
    """Lock a batch of deliveries for a change, after their events, but those that others hold.

    A claim holds its deliveries before it may want their events: whoever waited for it with the
    events in hand would wait for ever.
    """
    event_ids = dict(deliveries.order_by("id").values_list("id", "event_id")[:BATCH])
    outbox.lock(set(event_ids.values()))
    return deliveries.filter(id__in=event_ids).locked()


def remove_endpoint(*, endpoint_id: UUID) -> None:
    """Delete an endpoint with its deliveries; raises NotFound `webhook_not_found`.

    Not inside a transaction: it would keep what the batches lock.
    """
    if not _remove(WebhookEndpoint.objects.filter(id=endpoint_id), endpoint_id):
        raise not_found(endpoint_id)


def _remove(chosen: TimeStampedQuerySet, endpoint_id: UUID) -> bool:
    """Whether an endpoint was still among the chosen ones, and is gone now.

    Disabled first and emptied in batches, so that the last transaction, which keeps new events
    waiting, is short.
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
        own = _held(WebhookDelivery.objects.filter(endpoint_id=endpoint_id))
        some = dict(own.values_list("id", "event_id"))
        WebhookDelivery.objects.filter(id__in=some).delete()
        outbox.roll_up(set(some.values()))
    return len(some)


# --- Temporary endpoints ---------------------------------------------------------------------


def keep_alive(*, endpoint_id: UUID, until: datetime) -> None:
    """Put the end of a temporary endpoint off. Raises NotFound `webhook_not_found`."""
    if not WebhookEndpoint.objects.filter(id=endpoint_id, expires_at__isnull=False).change(
        expires_at=until
    ):
        raise not_found(endpoint_id)


def remove_expired() -> None:
    """Remove the temporary endpoints whose listener went away without doing so."""
    expired = WebhookEndpoint.objects.filter(expires_at__lte=timezone.now())
    for endpoint_id in list(expired.values_list("id", flat=True)):
        _remove(expired, endpoint_id)
