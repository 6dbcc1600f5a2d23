"""httpx for requests to URLs from users: synchronous, allowed addresses only, time-limited.

It has the same guard as `guarded_http`, which sends webhooks: a host is refused if any of its
addresses is not allowed. There are no redirects, cookies, proxies from the environment or
decompression.
"""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import monotonic
from typing import Any

import httpcore
import httpx

from common.net import ssrf, tls
from common.net.guarded_http import CONNECT_TIMEOUT

_WRITTEN_AT_ONCE = 64 * 1024  # bytes, before the clock is looked at again


class AnswerTooLarge(Exception):
    """The answer has more bytes than the caller accepts."""


@contextmanager
def client(*, silence: float, total: float) -> Iterator[httpx.Client]:
    """A client for one request or a few.

    Times are in seconds: `silence` is the longest time without data, `total` the time until the end
    of the block. Requests raise InvalidInput when the guard refuses the URL, otherwise what httpx
    raises; an expired time limit is a httpx.TimeoutException.
    """
    with httpx.Client(
        transport=_Transport(deadline=monotonic() + total),
        timeout=httpx.Timeout(silence, connect=CONNECT_TIMEOUT),
        headers={"Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    ) as made:
        yield made


def blocks(response: httpx.Response, *, limit: int) -> Iterator[bytes]:
    """The body of a streamed response as it arrives. Raises AnswerTooLarge after `limit` bytes."""
    size = 0
    for block in response.iter_raw():
        size += len(block)
        if size > limit:
            raise AnswerTooLarge
        yield block


def body(response: httpx.Response, *, limit: int) -> bytes:
    """The whole body of a streamed response. Raises AnswerTooLarge above `limit` bytes."""
    return b"".join(blocks(response, limit=limit))


class _Transport(httpx.HTTPTransport):
    """httpx's transport over a pool of guarded connections."""

    def __init__(self, *, deadline: float) -> None:
        # Without the base class's: it would make a pool that connects to anything.
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls.ssl_context(),
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=_GuardedBackend(deadline=deadline),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        target = ssrf.parse_url(str(request.url))
        # Certificates name hosts without the dot of the root.
        request.extensions["sni_hostname"] = target.host.rstrip(".")
        return super().handle_request(request)


class _GuardedBackend(httpcore.NetworkBackend):
    """Tries the checked addresses of a host one after the other."""

    def __init__(self, *, deadline: float) -> None:
        self._system = httpcore.SyncBackend()
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception | None = None
        for address in ssrf.vetted_addresses(host, port):
            try:
                stream = self._system.connect_tcp(
                    address,
                    port,
                    timeout=_remaining(self._deadline, timeout, httpcore.ConnectTimeout),
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
            else:
                return _Stream(stream, deadline=self._deadline)
        raise failure or httpcore.ConnectError(f"The host {host} has no address.")


class _Stream(httpcore.NetworkStream):
    """A connection that ends at the deadline, even while data arrives."""

    def __init__(self, stream: httpcore.NetworkStream, *, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        seconds = _remaining(self._deadline, timeout, httpcore.ReadTimeout)
        return self._stream.read(max_bytes, seconds)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITTEN_AT_ONCE):
            seconds = _remaining(self._deadline, timeout, httpcore.WriteTimeout)
            self._stream.write(buffer[start : start + _WRITTEN_AT_ONCE], seconds)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        seconds = _remaining(self._deadline, timeout, httpcore.ConnectTimeout)
        secured = self._stream.start_tls(ssl_context, server_hostname, seconds)
        return _Stream(secured, deadline=self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _remaining(
    deadline: float, timeout: float | None, over: type[httpcore.TimeoutException]
) -> float:
    """The seconds left for one operation. Raises `over` when the total time is over."""
    remaining = deadline - monotonic()
    if remaining <= 0:
        raise over("The time is over.")
    return remaining if timeout is None else min(timeout, remaining)
