"""One delivery, for staff: its attempts, what was sent and what came back."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from common.errors import Conflict
from common.outbox.envelopes import envelope_for
from common.webhooks import replay, selectors
from common.webhooks.permissions import CHANGE_WEBHOOKS, SEE_WEBHOOKS
from frontend.views.access import SignedInRequest, is_fragment, permitted
from frontend.views.lists import pace


@require_safe
@permitted(SEE_WEBHOOKS)
def delivery(request: SignedInRequest, delivery_id: UUID) -> HttpResponse:
    """The page of a delivery. Its fragment is refreshed until the delivery has ended."""
    found = selectors.get_delivery(delivery_id=delivery_id)
    context = {
        "section": "webhooks",
        "delivery": found,
        "attempts": selectors.attempts_of(found),
        "pace": pace([found]),
        "detail_hours": settings.PORTAL_WEBHOOK_DETAIL_HOURS,
    }
    if is_fragment(request):
        return render(request, "partials/delivery.html", context)
    context["body"] = envelope_for(request.principal, found.event)
    return render(request, "pages/delivery.html", context)


@require_POST
@permitted(CHANGE_WEBHOOKS)
def resend(request: SignedInRequest, delivery_id: UUID) -> HttpResponse:
    """Send a delivery again, then return to the page that `next` names."""
    try:
        replay.resend(delivery_id=delivery_id)
    except Conflict as error:
        messages.error(request, error.message)
    else:
        messages.success(request, "The event is being sent again.")
    back = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        return redirect(back)
    return redirect("frontend:delivery", delivery_id)
