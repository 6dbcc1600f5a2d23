"""The doors that can be switched on and off (PORTAL_DOORS). The JSON API is always open."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from common.http.problems import endpoint_not_found

DOORS = ("tus", "openai")
NONE = "none"  # what PORTAL_DOORS says where all are off

type View = Callable[..., HttpResponseBase]


def door(name: str) -> Callable[[View], View]:
    """A view of this door: 404 while it is switched off. Who asks is the view's to find out."""

    def wrap(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        def opened(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if name not in settings.PORTAL_DOORS:
                return endpoint_not_found(request)
            return view(request, *args, **kwargs)

        return opened

    return wrap
