"""What is noted of every request: how long it took, for `/metrics`."""

import time
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from boot import metrics

type GetResponse = Callable[[HttpRequest], HttpResponseBase]


class RequestMiddleware:
    """The outermost: it sees what the others made of a request."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self._get_response(request)
        metrics.note_request(
            method=request.method or "",
            route=route_of(request),
            status=response.status_code,
            seconds=time.perf_counter() - started,
        )
        return response


def route_of(request: HttpRequest) -> str:
    """The pattern of a request's address, `(none)` where no view was asked."""
    match = request.resolver_match
    return f"/{match.route}" if match is not None else "(none)"
