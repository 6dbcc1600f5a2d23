"""Requests of tasks to configured URLs, and their failures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import httpx
from pydantic import AfterValidator, Field

from common import lengths
from common.errors import InvalidInput
from common.net import faults, guarded_httpx, ssrf
from common.net.guarded_http import CONNECT_TIMEOUT
from common.webhooks import sending
from uploads.workflows.errors import TaskFailed, TryAgain

HEAD = 64 * 1024  # bytes of an error response that are read
EXCERPT_LENGTH = 300  # characters of a message from another program
HIDDEN = "(hidden)"
MARGIN = 2.0  # seconds reserved to report how the request ended
_NOT_PUBLIC = "url_not_public"
# Without the address: a file's owner must not learn about the internal network.
_ADDRESS_REFUSED = (
    "The portal does not connect to this server, because its address is not public. An "
    "administrator can admit it by PORTAL_WEBHOOK_ALLOWED_CIDRS."
)


def _url(value: str) -> str:
    """Check a configured URL. The host may be unresolvable now: each run resolves it."""
    try:
        target = ssrf.parse_url(value)
    except InvalidInput as exc:
        raise ValueError(exc.message) from exc
    try:
        ssrf.vetted_addresses(target.host, target.port)
    except InvalidInput as exc:
        if exc.code == _NOT_PUBLIC:
            raise ValueError(exc.message) from exc
    return value


Url = Annotated[str, Field(max_length=lengths.URL), AfterValidator(_url)]


@contextmanager
def requests(*, silence: float, total: float) -> Iterator[httpx.Client]:
    """A client whose errors inside the block become task failures. Times are in seconds.

    `silence` is the longest time without data, `total` is the time left of the run.
    """
    try:
        total = max(total - MARGIN, MARGIN)
        with guarded_httpx.client(silence=silence, total=total) as client:
            yield client
    except InvalidInput as exc:
        if exc.code == _NOT_PUBLIC:
            raise TaskFailed("address_refused", _ADDRESS_REFUSED) from exc
        raise TryAgain("unreachable", exc.message) from exc
    except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
        raise TryAgain("unreachable", _why_unreachable(exc)) from exc
    except httpx.TimeoutException as exc:
        message = f"The server did not answer within {min(silence, total):g} seconds."
        raise TryAgain("no_answer", message) from exc
    except httpx.RemoteProtocolError as exc:
        message = "The answer is cut, or not valid HTTP."
        raise TryAgain("answer_malformed", message) from exc
    except httpx.TransportError as exc:
        raise TryAgain("unreachable", "The connection to the server was lost.") from exc
    except guarded_httpx.AnswerTooLarge as exc:
        raise TaskFailed("answer_too_large", "The answer is larger than is accepted.") from exc


def retry_after(response: httpx.Response) -> float | None:
    """The seconds that the server asks to wait (Retry-After)."""
    return sending.retry_after_seconds(response.headers.get("retry-after"))


def head(response: httpx.Response) -> bytes:
    """The beginning of an error response. A broken body is no further error."""
    received = bytearray()
    try:
        for block in guarded_httpx.blocks(response, limit=HEAD):
            received += block
    except (guarded_httpx.AnswerTooLarge, httpx.TransportError):
        return bytes(received)
    return bytes(received)


def header_value(secret: str) -> str:
    """A secret as a header's value. Raises TaskFailed, without the secret, if it is not valid."""
    value = secret.strip()
    if not value or not value.isascii() or not value.isprintable():
        raise TaskFailed("secret_invalid", "The secret must be one line of ASCII characters.")
    return value


def excerpt(text: str, *secrets: str) -> str:
    """The beginning of another program's message, on one line, with secrets hidden."""
    for secret in filter(None, secrets):
        text = text.replace(secret, HIDDEN)
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= EXCERPT_LENGTH else f"{line[:EXCERPT_LENGTH]}…"


def _why_unreachable(error: httpx.ConnectError | httpx.ConnectTimeout) -> str:
    target = ssrf.parse_url(str(error.request.url))
    cause = TimeoutError() if isinstance(error, httpx.TimeoutException) else error
    return excerpt(
        faults.explain(
            cause,
            phase=faults.Phase.CONNECTING,
            place=target.place,
            seconds=CONNECT_TIMEOUT,
        )
    )
