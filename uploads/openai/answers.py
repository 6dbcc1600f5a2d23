"""Answers as OpenAI has them, errors above all."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from common.errors import Conflict, DooritoError, Gone, InsufficientStorage
from common.http.cors import Cors

_CORS = Cors(
    methods="OPTIONS, GET, HEAD, POST, DELETE",
    request_headers="*, Authorization, Content-Type",
    response_headers="Content-Disposition, Retry-After, X-Request-ID",
)
# The clients come again by themselves after these, and after 429 and 5xx.
_PASSING_CONFLICTS = {"part_in_progress", "finalize_in_progress"}
_PERMANENT = 400
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def answer(values: dict[str, Any]) -> HttpResponse:
    return JsonResponse(values)


def refused(error: DooritoError) -> HttpResponse:
    status = _status(error)
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    response = JsonResponse(
        {
            "error": {
                "message": error.message,
                "type": kind,
                "param": error.extra.get("field"),
                "code": error.code,
            }
        },
        status=status,
    )
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    if isinstance(error, InsufficientStorage):  # to ask again makes no room
        response["x-should-retry"] = "false"
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def dressed(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """With what every answer has."""
    response.headers.setdefault("Cache-Control", "no-store")
    _CORS.apply(request, response)
    return response


def _status(error: DooritoError) -> int:
    """409 would be tried again, and 410 is unknown there."""
    if isinstance(error, Conflict) and error.code not in _PASSING_CONFLICTS:
        return _PERMANENT
    if isinstance(error, Gone):
        return 404 if error.code in {"file_deleted", "file_consumed", "file_purged"} else _PERMANENT
    return error.status
