"""HTTP requests to URLs from users: only to allowed addresses, within a time limit, once.

The guard is where connections are made: a host is refused if any of its addresses is not allowed,
and sockets are opened to checked addresses only. There are no redirects, cookies, proxies from the
environment or decompression.

The status line decides the outcome of a request (see `http_response`). General clients treat a
response as missing if anything after the status line is malformed, so none is used here.
"""

import asyncio
import socket
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import aiohappyeyeballs

from common.net import faults, ssrf, tls
from common.net.faults import Phase
from common.net.http_response import ResponseReader

CONNECT_TIMEOUT = 5.0  # seconds, for all addresses of the host
NEXT_ADDRESS_AFTER = 0.25  # seconds until the next address is tried too (RFC 8305)
BODY_HEAD = 4096  # bytes of a response's body that are read and kept
KEEP_ALIVE = 2.0  # seconds; receivers close idle connections, possibly just when a request is sent
RESOLVERS = 32  # concurrent look-ups, so that a slow name server does not block others


class RequestFailed(Exception):
    """No response: refused, unreachable, too slow, or not HTTP. The message is for people."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]  # names in lower case; repeated ones joined by commas
    body: bytes  # its first 4 KiB


@dataclass(slots=True)
class _Exchange:
    """One request, its progress, and the response as far as it was received."""

    target: ssrf.Target
    request: bytes
    phase: Phase = Phase.LOOKING_UP
    reader: ResponseReader = field(init=False)

    def __post_init__(self) -> None:
        self.begin_answer(follows_another=False)

    def begin_answer(self, *, follows_another: bool) -> None:
        self.reader = ResponseReader(body_max=BODY_HEAD, follows_another=follows_another)

    def response(self) -> Response:
        """Raises RequestFailed when no status line came."""
        reader = self.reader
        if reader.status is None:
            raise RequestFailed(reader.fault)
        headers: dict[str, str] = {}
        for name, value in reader.headers:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Response(status=reader.status, headers=headers, body=bytes(reader.body))


class Client:
    """The pooled connections of one event loop. Created by `client`."""

    def __init__(self, names: "_Names") -> None:
        self._names = names
        self._idle: defaultdict[tuple[str, str, int], list[_Connection]] = defaultdict(list)

    async def post(
        self, *, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> Response:
        """POST once. `timeout` is in seconds, from connecting to the last byte.

        Raises RequestFailed, and InvalidInput when the guard refuses the URL.
        """
        target = ssrf.parse_url(url)
        exchange = _Exchange(target, _request(target, headers, body))
        try:
            async with asyncio.timeout(timeout):
                await self._run(exchange)
        except OSError as exc:  # TLS faults and what took too long are among these
            # The status has already decided: a truncated or slow body is no failure.
            if exchange.reader.status is None:
                raise RequestFailed(
                    faults.explain(exc, phase=exchange.phase, place=target.place, seconds=timeout)
                ) from exc
        return exchange.response()

    async def _run(self, exchange: _Exchange) -> None:
        if (idle := self._take_idle(exchange.target)) and await self._is_taken(idle, exchange):
            return
        connection = await self._connect(exchange)
        await self._send(connection, exchange)

    async def _is_taken(self, idle: "_Connection", exchange: _Exchange) -> bool:
        """Send over an idle connection. Returns False when the receiver was just closing it.

        Then no byte came back, and the receiver has not processed the request.
        """
        try:
            await self._send(idle, exchange)
        except (ConnectionError, ssl.SSLError):
            if exchange.reader.is_untouched:
                return False
            raise
        return True

    async def _send(self, connection: "_Connection", exchange: _Exchange) -> None:
        exchange.phase = Phase.ANSWERING
        try:
            await connection.send(exchange)
        finally:
            if connection.is_reusable:
                self._keep_idle(connection, exchange.target)
            else:
                connection.close()

    async def _connect(self, exchange: _Exchange) -> "_Connection":
        """Open a connection to an address that was just checked. Raises InvalidInput, OSError."""
        loop, target = asyncio.get_running_loop(), exchange.target
        exchange.phase = Phase.LOOKING_UP
        addresses = await self._names.addresses(target.host, target.port)
        exchange.phase = Phase.CONNECTING
        async with asyncio.timeout(CONNECT_TIMEOUT):
            connected = await aiohappyeyeballs.start_connection(
                [_address_info(address, target.port) for address in addresses],
                happy_eyeballs_delay=NEXT_ADDRESS_AFTER,
                loop=loop,
            )
        exchange.phase = Phase.SECURING
        is_secure = target.scheme == "https"
        _, connection = await loop.create_connection(
            _Connection,
            sock=connected,
            ssl=tls.ssl_context() if is_secure else None,
            # Certificates name hosts without the dot of the root.
            server_hostname=target.host.rstrip(".") if is_secure else None,
        )
        return connection

    # --- Idle connections --------------------------------------------------------------------

    def _take_idle(self, target: ssrf.Target) -> "_Connection | None":
        """An idle connection to the same scheme, host and port, without unexpected data."""
        kept = self._idle[_place(target)]
        while kept:
            connection = kept.pop()
            connection.stay_open()
            if connection.is_reusable:
                return connection
        return None

    def _keep_idle(self, connection: "_Connection", target: ssrf.Target) -> None:
        connection.close_in(KEEP_ALIVE)
        self._idle[_place(target)].append(connection)

    async def close(self) -> None:
        for kept in self._idle.values():
            for connection in kept:
                connection.stay_open()
                connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # the loop closes their sockets in its next round


def _place(target: ssrf.Target) -> tuple[str, str, int]:
    return target.scheme, target.host, target.port


def _request(target: ssrf.Target, headers: Mapping[str, str], body: bytes) -> bytes:
    """The request's bytes. The URL is used as it was checked, without parsing or quoting again."""
    lines = [
        f"POST {target.path.decode('ascii')} HTTP/1.1",
        f"Host: {target.authority}",
        *(f"{name}: {value}" for name, value in headers.items()),
        f"Content-Length: {len(body)}",
    ]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("A header must be one line.")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _address_info(address: str, port: int) -> aiohappyeyeballs.AddrInfoType:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)


