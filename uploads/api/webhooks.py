# ruff: noqa: ARG001  (django-ninja passes the request)
"""/api/v1/webhooks: where events go. /api/v1/deliveries: what became of each."""

from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from ninja import Query, Router, Schema, Status

from accounts.authentication import AuthenticatedRequest
from common.errors import InvalidInput
from common.models import WebhookEndpoint
from common.pagination import paginate
from common.webhooks import dispatch, endpoints, recovery, replay, selectors
from uploads.api.staff import may_change_webhooks, may_see_webhooks
from uploads.api.webhook_schemas import (
    CreatedWebhookOut,
    DeliveryDetailOut,
    DeliveryList,
    DeliveryOut,
    RecoverIn,
    RevokedOut,
    SecretOut,
    TestOut,
    WebhookIn,
    WebhookList,
    WebhookOut,
    WebhookPatch,
)

router = Router(tags=["Webhooks"])
deliveries_router = Router(tags=["Deliveries"])


class DeliveryListQuery(Schema):
    limit: int = 50
    cursor: str | None = None
    status: str | None = None


# --- Endpoints -------------------------------------------------------------------------------


@router.post("", response={201: CreatedWebhookOut}, auth=may_change_webhooks)
def create_webhook(
    request: AuthenticatedRequest, body: WebhookIn, response: HttpResponse
) -> Status:
    """Register a receiver. The answer holds its secret: keep it to verify signatures."""
    _keep_private(response)
    endpoint = endpoints.add_endpoint(body.to_settings(), user=request.principal.owner)
    return Status(201, CreatedWebhookOut.of(endpoint, selectors.Health()))


@router.get("", response={200: WebhookList}, auth=may_see_webhooks)
def list_webhooks(
    request: AuthenticatedRequest, limit: int = 50, cursor: str | None = None
) -> WebhookList:
    """All endpoints with their health, newest first."""
    page = paginate(endpoints.list_endpoints(), cursor=cursor, limit=limit)
    health = selectors.health_of([endpoint.id for endpoint in page.items])
    return WebhookList(
        items=[WebhookOut.of(each, health.get(each.id, selectors.Health())) for each in page.items],
        next_cursor=page.next_cursor,
    )


@router.get("/{uuid:webhook_id}", response={200: WebhookOut}, auth=may_see_webhooks)
def get_webhook(request: AuthenticatedRequest, webhook_id: UUID) -> WebhookOut:
    """One endpoint with its health and state."""
    return _webhook(webhook_id)


@router.patch("/{uuid:webhook_id}", response={200: WebhookOut}, auth=may_change_webhooks)
def change_webhook(
    request: AuthenticatedRequest, webhook_id: UUID, body: WebhookPatch
) -> WebhookOut:
    """Change what the body names. `headers` are replaced as a whole."""
    changes = body.changes()
    if changes:
        endpoints.change_some(endpoint_id=webhook_id, changes=changes)
    return _webhook(webhook_id)


@router.delete("/{uuid:webhook_id}", response={204: None}, auth=may_change_webhooks)
def delete_webhook(request: AuthenticatedRequest, webhook_id: UUID) -> Status:
    """Remove the endpoint with its deliveries. Events stay."""
    endpoints.remove_endpoint(endpoint_id=webhook_id)
    return Status(204, None)


# --- Secrets ---------------------------------------------------------------------------------


@router.get("/{uuid:webhook_id}/secret", response={200: SecretOut}, auth=may_change_webhooks)
def get_secret(
    request: AuthenticatedRequest, webhook_id: UUID, response: HttpResponse
) -> SecretOut:
    """The secret that signs. It takes the permission to change webhooks."""
    _keep_private(response)
    return _secret(endpoints.get(endpoint_id=webhook_id))


@router.post(
    "/{uuid:webhook_id}/rotate-secret",
    response={200: SecretOut},
    auth=may_change_webhooks,
)
def rotate_secret(
    request: AuthenticatedRequest, webhook_id: UUID, response: HttpResponse
) -> SecretOut:
    """Sign with a new secret; the old one signs beside it for a while. Not safe to repeat."""
    _keep_private(response)
    return _secret(endpoints.rotate_secret(endpoint_id=webhook_id))


@router.post(
    "/{uuid:webhook_id}/replace-secret",
    response={200: SecretOut},
    auth=may_change_webhooks,
)
def replace_secret(
    request: AuthenticatedRequest, webhook_id: UUID, response: HttpResponse
) -> SecretOut:
    """Sign with a new secret alone, at once: for one that leaked or cannot be decrypted."""
    _keep_private(response)
    return _secret(endpoints.replace_secret(endpoint_id=webhook_id))


