"""What applies to every request."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from common.db import DATABASE_GONE, renew_connections


class StalledBodyMiddleware:
    """Lets reading a body fail once nothing has come for PORTAL_STALL_TIMEOUT_SECONDS.

    Otherwise a client that announces a body and goes silent holds a thread for ever. Sending the
    response has no such limit: its reader may be slow.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        socket = request.META.get("gunicorn.socket")
        if socket is None:
            return self._get_response(request)
        socket.settimeout(settings.PORTAL_STALL_TIMEOUT_SECONDS)
        try:
            return self._get_response(request)
        finally:
            socket.settimeout(None)


class DatabaseRestartMiddleware:
    """After a restart of the database one request finds its connection dead, not all in turn."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_exception(self, _request: HttpRequest, exception: Exception) -> None:
        if isinstance(exception, DATABASE_GONE):
            renew_connections()
