"""Webhook endpoints, for staff: their health, their settings, and actions on them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.http import urlencode
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from common.errors import DooritoError, InvalidInput
from common.models import WebhookDelivery, WebhookEndpoint
from common.outbox.events import OPEN
from common.pagination import paginate
from common.webhooks import dispatch, endpoints, recovery, selectors
from common.webhooks.endpoint_settings import readable_headers, write_user
from common.webhooks.forms import EndpointForm
from common.webhooks.permissions import CHANGE_WEBHOOKS, SEE_WEBHOOKS
from frontend.forms.webhooks import DeliveryFilterForm, RecoverForm
from frontend.views.access import (
    SignedInRequest,
    is_fragment,
    permitted,
    refusals,
    refusals_shown,
)
from frontend.views.lists import BUSY_PACE, chosen, pace, page_of, template_of


@require_safe
@permitted(SEE_WEBHOOKS)
def webhooks(request: SignedInRequest) -> HttpResponse:
    page = page_of(request, paginate, rows=endpoints.list_endpoints(), limit=50)
    health = selectors.health_of([endpoint.id for endpoint in page.items])
    context = {
        "section": "webhooks",
        "page": page,
        "rows": [(endpoint, health[endpoint.id]) for endpoint in page.items],
    }
    template = template_of(
        request,
        page="pages/webhooks.html",
        listing="pages/webhooks.html",
        rows="partials/webhook_rows.html",
    )
    return render(request, template, context)


# --- Settings --------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("headers")
@permitted(CHANGE_WEBHOOKS)
def new(request: SignedInRequest) -> HttpResponse:
    form = EndpointForm(request.POST or None)
    if form.is_valid():
        try:
            endpoint = endpoints.add_endpoint(form.settings(), user=request.user)
        except InvalidInput as error:
            form.refuse(error)
        else:
            messages.success(request, "The endpoint is added. Send it a test event.")
            return redirect("frontend:webhook", endpoint.id)
    return _form_page(request, form, endpoint=None)


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("headers")
@permitted(CHANGE_WEBHOOKS)
def edit(request: SignedInRequest, endpoint_id: UUID) -> HttpResponse:
    endpoint = endpoints.get(endpoint_id=endpoint_id)
    form = EndpointForm(request.POST or None, endpoint=endpoint)
    if form.is_valid():
        try:
            endpoints.change_endpoint(endpoint_id=endpoint_id, chosen=form.settings())
        except InvalidInput as error:
            form.refuse(error)
        else:
            messages.success(request, "The changes are saved.")
            return redirect("frontend:webhook", endpoint_id)
    return _form_page(request, form, endpoint=endpoint)


def _form_page(
    request: SignedInRequest, form: EndpointForm, *, endpoint: WebhookEndpoint | None
) -> HttpResponse:
    context = {
        "section": "webhooks",
        "form": form,
        "endpoint": endpoint,
        "headers_are_lost": endpoint is not None and readable_headers(endpoint) is None,
        "schedule": settings.PORTAL_RETRY_SCHEDULE,
        "timeout": settings.PORTAL_WEBHOOK_TIMEOUT_SECONDS,
    }
    return render(request, "pages/webhook_form.html", context)


# --- One endpoint ----------------------------------------------------------------------------


@require_safe
@permitted(SEE_WEBHOOKS)
def webhook(request: SignedInRequest, endpoint_id: UUID) -> HttpResponse:
    endpoint = endpoints.get(endpoint_id=endpoint_id)
    if not is_fragment(request):
        return _endpoint_page(request, endpoint)
    template = template_of(
        request,
        page="pages/webhook.html",
        listing="partials/deliveries.html",
        rows="partials/delivery_rows.html",
    )
    return render(request, template, _deliveries_context(request, endpoint))


@require_safe
@permitted(SEE_WEBHOOKS)
def state(request: SignedInRequest, endpoint_id: UUID) -> HttpResponse:
    """The part of an endpoint's page that is refreshed while deliveries are under way."""
    endpoint = endpoints.get(endpoint_id=endpoint_id)
    response = render(request, "partials/webhook_state.html", _state_context(endpoint))
    response.headers["HX-Trigger"] = "deliveries-moved"  # then the list refreshes, too
    return response


