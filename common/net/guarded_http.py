"""HTTP requests to URLs that users named: to vetted addresses, within a time, once.

The guard stands where connections are made: the resolver refuses a host with any address that is
not allowed, and no socket is opened to another, whatever form the URL gave it. There are no
redirects, no cookies, no proxies from the environment and no decompression.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any

import aiohttp
import certifi
from aiohttp import StreamReader
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from yarl import URL

from common.net import ssrf

CONNECT_TIMEOUT = 5.0  # seconds, for each address of the host
BODY_HEAD = 4096  # bytes of a response's body that are read and kept
KEEP_ALIVE = 2.0  # seconds; receivers close idle connections, and a request may cross with it
INTERIM_MAX = 16  # answers of status 1xx before the final one: reading them holds up the loop
RESOLVERS = 32  # names looked up at once: a slow name server holds up no other


class RequestFailed(Exception):
    """No response: refused, unreachable, too slow, or not HTTP. The message is for people."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]  # names in lower case; repeated ones joined by commas
    body: bytes  # its first 4 KiB


class Client:
    """Pooled connections of one event loop. Made by `client`."""

    def __init__(self, pooled: aiohttp.ClientSession, fresh: aiohttp.ClientSession) -> None:
        self._pooled = pooled
        self._fresh = fresh

    async def post(
        self, *, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> Response:
        """POST once; `timeout` is in seconds, from the first connect to the last byte.

        Raises RequestFailed, and InvalidInput when the guard refuses the URL.
        """
        target = ssrf.parse_url(url)
        exchange = _Exchange(url=_yarl(target), headers=headers, body=body)
        try:
            async with asyncio.timeout(timeout):
                try:
                    await exchange.run(self._pooled)
                except aiohttp.ClientConnectionError as exc:
                    if not exchange.is_untaken(exc):
                        raise
                    await exchange.run(self._fresh)
        except (aiohttp.ClientError, OSError) as exc:
            # The status has decided already: a body that is cut, or drips, is no failure.
            if exchange.response is None:
                raise RequestFailed(_said(exc, target, timeout)) from exc
        finally:
            exchange.close()
        return exchange.answer()


def _said(error: Exception, target: ssrf.Target, timeout: float) -> str:
    """What went wrong, for people."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            said = f"Cannot connect to {target.place}: {error.certificate_error}."
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno
            cause = os.strerror(number) if number and number > 0 else error.os_error
            said = f"Cannot connect to {target.place}: {cause}."
        case aiohttp.ConnectionTimeoutError():
            said = f"Connecting to {target.place} took too long."
        case TimeoutError():
            said = f"No answer within {timeout:g} seconds."
        case aiohttp.ServerDisconnectedError():
            said = "The receiver closed the connection without an answer."
        case aiohttp.ClientResponseError():
            said = f"The answer is not valid HTTP: {error.message}"
        case _:
            said = str(error) or type(error).__name__
    return said


@lru_cache(maxsize=1024)
def _yarl(target: ssrf.Target) -> URL:
    """The URL as it was checked: nothing of it is parsed or quoted anew."""
    path, _, query = target.path.decode("ascii").partition("?")
    return URL.build(
        scheme=target.scheme,
        host=f"[{target.host}]" if ":" in target.host else target.host,
        port=target.port,
        path=path,
        query_string=query,
        encoded=True,
    )


class _Exchange:
    """One request and as much of its response as came."""

    def __init__(self, *, url: URL, headers: Mapping[str, str], body: bytes) -> None:
        self._url = url
        self._headers = headers
        self._body = body
        self._head = bytearray()  # of the response's body
        self.is_reused = False  # whether it went over a connection that had served before
        self.response: aiohttp.ClientResponse | None = None

    async def run(self, session: aiohttp.ClientSession) -> None:
        self.is_reused = True
        _under_way.set(self)
        self.response = await session.post(
            self._url,
            data=self._body,
            headers=self._headers,
            allow_redirects=False,
        )
        content = self.response.content
        while len(self._head) <= BODY_HEAD and (chunk := await content.readany()):
            self._head += chunk

    def is_untaken(self, error: aiohttp.ClientConnectionError) -> bool:
        """Whether it met an idle connection that the receiver was closing: nobody has it then.

        aiohttp keeps what came of a response whose head was cut in place of the message.
        """
        is_cut = isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(
            error.message, str
        )
        return self.is_reused and self.response is None and not is_cut

    def close(self) -> None:
        """A body that was read to its end has given its connection back to the pool already."""
        if self.response is not None:
            self.response.close()

    def answer(self) -> Response:
        assert self.response is not None  # noqa: S101 - or `post` has raised
        headers = self.response.headers
        return Response(
            status=self.response.status,
            headers={name.lower(): ", ".join(headers.getall(name)) for name in headers},
            body=bytes(self._head[:BODY_HEAD]),
        )


_under_way: ContextVar[_Exchange] = ContextVar("exchange")


class _Connection(ResponseHandler):
    """Ends when interim answers go on and on."""

    _interim = 0  # since the last final answer

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        message, _ = data
        self._interim = self._interim + 1 if message.code < 200 else 0
        if self._interim <= INTERIM_MAX:
            super().feed_data(data, size)
        elif not self.is_eof():
            self.set_exception(HttpProcessingError(message="Too many interim answers."))
            if self.transport is not None:
                self.transport.abort()


class _Connector(aiohttp.TCPConnector):
    """Makes our connections, and tells the exchange when it got one of its own."""

    _factory: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_Connection, loop=asyncio.get_running_loop())

    async def _get(self, *args: Any, **kwargs: Any) -> Any:
        """An idle connection on which nothing came: that would pass for the next answer."""
        while connection := await super()._get(*args, **kwargs):
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close:
                return connection
            connection.close()
        return None

    async def _create_connection(self, *args: Any, **kwargs: Any) -> Any:
        _under_way.get().is_reused = False
        return await super()._create_connection(*args, **kwargs)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """A client whose connections end with the block."""
    resolver = _GuardedResolver()
    async with (
        _session(resolver, keepalive_timeout=KEEP_ALIVE) as pooled,
        _session(resolver, force_close=True) as fresh,
    ):
        try:
            yield Client(pooled, fresh)
        finally:
            await resolver.shut_down()


def _session(resolver: AbstractResolver, **options: Any) -> aiohttp.ClientSession:
    connector = _Connector(
        resolver=resolver,
        use_dns_cache=False,
        socket_factory=_guarded_socket,
        ssl=ssl_context(),
        limit=0,  # the caller bounds what it has under way
        **options,
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding"),
        auto_decompress=False,
        trust_env=False,
    )


@cache
def ssl_context() -> ssl.SSLContext:
    """The system's certificate authorities and certifi's."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


class _GuardedResolver(AbstractResolver):
    """Names by the system's resolver, in threads of its own, through the guard."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolver")
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        addresses = await self._looked_up(host, port)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def _looked_up(self, host: str, port: int) -> list[str]:
        """One look-up at a time for a name: one that is slow holds one thread, not all."""
        if (host, port) not in self._under_way:
            loop = asyncio.get_running_loop()
            looking = loop.run_in_executor(self._threads, ssrf.vetted_addresses, host, port)
            self._under_way[host, port] = looking
            looking.add_done_callback(lambda _: self._under_way.pop((host, port)))
        return await asyncio.shield(self._under_way[host, port])

    async def close(self) -> None:
        """It is shared by two connectors, each of which closes it; see `shut_down`."""

    async def shut_down(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _guarded_socket(address_info: Any) -> socket.socket:
    """The last word: a URL that names an address did not pass the resolver."""
    family, kind, protocol, _, address = address_info
    ssrf.require_allowed(address[0])
    return socket.socket(family, kind, protocol)
