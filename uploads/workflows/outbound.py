"""Requests that tasks make to URLs of their configuration, and how they fail."""

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

HEAD = 64 * 1024  # bytes of an answer that says what is wrong
SAID_LENGTH = 300  # characters of another program's message that are shown
HIDDEN = "(hidden)"
MARGIN = 2.0  # seconds that are left of a run to write down how its request ended
_NOT_PUBLIC = "url_not_public"
# Without the address: those whose file it is need not know the inside of the network.
_ADDRESS_REFUSED = (
    "The portal does not connect to this server, because its address is not public. An "
    "administrator can admit it by PORTAL_WEBHOOK_ALLOWED_CIDRS."
)


def _url(value: str) -> str:
    """A name that does not resolve now is no mistake of the configuration: each run looks again."""
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
    """A client whose failures, in the block, are those of a task. Times are in seconds.

    `silence` is the longest that the other side may say nothing, `total` what is left of the run.
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
        told = f"The server did not answer within {min(silence, total):g} seconds."
        raise TryAgain("no_answer", told) from exc
    except httpx.RemoteProtocolError as exc:
        said = "The answer is cut, or not valid HTTP."
        raise TryAgain("answer_malformed", said) from exc
    except httpx.TransportError as exc:
        raise TryAgain("unreachable", "The connection to the server was lost.") from exc
    except guarded_httpx.AnswerTooLarge as exc:
        raise TaskFailed("answer_too_large", "The answer is larger than is accepted.") from exc


def retry_after(response: httpx.Response) -> float | None:
    """The seconds that the server asks to wait."""
    return sending.retry_after_seconds(response.headers.get("retry-after"))


def head(response: httpx.Response) -> bytes:
    """As much of an error's body as comes: its status has decided already."""
    received = bytearray()
    try:
        for block in guarded_httpx.blocks(response, limit=HEAD):
            received += block
    except (guarded_httpx.AnswerTooLarge, httpx.TransportError):
        return bytes(received)
    return bytes(received)


def header_value(secret: str) -> str:
    """A secret that goes into a header. Raises TaskFailed when it cannot, without showing it."""
    value = secret.strip()
    if not value or not value.isascii() or not value.isprintable():
        raise TaskFailed("secret_invalid", "The secret must be one line of ASCII characters.")
    return value


def said(text: str, *secrets: str) -> str:
    """The beginning of what another program said, on one line, without the secrets in it."""
    for secret in filter(None, secrets):
        text = text.replace(secret, HIDDEN)
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= SAID_LENGTH else f"{line[:SAID_LENGTH]}…"


def _why_unreachable(error: httpx.ConnectError | httpx.ConnectTimeout) -> str:
    target = ssrf.parse_url(str(error.request.url))
    cause = TimeoutError() if isinstance(error, httpx.TimeoutException) else error
    return said(
        faults.explain(
            cause,
            phase=faults.Phase.CONNECTING,
            place=target.place,
            seconds=CONNECT_TIMEOUT,
        )
    )