@sensitive_variables("shown", "context")
def _endpoint_page(
    request: SignedInRequest, endpoint: WebhookEndpoint, **shown: Any
) -> HttpResponse:
    """The whole page of an endpoint; `shown` adds to the template context or replaces in it."""
    since = _since(request)
    headers = readable_headers(endpoint)
    context = {
        "section": "webhooks",
        **_state_context(endpoint),
        **_deliveries_context(request, endpoint),
        **_secret_context(endpoint),
        "header_names": None if headers is None else list(headers),
        "user_email": write_user(endpoint.user_id),
        "schedule": settings.PORTAL_RETRY_SCHEDULE,
        "timeout": settings.PORTAL_WEBHOOK_TIMEOUT_SECONDS,
        "recover_form": RecoverForm(since=since),
        "since": since,
        **shown,
    }
    return render(request, "pages/webhook.html", context)


def _state_context(endpoint: WebhookEndpoint) -> dict[str, Any]:
    waiting = WebhookDelivery.objects.filter(endpoint=endpoint, status__in=OPEN)
    return {
        "endpoint": endpoint,
        "health": selectors.health_of([endpoint.id])[endpoint.id],
        "pace": BUSY_PACE if endpoint.recovery_after else pace(waiting.order_by("due_at")[:1]),
    }


def _deliveries_context(request: SignedInRequest, endpoint: WebhookEndpoint) -> dict[str, Any]:
    form = DeliveryFilterForm(request.GET)
    filters = chosen(form)
    page = page_of(request, selectors.deliveries_page, endpoint_id=endpoint.id, **filters)
    return {
        "endpoint": endpoint,
        "filter_form": form,
        "filtered": bool(filters),
        # Announced to screen readers when the user chose a filter, not at each automatic refresh.
        "announce": request.headers.get("HX-Trigger") == "deliveries-filter",
        "page": page,
        # Only the first page refreshes: rows loaded after it would be lost.
        "is_first_page": "cursor" not in request.GET,
    }


# --- Actions ---------------------------------------------------------------------------------


@require_POST
@permitted(CHANGE_WEBHOOKS)
def test(request: SignedInRequest, endpoint_id: UUID) -> HttpResponse:
    """Send a test event and show the result."""
    outcome: dict[str, Any] = {}
    with refusals(lambda error: outcome.update(problem=error.message)):
        outcome["attempt"] = dispatch.send_test(endpoint_id=endpoint_id)
    if not is_fragment(request):
        return _endpoint_page(request, endpoints.get(endpoint_id=endpoint_id), **outcome)
    response = render(request, "partials/webhook_test.html", outcome | {"fragment": True})
    response.headers["HX-Trigger"] = "deliveries-changed"  # then the state refreshes
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@permitted(CHANGE_WEBHOOKS)
def secret(request: SignedInRequest, endpoint_id: UUID) -> HttpResponse:
    """POST shows the secret and GET hides it, so no link, history or prefetch reveals it."""
    endpoint = endpoints.get(endpoint_id=endpoint_id)
    return _secret_part(request, endpoint, _shown(endpoint) if request.method == "POST" else {})


@require_POST
@permitted(CHANGE_WEBHOOKS)
def rotate(request: SignedInRequest, endpoint_id: UUID) -> HttpResponse:
    problem: dict[str, Any] = {}
    with refusals(lambda error: problem.update(secret_problem=error.message)):
        endpoint = endpoints.rotate_secret(endpoint_id=endpoint_id)
        return _secret_part(request, endpoint, {**_shown(endpoint), "secret_is_new": True})
    return _secret_part(request, endpoints.get(endpoint_id=endpoint_id), problem)


