"""Whether the portal works, for load balancers and people."""

import logging

from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from common.version import VERSION

logger = logging.getLogger(__name__)


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