@router.post(
    "/{uuid:webhook_id}/revoke-old-secrets",
    response={200: RevokedOut},
    auth=may_change_webhooks,
)
def revoke_old_secrets(request: AuthenticatedRequest, webhook_id: UUID) -> RevokedOut:
    """End the overlap of a rotation now. Safe to repeat."""
    return RevokedOut(revoked=endpoints.revoke_old_secrets(endpoint_id=webhook_id))


# --- Actions ---------------------------------------------------------------------------------


@router.post("/{uuid:webhook_id}/test", response={200: TestOut}, auth=may_change_webhooks)
def test_webhook(request: AuthenticatedRequest, webhook_id: UUID) -> TestOut:
    """Send `webhook.test`, once, and wait for what comes of it: 200 also when that is a failure."""
    return TestOut.of(dispatch.send_test(endpoint_id=webhook_id))


@router.post("/{uuid:webhook_id}/disable", response={200: WebhookOut}, auth=may_change_webhooks)
def disable_webhook(request: AuthenticatedRequest, webhook_id: UUID) -> WebhookOut:
    """Send it no more; what waits for it fails. Safe to repeat."""
    endpoints.disable(endpoint_id=webhook_id)
    return _webhook(webhook_id)


@router.post("/{uuid:webhook_id}/enable", response={200: WebhookOut}, auth=may_change_webhooks)
def enable_webhook(request: AuthenticatedRequest, webhook_id: UUID) -> WebhookOut:
    """Send it new events again. `recover` sends those that it missed. Safe to repeat."""
    endpoints.enable(endpoint_id=webhook_id)
    return _webhook(webhook_id)


@router.post("/{uuid:webhook_id}/recover", response={202: WebhookOut}, auth=may_change_webhooks)
def recover_webhook(request: AuthenticatedRequest, webhook_id: UUID, body: RecoverIn) -> Status:
    """Send, in the background, what failed or was missed since then. Safe to repeat.

    An endpoint did not miss what happened before it was added: `redeliver` sends it such an event.
    """
    if body.since > timezone.now():
        raise InvalidInput("invalid_since", "since is yet to come.")
    recovery.start(endpoint_id=webhook_id, since=body.since)
    return Status(202, _webhook(webhook_id))


# --- Deliveries ------------------------------------------------------------------------------


@router.get("/{uuid:webhook_id}/deliveries", response={200: DeliveryList}, auth=may_see_webhooks)
def list_deliveries(
    request: AuthenticatedRequest, webhook_id: UUID, query: Query[DeliveryListQuery]
) -> DeliveryList:
    """An endpoint's deliveries, newest first."""
    endpoints.get(endpoint_id=webhook_id)
    page = selectors.deliveries_page(endpoint_id=webhook_id, **query.model_dump())
    return DeliveryList.of(page)


@deliveries_router.get(
    "/{uuid:delivery_id}", response={200: DeliveryDetailOut}, auth=may_see_webhooks
)
def get_delivery(request: AuthenticatedRequest, delivery_id: UUID) -> DeliveryDetailOut:
    """One delivery with its attempts."""
    delivery = selectors.get_delivery(delivery_id=delivery_id)
    return DeliveryDetailOut.of_attempts(delivery, selectors.attempts_of(delivery))


@deliveries_router.post(
    "/{uuid:delivery_id}/resend",
    response={202: DeliveryOut},
    auth=may_change_webhooks,
)
def resend_delivery(request: AuthenticatedRequest, delivery_id: UUID) -> Status:
    """Send it again, with the same id, whatever became of it. 409 while it is being sent."""
    return Status(202, DeliveryOut.of(replay.resend(delivery_id=delivery_id)))


def _webhook(webhook_id: UUID) -> WebhookOut:
    endpoint = endpoints.get(endpoint_id=webhook_id)
    health = selectors.health_of([webhook_id]).get(webhook_id, selectors.Health())
    return WebhookOut.of(endpoint, health)


def _secret(endpoint: WebhookEndpoint) -> SecretOut:
    return SecretOut(
        secret=endpoint.secret,
        old_secrets_expire_at=endpoints.overlap_end(endpoint),
    )


def _keep_private(response: HttpResponse) -> None:
    response["Cache-Control"] = "no-store"
