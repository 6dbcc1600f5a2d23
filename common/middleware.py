"""What applies to every request."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from common.db import DATABASE_GONE, renew_connections


class StalledClientMiddleware:
    """Lets a request fail once its client has not moved for PORTAL_STALL_TIMEOUT_SECONDS.

    Otherwise one that announces a body and goes silent, or asks for a file and reads nothing of
    it, holds a thread for ever. A body that is no upload has to arrive in this time altogether
    (see boot.gunicorn_worker). The limit stays with the socket while the response is sent, and
    ends with it: the server sets its own for the next request's head.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        socket = request.META.get("gunicorn.socket")
        if socket is not None:
            socket.settimeout(settings.PORTAL_STALL_TIMEOUT_SECONDS)
        return self._get_response(request)


class DatabaseRestartMiddleware:
    """After a restart of the database one request finds its connection dead, not all in turn."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_exception(self, _request: HttpRequest, exception: Exception) -> None:
        if isinstance(exception, DATABASE_GONE):
            renew_connections()
