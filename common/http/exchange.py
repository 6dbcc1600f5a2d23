"""What the web server offers for a request beyond WSGI, as an object in `environ`.

Doorito's server puts it there (boot.gunicorn_worker). With other servers, and in tests without a
server, Django reads the body itself.
"""

from collections.abc import Iterator
from typing import Protocol

from django.http import HttpRequest

ENVIRON_KEY = "doorito.exchange"
BLOCK_BYTES = 2**20  # 64 KiB reads halve the speed


class TooSlowError(TimeoutError):
    """The client transfers less than PORTAL_TRANSFER_MIN_RATE."""


class NoPlaceError(OSError):
    """The server would have to wait for the client, but already waits for too many."""


class UnreadableBodyError(OSError):
    """The chunked framing of the body is invalid (RFC 9112, 7.1)."""


class Exchange(Protocol):
    """One request and its answer.

    A body must arrive within PORTAL_STALL_TIMEOUT_SECONDS, unless it is an upload. Uploads and
    answers may take longer as long as they make progress (PORTAL_STALL_TIMEOUT_SECONDS,
    PORTAL_TRANSFER_MIN_RATE).
    """

    def receive_upload(self, account: str) -> Iterator[memoryview]:
        """The body in blocks of up to BLOCK_BYTES.

        A block stays valid until the second one after it is requested. The body counts as one of
        the account's transfers from this call on; reading starts with the first block, and ends
        early if the connection does. Raises TooManyRequests `too_many_transfers` or
        ServiceUnavailable `server_busy` at once, and during reading OSError: TimeoutError,
        TooSlowError, UnreadableBodyError.
        """
        ...

    def stop_receiving(self) -> None:
        """End the body at what has arrived; to be called from another thread."""
        ...

    def expect_download(self, account: str, *, size_bytes: int) -> None:
        """Count an answer of `size_bytes` as one of the account's transfers.

        Raises TooManyRequests `too_many_transfers`, ServiceUnavailable `server_busy`.
        """
        ...


class PlainExchange:
    """Used when the server offers no Exchange: without limits."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def receive_upload(self, account: str) -> Iterator[memoryview]:  # noqa: ARG002
        return map(memoryview, iter(lambda: self._request.read(BLOCK_BYTES), b""))

    def stop_receiving(self) -> None:
        pass

    def expect_download(self, account: str, *, size_bytes: int) -> None:
        pass


def exchange_of(request: HttpRequest) -> Exchange:
    exchange: Exchange | None = request.META.get(ENVIRON_KEY)
    return exchange or PlainExchange(request)
