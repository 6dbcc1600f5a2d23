"""Pages for refusals that need more words than Django's own views give them."""

from collections.abc import Callable
from functools import wraps

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string

from accounts.authentication import explain_untrusted_origin


def explained(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A 405 without words becomes one with a page; `Allow` (RFC 9110, 15.5.6) stays."""

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
    """A Host that the portal does not serve is the operator's to allow, not the visitor's fault."""
    is_foreign = isinstance(exception, DisallowedHost)
    host = request.META.get("HTTP_HOST", "") if is_foreign else ""
    return HttpResponse(render_to_string("400.html", {"host": host}), status=400)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    context = {"explanation": explain_untrusted_origin(request, reason)}
    return HttpResponse(render_to_string("403_csrf.html", context), status=403)
