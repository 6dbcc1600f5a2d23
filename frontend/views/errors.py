"""Error pages that explain more than Django's own."""

from collections.abc import Callable
from functools import wraps

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string

from accounts.authentication import explain_untrusted_origin


def explained(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Give an empty 405 answer a page, and keep its `Allow` header (RFC 9110, 15.5.6)."""

    @wraps(view)
    def answered(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if response.status_code != 405:
            return response
        page: HttpResponse = render(request, "405.html", status=405)
        page.headers["Allow"] = response.headers["Allow"]
        return page

    return answered


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for a bad request. For a refused Host, it says that the operator must allow it."""
    is_foreign = isinstance(exception, DisallowedHost)
    host = request.META.get("HTTP_HOST", "") if is_foreign else ""
    return HttpResponse(render_to_string("400.html", {"host": host}), status=400)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    context = {"explanation": explain_untrusted_origin(request, reason)}
    return HttpResponse(render_to_string("403_csrf.html", context), status=403)
