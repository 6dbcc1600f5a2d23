"""Webhook endpoints: add, list, disable, enable, remove."""

from collections.abc import Sequence
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import QuerySet

from common.errors import InvalidInput, NotFound
from common.models import DeliveryStatus, WebhookDelivery, WebhookEndpoint
from common.services import outbox, ssrf, webhook

URL_LENGTH = 2048  # characters
DESCRIPTION_LENGTH = 255  # characters
BATCH = 1000  # rows changed in one transaction
DISABLED = "The endpoint is disabled."


def add_endpoint(
    *,
    url: str,
    event_types: Sequence[str] = (),
    description: str = "",
    user: AbstractBaseUser | None = None,
) -> WebhookEndpoint:
    """Register a receiver; its new secret is in `secret`. No event types means all.

    Raises InvalidInput: `webhook_url_invalid`, `webhook_url_not_public`,
    `webhook_event_type_unknown`, `webhook_description_invalid`.
    """
    check_target(url)
    check_event_types(event_types)
    check_description(description)
    return WebhookEndpoint.objects.create(
        url=url,
        event_types=list(event_types),
        description=description,
        secret=webhook.new_secret(),
        created_by_id=user.pk if user else None,
    )


def check_target(url: str) -> None:
    """Whether webhooks may be sent to a URL; raises InvalidInput when not."""
    if len(url) > URL_LENGTH:
        raise InvalidInput(
            "webhook_url_invalid", f"The URL is longer than {URL_LENGTH} characters."
        )
    ssrf.check_url(url)


def check_event_types(patterns: Sequence[str]) -> None:
    """Refuse a filter that can never match: InvalidInput `webhook_event_type_unknown`."""
    for pattern in patterns:
        if not any(outbox.subscribes([pattern], known) for known in outbox.EVENT_TYPES):
            raise InvalidInput(
                "webhook_event_type_unknown",
                f"There is no event type {pattern}. Types: "
                f"{', '.join(sorted(outbox.EVENT_TYPES))}; file.* takes all of a kind.",
            )


def check_description(description: str) -> None:
    """Refuse what the database cannot keep: InvalidInput `webhook_description_invalid`."""
    if len(description) > DESCRIPTION_LENGTH:
        raise InvalidInput(
            "webhook_description_invalid",
            f"The description is longer than {DESCRIPTION_LENGTH} characters.",
        )
    # Bytes of an argument that are not UTF-8 come as lone surrogates (PEP 383).
    if any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in description):
        raise InvalidInput(
            "webhook_description_invalid", "The description must be UTF-8 text without NUL."
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


def enable(*, endpoint_id: UUID) -> None:
    """Let new events go to an endpoint again; what failed meanwhile is for `retry_failed`."""
    if not WebhookEndpoint.objects.filter(id=endpoint_id).change(is_active=True):
        raise not_found(endpoint_id)


def disable(*, endpoint_id: UUID) -> None:
    """Stop an endpoint: its pending deliveries fail, those being sent may still arrive."""
    if not deactivate(endpoint_id):
        raise not_found(endpoint_id)


def deactivate(endpoint_id: UUID) -> bool:
    """As `disable`, for callers that do not mind when the endpoint is gone altogether."""
    found = WebhookEndpoint.objects.filter(id=endpoint_id).change(is_active=False)
    while found and _fail_some(endpoint_id):
        pass
    return found


def _fail_some(endpoint_id: UUID) -> int:
    pending = WebhookDelivery.objects.filter(endpoint_id=endpoint_id, status=DeliveryStatus.PENDING)
    with transaction.atomic():
        some = list(pending.locked()[:BATCH])
        fail_deliveries(some, error=DISABLED)
    return len(some)


def fail_deliveries(deliveries: Sequence[WebhookDelivery], *, error: str) -> None:
    """Give up deliveries that the caller has locked, in its transaction."""
    if not deliveries:
        return
    WebhookDelivery.objects.filter(id__in=[delivery.id for delivery in deliveries]).update(
        status=DeliveryStatus.FAILED, lease_id=None, last_error=error
    )
    outbox.roll_up({delivery.event_id for delivery in deliveries})


def remove_endpoint(*, endpoint_id: UUID) -> None:
    """Delete an endpoint with its deliveries; raises NotFound `webhook_not_found`.

    Disabled first and emptied in batches, so that the last transaction, which keeps new events
    waiting, is short.
    """
    disable(endpoint_id=endpoint_id)
    while _delete_some(endpoint_id):
        pass
    with transaction.atomic():
        # Waits for transactions that are writing deliveries to it, and holds back new ones.
        endpoint = WebhookEndpoint.objects.select_for_update().filter(id=endpoint_id)
        list(endpoint)
        while _delete_some(endpoint_id):
            pass
        endpoint.delete()


def _delete_some(endpoint_id: UUID) -> int:
    with transaction.atomic():
        own = WebhookDelivery.objects.filter(endpoint_id=endpoint_id).order_by("id")
        some = dict(own.select_for_update(of=("self",)).values_list("id", "event_id")[:BATCH])
        WebhookDelivery.objects.filter(id__in=some).delete()
        outbox.roll_up(set(some.values()))
    return len(some)
