"""Whether the portal works, for load balancers and people."""

import logging
from collections.abc import Callable

from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from common.version import VERSION

PATHS = ("/healthz/", "/healthz")

logger = logging.getLogger(__name__)


class HealthMiddleware:
    """Answers before the host name is looked at: load balancers probe by address, not by name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return healthz(request) if request.path_info in PATHS else self._get_response(request)


@never_cache
@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """200 when requests can be served, else 503. The details of a failure are in the log only."""
    is_up = _database_answers()
    return JsonResponse(
        {
            "status": "ok" if is_up else "unavailable",
            "database": "ok" if is_up else "unreachable",
            "version": VERSION,
        },
        status=200 if is_up else 503,
    )


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as exc:
        logger.error("The database does not answer: %s", exc)
        return False
    return True
