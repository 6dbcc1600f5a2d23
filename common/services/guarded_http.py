"""One HTTP request to a URL that a user named: to a vetted address, within a time, once.

httpcore is used below httpx's client because its network backend is where both promises can be
kept: the address that was checked is the one connected to, under the URL's own Host and TLS name,
and every wait on the socket ends at one deadline, so a peer that drips bytes gains nothing. There
are no redirects, no proxies from the environment and no retries at this level.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore

from common.services import ssrf

CONNECT_TIMEOUT = 5.0  # seconds, for each address of the host
BODY_HEAD = 4096  # bytes of a response's body that are read and kept


class RequestFailed(Exception):
    """No response: refused, unreachable, too slow, or not HTTP. The message is for people."""


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes  # its first 4 KiB


def post(*, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Response:
    """POST once; `timeout` is in seconds, for everything from the first connect to the last byte.

    Raises RequestFailed, and InvalidInput when the guard refuses the URL.
    """
    deadline = _Deadline(time.monotonic() + timeout, timeout)
    target = ssrf.parse_url(url)
    backend = _GuardedBackend(ssrf.vetted_addresses(target.host, target.port), deadline)
    request_url = httpcore.URL(
        scheme=target.scheme, host=target.host, port=target.port, target=target.path
    )
    try:
        with (
            httpcore.ConnectionPool(ssl_context=_ssl_context(), network_backend=backend) as pool,
            pool.stream(
                "POST",
                request_url,
                headers=[
                    ("Host", target.authority),
                    ("Connection", "close"),
                    *headers.items(),
                ],
                content=body,
            ) as response,
        ):
            return Response(
                status=response.status,
                headers={
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                },
                body=_body_head(response),
            )
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as exc:
        raise RequestFailed(str(exc) or type(exc).__name__) from exc


def _body_head(response: httpcore.Response) -> bytes:
    """What can be had of the body: the status has decided already, so a cut body is no failure."""
    head = bytearray()
    with contextlib.suppress(
        httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError
    ):
        for chunk in response.iter_stream():
            head += chunk
            if len(head) >= BODY_HEAD:
                break
    return bytes(head[:BODY_HEAD])


@cache
def _ssl_context() -> ssl.SSLContext:
    """The system's certificate authorities and certifi's."""
    return httpcore.default_ssl_context()


@dataclass(frozen=True)
class _Deadline:
    at: float  # time.monotonic()
    timeout: float

    def left(self, limit: float | None = None) -> float:
        """Seconds until the end, at most `limit`; raises TimeoutError when there are none."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if limit is None else min(left, limit)


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to the vetted addresses, in the resolver's order, whatever the host's name says."""

    def __init__(self, addresses: list[str], deadline: _Deadline) -> None:
        self._addresses = addresses
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Any = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        failure: OSError | None = None
        for address in self._addresses:
            try:
                timeout = self._deadline.left(CONNECT_TIMEOUT)
                connection = socket.create_connection((address, port), timeout)
            except OSError as exc:
                failure = exc
            else:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return _BoundedStream(connection, self._deadline)
        if isinstance(failure, TimeoutError):
            raise httpcore.ConnectTimeout(f"Connecting to {host}:{port} took too long.")
        raise httpcore.ConnectError(f"Cannot connect to {host}:{port}: {failure}.")


class _BoundedStream(httpcore.NetworkStream):
    """A connection whose every wait ends at the deadline. httpcore's own timeouts are not used."""

    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self._socket = connection
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        with self._translated(httpcore.ReadTimeout, httpcore.ReadError):
            self._socket.settimeout(self._deadline.left())
            return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        with self._translated(httpcore.WriteTimeout, httpcore.WriteError):
            rest = memoryview(buffer)
            while rest:
                self._socket.settimeout(self._deadline.left())
                rest = rest[self._socket.send(rest) :]

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        with self._translated(httpcore.ConnectTimeout, httpcore.ConnectError):
            self._socket.settimeout(self._deadline.left())
            try:
                secured = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
            except BaseException:
                self.close()
                raise
        return _BoundedStream(secured, self._deadline)

    def close(self) -> None:
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        return self._socket if info == "ssl_object" and self._is_secure else None

    @property
    def _is_secure(self) -> bool:
        return isinstance(self._socket, ssl.SSLSocket)

    @contextlib.contextmanager
    def _translated(
        self, on_timeout: type[httpcore.TimeoutException], on_error: type[httpcore.NetworkError]
    ) -> Iterator[None]:
        try:
            yield
        except TimeoutError as exc:
            raise on_timeout(f"No answer within {self._deadline.timeout:g} seconds.") from exc
        except OSError as exc:
            raise on_error(str(exc)) from exc
