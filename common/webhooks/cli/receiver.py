"""A local receiver of webhooks: verifies each event and forwards it."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from time import monotonic, time

import click
import httpx

from common.webhooks.sending import signature

HOST = "127.0.0.1"
TOLERANCE = 300  # seconds that the clocks may differ (Standard Webhooks 1.0.0)
FORWARD_TIMEOUT = 55.0  # seconds: somebody may be debugging the receiver
BODY_MAX = 16 * 2**20  # bytes of an event
ANSWER_MAX = 64 * 2**10  # bytes of the forward's answer that are passed back
IDLE_MAX = 30.0  # seconds without data on a connection

# Of one connection, not of the message (RFC 9110, 7.6.1); the length is counted anew.
_OF_THE_CONNECTION = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

_PASSED_BACK = frozenset({"content-type", "retry-after"})

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Incoming:
    """A request as it was received."""

    method: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass(frozen=True)
class Reply:
    """The answer to the portal. `summary` explains it to people."""

    status: int
    summary: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def problem_of(incoming: Incoming, *, secret: str) -> str:
    """Why a request cannot be from the portal; empty if its signature is valid."""
    stamp = incoming.header("webhook-timestamp")
    if not (stamp.isascii() and stamp.isdigit()) or len(stamp) > 12:
        return "it has no valid webhook-timestamp"
    expected = signature(
        secrets=[secret],
        message_id=incoming.header("webhook-id"),
        timestamp=int(stamp),
        body=incoming.body,
    )
    given = incoming.header("webhook-signature").split()
    if not any(compare_digest(each.encode(), expected.encode()) for each in given):
        return "its signature is wrong"
    off = round(time() - int(stamp))
    if abs(off) > TOLERANCE:
        return f"its timestamp is off by {off} seconds: compare the clocks"
    return ""


def forward(incoming: Incoming, *, url: str, client: httpx.Client) -> Reply:
    """Forward a request unchanged. Returns its answer, or 502 if there is none."""
    kept = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in incoming.headers
        if name.lower() not in _OF_THE_CONNECTION
    ]
    request = httpx.Request(incoming.method, url, headers=kept, content=incoming.body)
    start = monotonic()
    try:
        response = client.send(request, stream=True)
        with closing(response):
            body = _head(response)
    except httpx.HTTPError as exc:
        reason = str(exc) or type(exc).__name__
        return Reply(502, f"no answer from {url} ({reason}), answered 502")
    took = round((monotonic() - start) * 1000)
    headers = tuple(pair for pair in response.headers.items() if pair[0] in _PASSED_BACK)
    return Reply(response.status_code, f"{response.status_code} in {took} ms", headers, body)


def _head(response: httpx.Response) -> bytes:
    body = b""
    for block in response.iter_raw():
        body += block
        if len(body) >= ANSWER_MAX:
            break
    return body[:ANSWER_MAX]


class LocalServer(ThreadingTCPServer):
    """Passes each request to `answer`, in its own thread. Listens on loopback only.

    Connections made before it runs wait in the queue of the socket.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    answer: Callable[[Incoming], Reply]

    def __init__(self, port: int) -> None:
        """Raises OSError when the port is taken; 0 takes a free one."""
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/"

    @contextmanager
    def running(self, answer: Callable[[Incoming], Reply]) -> Iterator[None]:
        """Serve until the end of the block."""
        self.answer = answer
        thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()

    def handle_error(self, *_: object) -> None:
        """Ignore a portal that disconnects during a request: it sends the request again."""
        fault = sys.exception()
        if not isinstance(fault, ConnectionError | TimeoutError):
            click.echo(f"A request failed here: {fault!r}", err=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_MAX
    server: LocalServer

    def _receive(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > BODY_MAX:
            self.send_error(413)
            return
        body = self.rfile.read(int(length))
        self._reply(self.server.answer(Incoming(self.command, self.headers.items(), body)))

    do_POST = do_PUT = do_GET = _receive  # noqa: N815

    def _reply(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        # One request per connection, so that none is closed while the portal wants to use it.
        self.send_header("Connection", "close")
        if reply.status not in (204, 304):  # these have no body
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *_: object) -> None:
        """Log nothing: `answer` prints what people should know."""
