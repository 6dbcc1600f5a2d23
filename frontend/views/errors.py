"""The page for a method that an address does not take. Django has pages for the other refusals."""

from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render


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
