"""A webhook receiver on loopback that remembers what it got and answers as it is told."""

import json
import socket
import ssl
import struct
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Answer:
    """One response. `delay` is in seconds, before it starts."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    delay: float = 0.0


@dataclass(frozen=True)
class Drip:
    """A response of which one byte comes every `interval` seconds, from the status line on."""

    interval: float = 0.05
    head_at_once: bool = False  # then only the body drips
    body_bytes: int = 10_000


@dataclass(frozen=True)
class Hang:
    """No response until the receiver is closed."""


@dataclass(frozen=True)
class Close:
    """The connection is reset instead of a response."""


Reaction = Answer | Drip | Hang | Close


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Use as a context manager. `answers` are used up one by one, then `default` answers.

    With a `certificate` (a PEM file with its key) it speaks https and notes the TLS names.
    """

    def __init__(
        self,
        *answers: Reaction,
        default: Reaction | None = None,
        certificate: Path | None = None,
    ) -> None:
        self.answers = deque(answers)
        self.default = default or Answer()
        self.received: list[Received] = []
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self.server_names: list[str] = []
        self._server = _server(self)
        if certificate:
            self._server.socket = self._secured(certificate)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def release(self) -> None:
        """End every delay, drip and hang, by closing the connection without a response."""
        self._closing.set()

    def wait_for(self, count: int, *, timeout: float = 20) -> list[Received]:
        """The first `count` requests; raises TimeoutError when they do not come in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.received) >= count, timeout):
                raise TimeoutError(f"{len(self.received)} of {count} requests came.")
            return self.received[:count]

    def _secured(self, certificate: Path) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.sni_callback = lambda _, name, __: self.server_names.append(name)
        # The handshake is left to the connection's thread: a failed one must not end the server.
        return context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )

    def take(self, request: Received) -> Reaction:
        with self._changed:
            self.received.append(request)
            self._changed.notify_all()
            return self.answers.popleft() if self.answers else self.default

    def pause(self, seconds: float | None) -> bool:
        """Wait, None for ever; True when the wait was ended by `release`."""
        return seconds != 0 and self._closing.wait(seconds)


def _server(receiver: Receiver) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def react(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.command, self.path, headers, self.rfile.read(length))
            self.close_connection = True
            with suppress(ConnectionError):
                self._react(receiver.take(request))

        do_POST = do_GET = do_PUT = do_HEAD = react  # noqa: N815

        def _react(self, reaction: Reaction) -> None:
            match reaction:
                case Answer():
                    if not receiver.pause(reaction.delay):
                        self.wfile.write(_response(reaction))
                case Drip():
                    self._drip(reaction)
                case Hang():
                    receiver.pause(None)
                case Close():
                    # Linger 0: the peer sees a reset.
                    self.connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                    self.connection.close()

        def _drip(self, drip: Drip) -> None:
            text = _response(Answer(body=b"x" * drip.body_bytes))
            head, body = text.split(b"\r\n\r\n", 1)
            if drip.head_at_once:
                self.wfile.write(head + b"\r\n\r\n")
                text = body
            for byte in text:
                if receiver.pause(drip.interval):
                    return
                self.wfile.write(bytes([byte]))

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *_: object) -> None:
            """Tests look at `received`."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            """A peer that goes away, or distrusts the certificate, is part of the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    return server


def _response(answer: Answer) -> bytes:
    headers = {"Content-Length": str(len(answer.body)), **answer.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Status\r\n{lines}\r\n".encode() + answer.body