@require_POST
@permitted(CHANGE_WEBHOOKS)
def replace(request: SignedInRequest, endpoint_id: UUID) -> HttpResponse:
    endpoint = endpoints.replace_secret(endpoint_id=endpoint_id)
    return _secret_part(request, endpoint, {**_shown(endpoint), "secret_is_new": True})


@require_POST
@permitted(CHANGE_WEBHOOKS)
def revoke(request: SignedInRequest, endpoint_id: UUID) -> HttpResponse:
    endpoints.revoke_old_secrets(endpoint_id=endpoint_id)
    return _secret_part(request, endpoints.get(endpoint_id=endpoint_id), {"old_is_revoked": True})


@sensitive_variables("context")
def _secret_part(
    request: SignedInRequest, endpoint: WebhookEndpoint, context: dict[str, Any]
) -> HttpResponse:
    if not is_fragment(request):
        return _endpoint_page(request, endpoint, **context)
    return render(request, "partials/webhook_secret.html", {**_secret_context(endpoint), **context})


def _secret_context(endpoint: WebhookEndpoint) -> dict[str, Any]:
    retired = endpoint.retired_secrets.filter(expires_at__gt=timezone.now())
    return {
        "endpoint": endpoint,
        "retired_until": list(retired.order_by("-id").values_list("expires_at", flat=True)[:10]),
        "overlap_hours": settings.PORTAL_WEBHOOK_SECRET_OVERLAP_HOURS,
    }


def _shown(endpoint: WebhookEndpoint) -> dict[str, str]:
    try:
        return {"secret": endpoint.secret}
    except DooritoError as error:
        return {"secret_problem": error.message}


@require_POST
@permitted(CHANGE_WEBHOOKS)
def enable(request: SignedInRequest, endpoint_id: UUID) -> HttpResponse:
    """Enable an endpoint, and offer to send what it missed since the trouble began."""
    before = endpoints.get(endpoint_id=endpoint_id)
    endpoints.enable(endpoint_id=endpoint_id)
    messages.success(request, "The endpoint gets new events again.")
    since = before.failing_since or before.disabled_at
    return redirect(_address(endpoint_id, since=since))


@require_POST
@permitted(CHANGE_WEBHOOKS)
def disable(request: SignedInRequest, endpoint_id: UUID) -> HttpResponse:
    endpoints.disable(endpoint_id=endpoint_id)
    messages.success(request, "The endpoint is disabled.")
    return redirect("frontend:webhook", endpoint_id)


@require_POST
@permitted(CHANGE_WEBHOOKS)
def remove(request: SignedInRequest, endpoint_id: UUID) -> HttpResponse:
    endpoint = endpoints.get(endpoint_id=endpoint_id)
    endpoints.remove_endpoint(endpoint_id=endpoint_id)
    name = endpoint.description or endpoint.host
    messages.success(request, format_html("The endpoint <bdi>{}</bdi> is removed.", name))
    return redirect("frontend:webhooks")


@require_POST
@permitted(CHANGE_WEBHOOKS)
def recover(request: SignedInRequest, endpoint_id: UUID) -> HttpResponse:
    endpoint = endpoints.get(endpoint_id=endpoint_id)
    form = RecoverForm(request.POST, since=_since(request))
    if not form.is_valid():
        return _endpoint_page(request, endpoint, recover_form=form, since=True)
    with refusals_shown(request):
        recovery.start(endpoint_id=endpoint_id, since=form.since())
        messages.success(request, "What failed or was missed is being sent again.")
    return redirect("frontend:webhook", endpoint_id)


def _address(endpoint_id: UUID, *, since: datetime | None) -> str:
    address = reverse("frontend:webhook", args=[endpoint_id])
    return f"{address}?{urlencode({'since': since.isoformat()})}" if since else address


def _since(request: SignedInRequest) -> datetime | None:
    """When the endpoint's trouble began; `enable` put it into the query."""
    try:
        since = parse_datetime(request.GET.get("since", ""))
    except ValueError:
        return None
    return since if since and timezone.is_aware(since) else None
