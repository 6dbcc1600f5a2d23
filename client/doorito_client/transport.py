"""What both clients share of HTTP: addresses, headers, bodies in blocks, failures in our words."""

from collections.abc import Iterator
from typing import Any

import httpx

from doorito_client.errors import DooritoError, NoAnswer
from doorito_client.flows import Request, Response

BLOCK = 256 * 2**10  # bytes of a body that are sent before progress is told
CONNECT_SECONDS = 10.0
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)


def checked_url(text: str) -> str:
    """A server's address without a slash at its end. Raises DooritoError."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as exc:
        raise DooritoError(f"{text!r} is not an address: {exc}.") from exc
    if url.scheme not in ("http", "https") or not url.host:
        raise DooritoError(f"{text!r} is not an address such as https://files.example.com.")
    return str(url.copy_with(query=None, fragment=None)).rstrip("/")


def options(*, connections: int) -> dict[str, Any]:
    """Of httpx's clients."""
    return {
        "follow_redirects": False,
        "limits": httpx.Limits(
            max_connections=connections + 1, max_keepalive_connections=connections + 1
        ),
    }


def arguments(server: str, token: str, request: Request) -> dict[str, Any]:
    """Of `build_request`, all but the content. The token goes to this server alone."""
    url = httpx.URL(request.path if "://" in request.path else server + request.path)
    headers = {"Accept": "application/json"} | request.headers
    if _origin(url) == _origin(httpx.URL(server)):
        headers["Authorization"] = f"Bearer {token}"
    if request.method in {"POST", "PUT", "PATCH"}:
        headers["Content-Length"] = str(len(request.body))
    timeout = httpx.Timeout(request.timeout, connect=CONNECT_SECONDS, pool=None)
    return {"method": request.method, "url": url, "headers": headers, "timeout": timeout}


def blocks(request: Request) -> Iterator[bytes]:
    """The body; `on_sent` is told whenever a block has been handed over."""
    view = memoryview(request.body)
    for start in range(0, len(view), BLOCK):
        yield bytes(view[start : start + BLOCK])
        if request.on_sent:
            request.on_sent(min(start + BLOCK, len(view)))


def head_of(answer: httpx.Response, body: bytes = b"") -> Response:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Response(answer.status_code, headers, body)


def no_answer(server: str, error: httpx.HTTPError) -> NoAnswer:
    said = str(error) or type(error).__name__
    was_sent = not isinstance(error, _NEVER_SENT)
    return NoAnswer(f"{server} does not answer: {said}.", was_sent=was_sent)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
