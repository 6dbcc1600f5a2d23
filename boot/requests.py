"""What is noted of every request: a line in the log, and its duration for `/metrics`."""

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts.client_address import client_address
from accounts.principals import Principal
from boot import metrics
from common import journal

type GetResponse = Callable[[HttpRequest], HttpResponseBase]

REQUEST_ID = "X-Request-ID"
_PROBED = ("/healthz", "/readyz", "/metrics", "/favicon.ico")


class RequestMiddleware:
    """The outermost: it sees what the others made of a request.

    The request's id is the client's, where it sends one, and is given back in any case.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        origin = journal.origin_of(
            request_id=request.headers.get(REQUEST_ID, ""),
            traceparent=request.headers.get("traceparent", ""),
        )
        with journal.coming_from(origin):
            response = self._get_response(request)
            response.headers[REQUEST_ID] = origin.request_id
            _note(request, response, seconds=time.perf_counter() - started)
        return response


def _note(request: HttpRequest, response: HttpResponseBase, *, seconds: float) -> None:
    route, method = route_of(request), request.method or ""
    metrics.note_request(method=method, route=route, status=response.status_code, seconds=seconds)
    is_routine = response.status_code < 400 and request.path.startswith(
        (*_PROBED, str(settings.STATIC_URL))
    )
    tell = journal.tell_quietly if is_routine else journal.tell
    tell(
        "request",
        method=method,
        path=request.path,
        route=route,
        status=response.status_code,
        milliseconds=round(seconds * 1000, 1),
        client=client_address(request),
        **_who(request),
    )


def _who(request: HttpRequest) -> dict[str, Any]:
    """As far as it is known already: nobody is looked up for a line in the log."""
    principal: Principal | None = getattr(request, "principal", None)
    if principal is not None:
        actor = principal.actor
        return {"user": principal.owner.pk, "actor": f"{actor.kind}:{actor.id}"}
    user = getattr(request, "_cached_user", None)
    return {"user": user.pk} if user is not None and user.is_authenticated else {}


def route_of(request: HttpRequest) -> str:
    """The pattern of a request's address, `(none)` where no view was asked."""
    match = request.resolver_match
    return f"/{match.route}" if match is not None else "(none)"
