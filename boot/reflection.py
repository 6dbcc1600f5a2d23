"""`/probe/`: says how a request arrived, for `doorito doctor --url`.

Only who has the portal's secret key is answered: what proxies do with requests is nobody else's.
"""

import time
from typing import Any

from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache

from accounts.client_address import client_address
from common.http.exchange import exchange_of
from common.ids import uuid7

PATH = "/probe/"
METHOD = "X-Probe-Method"
LONGEST_WAIT = 120.0  # seconds
WHOLE = bytes(range(100))  # what ranges are of
_KEY_SECONDS = 3600

# What clients of the portal send, and must arrive.
HEADERS = (
    *("Authorization", "Content-Digest", "Idempotency-Key", "If-Match", "If-None-Match"),
    *("Tus-Resumable", "Upload-Offset", "X-Request-ID", "traceparent"),
)


def key() -> str:
    return _signer().sign("probe")


def _signer() -> TimestampSigner:
    return TimestampSigner(salt="boot.probe")


@never_cache
def reflect(request: HttpRequest) -> HttpResponseBase:
    """`?wait=S` answers after so many seconds; ranges are answered."""
    try:
        _signer().unsign(request.GET.get("key", ""), max_age=_KEY_SECONDS)
    except BadSignature:
        return HttpResponse(status=404)
    response = _answer(request)
    response.headers[METHOD] = request.method or ""
    return response


def _answer(request: HttpRequest) -> HttpResponseBase:
    if "range" in request.GET:
        return _part(request)
    received, seconds = _received(request)
    time.sleep(min(_seconds(request.GET.get("wait", "")), LONGEST_WAIT))
    return JsonResponse(_facts(request) | {"received_bytes": received, "body_seconds": seconds})


def _facts(request: HttpRequest) -> dict[str, Any]:
    return {
        "answer": uuid7().hex,
        "host": request.META.get("HTTP_HOST", ""),
        "forwarded_proto": request.headers.get("X-Forwarded-Proto", ""),
        "forwarded_for": request.headers.get("X-Forwarded-For", ""),
        "client": client_address(request),
        "peer": [request.META.get("REMOTE_ADDR", ""), str(request.META.get("REMOTE_PORT", ""))],
        "headers": [name for name in HEADERS if name in request.headers],
        "time": time.time(),
    }


def _received(request: HttpRequest) -> tuple[int, float]:
    """How many bytes the body has, and how long it took to come."""
    started = time.monotonic()
    count = sum(block.nbytes for block in exchange_of(request).receive_upload("probe"))
    return count, time.monotonic() - started


def _part(request: HttpRequest) -> HttpResponse:
    """The first ten bytes, to whoever asks for them."""
    if request.headers.get("Range") != "bytes=0-9":
        return HttpResponse(WHOLE, content_type="application/octet-stream")
    part = HttpResponse(WHOLE[:10], status=206, content_type="application/octet-stream")
    part.headers["Content-Range"] = f"bytes 0-9/{len(WHOLE)}"
    return part


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0