class _Connection(asyncio.Protocol):
    """Sends one request at a time and receives its response."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._exchange: _Exchange | None = None
        self._answered: asyncio.Future[None] | None = None
        self._has_served = False
        self._end: asyncio.TimerHandle | None = None
        self.is_reusable = False

    async def send(self, exchange: _Exchange) -> None:
        """Send and wait for the response. Raises ConnectionError when it ends without a status."""
        exchange.begin_answer(follows_another=self._has_served)
        self._exchange = exchange
        self._answered = asyncio.get_running_loop().create_future()
        self.is_reusable = False
        self._transport.write(exchange.request)
        try:
            await self._answered
        finally:
            self._exchange = self._answered = None
        self._has_served = True
        # The unsent rest of this request must not become the start of the next.
        is_sent = not self._transport.get_write_buffer_size()
        self.is_reusable = (
            exchange.reader.is_reusable and is_sent and not self._transport.is_closing()
        )

    def close(self) -> None:
        self.is_reusable = False
        self._transport.abort()

    def close_in(self, seconds: float) -> None:
        self._end = asyncio.get_running_loop().call_later(seconds, self.close)

    def stay_open(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

    # --- What the loop calls -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._exchange is None or self._answered is None or self._answered.done():
            self.close()  # unrequested data would be taken for the next answer
            return
        self._exchange.reader.feed(data)
        if self._exchange.reader.is_complete:
            self._answered.set_result(None)

    def eof_received(self) -> None:
        self._lose(None)  # the transport then closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(exc)

    def _lose(self, error: Exception | None) -> None:
        self.is_reusable = False
        if self._exchange is None or self._answered is None or self._answered.done():
            return
        reader = self._exchange.reader
        if reader.is_untouched:
            self._answered.set_exception(error or ConnectionAbortedError())
            return
        reader.feed_end()
        self._answered.set_result(None)


class _Names:
    """Resolves and checks host names, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolver")
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """One look-up at a time for each name, so that a slow one blocks one thread only."""
        if (host, port) not in self._under_way:
            loop = asyncio.get_running_loop()
            looking = loop.run_in_executor(self._threads, ssrf.vetted_addresses, host, port)
            self._under_way[host, port] = looking
            looking.add_done_callback(lambda _: self._under_way.pop((host, port)))
        return await asyncio.shield(self._under_way[host, port])

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """A client whose connections are closed after the block."""
    names = _Names()
    made = Client(names)
    try:
        yield made
    finally:
        await made.close()
        names.close()
