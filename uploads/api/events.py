# ruff: noqa: ARG001  (django-ninja passes the request)
"""/api/v1/events: what happened, and who was told."""

from uuid import UUID

from ninja import Query, Router, Schema, Status

from accounts.authentication import AuthenticatedRequest
from common.errors import InvalidInput
from common.outbox.envelopes import envelope_for
from common.outbox.types import event_types
from common.webhooks import replay, selectors
from uploads.api.staff import may_change_webhooks, may_see_webhooks
from uploads.api.webhook_schemas import EventDetailOut, EventList, RedeliverIn, RedeliveryOut

router = Router(tags=["Events"])


class EventListQuery(Schema):
    limit: int = 50
    cursor: str | None = None
    type: str | None = None
    status: str | None = None


@router.get("", response={200: EventList}, auth=may_see_webhooks)
def list_events(request: AuthenticatedRequest, query: Query[EventListQuery]) -> EventList:
    """All events that are kept, newest first."""
    if query.type and query.type not in event_types:
        raise InvalidInput("invalid_type", f"type is one of {event_types.listed()}")
    page = selectors.events_page(
        event_type=query.type, status=query.status, cursor=query.cursor, limit=query.limit
    )
    return EventList.of(page)


@router.get("/{uuid:event_id}", response={200: EventDetailOut}, auth=may_see_webhooks)
def get_event(request: AuthenticatedRequest, event_id: UUID) -> EventDetailOut:
    """The event as receivers get it, and its deliveries."""
    event = selectors.get_event(event_id=event_id)
    return EventDetailOut.of_envelope(event, envelope_for(request.principal, event))


@router.post("/{uuid:event_id}/redeliver", response={202: RedeliveryOut}, auth=may_change_webhooks)
def redeliver_event(
    request: AuthenticatedRequest, event_id: UUID, body: RedeliverIn | None = None
) -> Status:
    """Send it again, to one endpoint or to all active ones that it was meant for."""
    endpoint_id = body.webhook_id if body else None
    deliveries = replay.redeliver(event_id=event_id, endpoint_id=endpoint_id)
    return Status(202, RedeliveryOut.of(deliveries))
