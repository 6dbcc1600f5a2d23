"""Events, for staff: what happened, which endpoints got it, and sending it again."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from common.errors import Conflict
from common.outbox.envelopes import envelope_for
from common.webhooks import replay, selectors
from common.webhooks.permissions import CHANGE_WEBHOOKS, SEE_WEBHOOKS
from frontend.forms.webhooks import EventFilterForm, RedeliverForm
from frontend.views.access import SignedInRequest, is_fragment, permitted
from frontend.views.lists import Listing, chosen, pace, page_of
from uploads.selectors import may_read_file_of

_LISTING = Listing(
    noun="event",
    name="Event",
    about="About",
    time="Happened",
    filter_hint="Try another type or another state.",
)


@require_safe
@permitted(SEE_WEBHOOKS)
def events(request: SignedInRequest) -> HttpResponse:
    form = EventFilterForm(request.GET)
    filters = chosen(form)
    context = {
        "section": "events",
        "listing": _LISTING,
        "form": form,
        "filtered": bool(filters),
        "fragment": is_fragment(request),
        "page": page_of(request, selectors.events_page, **filters),
    }
    return render(request, _LISTING.template(request, page="pages/events.html"), context)


@require_safe
@permitted(SEE_WEBHOOKS)
def event(request: SignedInRequest, event_id: UUID) -> HttpResponse:
    found = selectors.get_event(event_id=event_id)
    deliveries = list(found.deliveries.all())
    context = {
        "section": "events",
        "event": found,
        "deliveries": deliveries,
        "pace": pace(deliveries),
    }
    if is_fragment(request):
        return render(request, "partials/event_deliveries.html", context)
    context |= {
        "envelope": envelope_for(request.principal, found),
        "form": RedeliverForm(),
        "may_open_file": found.aggregate_type == "file"
        and may_read_file_of(request.principal, found),
    }
    return render(request, "pages/event.html", context)


@require_POST
@permitted(CHANGE_WEBHOOKS)
def resend(request: SignedInRequest, event_id: UUID) -> HttpResponse:
    form = RedeliverForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose an endpoint from the list.")
        return redirect("frontend:event", event_id)
    try:
        started = replay.redeliver(event_id=event_id, endpoint_id=form.cleaned_data["endpoint"])
    except Conflict as error:
        messages.error(request, error.message)
    else:
        _report(request, len(started))
    return redirect("frontend:event", event_id)


def _report(request: SignedInRequest, count: int) -> None:
    if count:
        targets = f"{count} endpoint{'' if count == 1 else 's'}"
        messages.success(request, f"The event is being sent again to {targets}.")
    else:
        messages.warning(request, "No active endpoint was meant to get this event.")
