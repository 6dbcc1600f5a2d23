"""Statuses and headers that tell how often something may be done."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

from accounts import rates
from accounts.client_address import client_address
from accounts.forms import ThrottledForm
from accounts.models import User
from accounts.principals import ActorKind, Principal
from common import audit
from common.audit import Acting


class RefusedFormMiddleware:
    """Answers 429 with Retry-After (RFC 6585, 4) when the page's `form` was sent too often.

    It is a middleware because the admin's log-in page is Django's own view.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_template_response(
        self, _request: HttpRequest, response: TemplateResponse
    ) -> TemplateResponse:
        form = (response.context_data or {}).get("form")
        if isinstance(form, ThrottledForm) and form.refusal is not None:
            response.status_code = form.refusal.status
            response.headers["Retry-After"] = str(form.refusal.retry_after)
        return response


class ActingMiddleware:
    """Lets the audit trail know who acts: whom the request was authenticated as."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with audit.acting(lambda: _acting_in(request)):
            return self._get_response(request)


def _acting_in(request: HttpRequest) -> Acting:
    address = client_address(request)
    principal: Principal | None = getattr(request, "principal", None)
    if principal is not None:
        actor = principal.actor
        return Acting(actor.kind, actor.id, actor.label, address)
    if isinstance(request.user, User):
        return Acting(ActorKind.USER, request.user.pk, request.user.email, address)
    return Acting("anonymous", None, "somebody not logged in", address)


class RateHeadersMiddleware:
    """Tells how much is left of a limit that a request was counted for (see `accounts.rates`)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        for name, value in rates.headers_of(request).items():
            response.headers[name] = value
        return response
