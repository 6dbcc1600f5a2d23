"""What a web server can do for a request beyond WSGI, behind one object in `environ`.

Doorito's own puts it there (boot.gunicorn_worker). Under any other, and in tests without a server,
a body is read as Django reads it.
"""

from collections.abc import Iterator
from typing import Protocol

from django.http import HttpRequest

ENVIRON_KEY = "doorito.exchange"
BLOCK_BYTES = 2**20  # 64 KiB reads halve the speed


class TooSlowError(TimeoutError):
    """The client moves less than PORTAL_TRANSFER_MIN_RATE."""


class NoPlaceError(OSError):
    """The client has to be waited for, and too many others are already."""


class UnreadableBodyError(OSError):
    """The body is not framed as it says (RFC 9112, 7.1)."""


class Exchange(Protocol):
    """One request and its answer.

    A body must arrive within PORTAL_STALL_TIMEOUT_SECONDS altogether, unless it is an upload. An
    upload, and an answer, may take their time, as long as they move (PORTAL_STALL_TIMEOUT_SECONDS,
    PORTAL_TRANSFER_MIN_RATE).
    """

    def receive_upload(self, account: str) -> Iterator[memoryview]:
        """The body in blocks of up to BLOCK_BYTES.

        Each is valid until the one after the next is asked for. The body counts among the account's
        transfers from the call on, is read from the first block on, and ends early where the
        connection does. Raises TooManyRequests `too_many_transfers` or ServiceUnavailable
        `server_busy` at once, and while it is read OSError: TimeoutError, TooSlowError,
        UnreadableBodyError.
        """
        ...

    def expect_download(self, account: str, *, size_bytes: int) -> None:
        """The answer to come is so large: count it among the account's transfers.

        Raises TooManyRequests `too_many_transfers`, ServiceUnavailable `server_busy`.
        """
        ...


class PlainExchange:
    """For a server that offers none: nothing is bounded."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def receive_upload(self, account: str) -> Iterator[memoryview]:  # noqa: ARG002
        return map(memoryview, iter(lambda: self._request.read(BLOCK_BYTES), b""))

    def expect_download(self, account: str, *, size_bytes: int) -> None:
        pass


def exchange_of(request: HttpRequest) -> Exchange:
    exchange: Exchange | None = request.META.get(ENVIRON_KEY)
    return exchange or PlainExchange(request)
