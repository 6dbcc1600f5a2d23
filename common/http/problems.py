"""Errors as RFC 9457 problem documents: `{type, title, status, code, detail, …}`."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Schema
from ninja.errors import HttpError, ValidationError

from common.db import database_problem, renew_connections
from common.errors import (
    DooritoError,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    RangeNotSatisfiable,
)
from common.http.bodies import interrupted, no_length
from common.http.hints import hint_for
from common.http.requests import has_unknown_length, is_chunked
from common.masking import mask

logger = logging.getLogger(__name__)

NOT_FOUND = NotFound("endpoint_not_found", "There is no such address in the API.")


class Problem(Schema):
    """RFC 9457. `code` is stable; `detail` says what was wrong and what to do."""

    type: str
    title: str
    status: int
    code: str
    detail: str


# What any call may be answered with.
STATUSES = (
    *(400, 401, 403, 404, 405, 408, 409, 410, 411, 412, 413, 415, 416, 422, 429),
    *(500, 503, 507),
)


def problem_response(error: DooritoError) -> HttpResponse:
    document = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.message,
    }
    response = JsonResponse(
        document | error.extra, status=error.status, content_type="application/problem+json"
    )
    response["Cache-Control"] = "no-store"  # some errors may be kept otherwise (RFC 9111, 4.2.2)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    if isinstance(error, RangeNotSatisfiable):  # RFC 9110, 15.5.17
        response["Content-Range"] = f"bytes */{error.extra['size_bytes']}"
    if error.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def install(api: NinjaAPI) -> None:
    """Make `api` answer every error with a problem document."""

    @api.exception_handler(ValidationError)
    def _invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
        details = [
            {"field": ".".join(str(part) for part in item["loc"][1:]), "message": item["msg"]}
            for item in error.errors
        ]
        summary = "; ".join(f"{item['field']}: {item['message']}" for item in details)
        return problem_response(InvalidInput("invalid_request", f"{summary}.", errors=details))

    @api.exception_handler(HttpError)
    def _http(_request: HttpRequest, error: HttpError) -> HttpResponse:
        return problem_response(InvalidInput("invalid_request", str(error)))

    @api.exception_handler(Http404)
    def _missing(_request: HttpRequest, _error: Http404) -> HttpResponse:
        return problem_response(NOT_FOUND)

    @api.exception_handler(Exception)
    def _other(request: HttpRequest, error: Exception) -> HttpResponse:
        return problem_response(as_known(request, error))


def answers_problems(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Make a plain Django view answer errors with problem documents too."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except DooritoError as error:
            return problem_response(error)
        except (OperationalError, InterfaceError) as error:
            return problem_response(_of_database(request, error))

    return answered


def as_known(request: HttpRequest, error: Exception) -> DooritoError:
    """What to tell of any error that a view raised, for doors that have another form for it."""
    if isinstance(error, DooritoError):
        return error
    if isinstance(error, OperationalError | InterfaceError):
        return _of_database(request, error)
    if isinstance(error, RequestDataTooBig):
        return _too_large()
    if isinstance(error, UnreadablePostError):
        return interrupted(error)
    if isinstance(error, SuspiciousOperation | MultiPartParserError):
        return _unreadable(error)
    return _unexpected(request, error)


def _too_large() -> DooritoError:
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return PayloadTooLarge("body_too_large", f"Such a body has at most {most} bytes.")


def _unreadable(error: Exception) -> DooritoError:
    return InvalidInput("invalid_request", f"The body is not valid: {error}")


def _unexpected(request: HttpRequest, error: Exception) -> DooritoError:
    logger.error("%s %s failed", request.method, mask(request.path), exc_info=error)
    return DooritoError("internal_error", "Something went wrong here; it has been logged.")


def _of_database(request: HttpRequest, error: OperationalError | InterfaceError) -> DooritoError:
    """The error to show for a failure of the database. Its details are in the log."""
    logger.error("%s %s: the database failed: %s", request.method, mask(request.path), error)
    problem = database_problem(error)
    if problem.code == "database_unavailable":
        renew_connections()
    return problem


class BodyLengthMiddleware:
    """Refuses a body of unknown length, which Django would treat as empty."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if is_chunked(request) and not has_unknown_length(request):
            return problem_response(no_length())
        return self._get_response(request)


@csrf_exempt
def endpoint_not_found(request: HttpRequest) -> HttpResponse:
    return problem_response(
        NotFound(NOT_FOUND.code, NOT_FOUND.message + hint_for(request)),
    )
