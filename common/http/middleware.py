"""Middleware for all paths of the API."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from common.errors import MethodNotAllowed, UnsupportedType
from common.http.headers import check_content_encoding
from common.http.hints import hint_for
from common.http.problems import problem_response

# Doors of other protocols have their own form of errors.
FOREIGN_DOORS = ("/api/tus",)
_PROBLEMS = ("/api/", "/f/", "/c/")

type GetResponse = Callable[[HttpRequest], HttpResponseBase]


class ApiMethodNotAllowedMiddleware:
    """Answers 405 as a problem document, because django-ninja answers in plain text."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        if response.status_code != 405 or not _speaks_problems(request):
            return response
        allowed = response.get("Allow", "")
        problem = problem_response(
            MethodNotAllowed(
                "method_not_allowed", f"This address takes {allowed}.{hint_for(request)}"
            )
        )
        problem["Allow"] = allowed
        return problem


class ContentEncodingMiddleware:
    """Refuses compressed bodies, which would be stored as if they were the file itself."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith("/api/") and not _is_foreign(request):
            try:
                check_content_encoding(request.headers.get("Content-Encoding"))
            except UnsupportedType as error:
                return problem_response(error)
        return self._get_response(request)


class ApiCachingMiddleware:
    """Forbids caching of API answers: they are personal and change."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        if request.path.startswith("/api/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def _is_foreign(request: HttpRequest) -> bool:
    return request.path.startswith(FOREIGN_DOORS)


def _speaks_problems(request: HttpRequest) -> bool:
    return request.path.startswith(_PROBLEMS) and not _is_foreign(request)
