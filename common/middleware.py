"""What applies to every request."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from common.db import DATABASE_GONE, renew_connections


class DatabaseRestartMiddleware:
    """After a restart of the database one request finds its connection dead, not all in turn."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_exception(self, _request: HttpRequest, exception: Exception) -> None:
        if isinstance(exception, DATABASE_GONE):
            renew_connections()
