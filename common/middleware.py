"""Middleware for all requests."""

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from common.db import DATABASE_GONE, database_problem, renew_connections
from common.masking import mask

logger = logging.getLogger(__name__)


class DatabaseProblemMiddleware:
    """Answers 503 with an explanation when the database fails or is unavailable.

    (The API has its own handler.) The first request after a restart of the database renews all
    connections.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, DATABASE_GONE):
            return None
        logger.error(
            "%s %s: the database failed: %s", request.method, mask(request.path), exception
        )
        problem = database_problem(exception)
        if problem.code == "database_unavailable":
            renew_connections()
        # Without the request, whose user and messages would need the database.
        page = render_to_string("503.html", {"status": problem.status, "message": problem.message})
        return HttpResponse(
            page, status=problem.status, headers={"Retry-After": str(problem.retry_after)}
        )
