"""Pages of other origins (PORTAL_CORS_ORIGINS): what they may send and read (Fetch, 3.3).

They show a token: cookies are never allowed along.
"""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

_PREFLIGHT_SECONDS = 86_400


@dataclass(frozen=True)
class Cors:
    """What a door takes and shows, as header lists."""

    methods: str
    request_headers: str
    response_headers: str

    def apply(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Add the headers to an answer, to a preflight's as well."""
        allowed = settings.PORTAL_CORS_ORIGINS
        if not allowed:
            return
        origin = request.headers.get("Origin")
        is_for_all = "*" in allowed
        if not is_for_all:
            patch_vary_headers(response, ["Origin"])
        if origin is None or not (is_for_all or origin in allowed):
            return
        response["Access-Control-Allow-Origin"] = "*" if is_for_all else origin
        response["Access-Control-Expose-Headers"] = self.response_headers
        if request.method == "OPTIONS":
            response["Access-Control-Allow-Methods"] = self.methods
            response["Access-Control-Allow-Headers"] = self.request_headers
            response["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
