"""A running portal, a client of it, and a proxy in between that makes trouble."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from boot.tests.portal import ROOT, Portal, call
from doorito_client import Client

COMMAND = [sys.executable, "-m", "doorito_client"]


@dataclass
class Seen:
    method: str
    path: str
    size_bytes: int
    headers: dict[str, str]
    status: int


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a portal, one by one, and notes them once they are answered.

    `most_bytes`: larger bodies get a proxy's own 413. `delay`: seconds before each part is passed
    on. `answers`: what the next requests get instead of the portal's. `cut_after`: the next
    download breaks after so many bytes.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.seen: list[Seen] = []
        self.most_bytes: int | None = None
        self.delay = 0.0
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.cut_after: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def parts(self) -> list[Seen]:
        """The parts that the portal has taken."""
        return [each for each in self.seen if "/parts/" in each.path and each.status == 200]

    def handle_error(self, *_: object) -> None:
        """Clients are killed here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, answer = self._answer(body)
        self.server.seen.append(
            Seen(self.command, self.path, len(body), dict(self.headers), status)
        )
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        cut, is_file = self.server.cut_after, self.path.endswith("/content")
        if cut is not None and is_file:
            self.server.cut_after = None
            self.wfile.write(answer[:cut])
            self.close_connection = True
            return
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _pass  # noqa: N815

    def _answer(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.server.most_bytes is not None and len(body) > self.server.most_bytes:
            return 413, {"Content-Type": "text/html"}, b"<h1>413 Request Entity Too Large</h1>"
        if self.server.answers:
            status, headers = self.server.answers.pop(0)
            return status, headers, b""
        if "/parts/" in self.path:
            time.sleep(self.server.delay)
        kept = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in {"host", "connection", "content-length", "accept-encoding"}
        }
        try:
            target = self.server.target + self.path
            reply = call(self.command, target, headers=kept, content=body, timeout=60)
        except httpx.TransportError:
            return 502, {"Content-Type": "text/html"}, b"<h1>502 Bad Gateway</h1>"
        names = ("content-type", "content-range", "retry-after", "etag")
        headers = {name: reply.headers[name] for name in names if name in reply.headers}
        return reply.status_code, headers, reply.content

    def log_message(self, *_: object) -> None:
        """Quiet."""


@dataclass
class Place:
    """A portal's token, and folders of this test alone."""

    portal: Portal
    token: str
    folder: Path
    clients: list[Client] = field(default_factory=list)

    @property
    def states(self) -> Path:
        return self.folder / "state" / "doorito" / "uploads"

    def client(self, url: str = "", **options: Any) -> Client:
        options = {"states": self.states, "trust_env": False} | options
        client = Client(url or self.portal.url, self.token, **options)
        self.clients.append(client)
        return client

    def file(self, name: str, size_bytes: int) -> Path:
        path = self.folder / name
        path.write_bytes(os.urandom(size_bytes))
        return path

    def environment(self, url: str = "") -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return kept | {
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT / "client"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "DOORITO_SERVER": url or self.portal.url,
            "DOORITO_TOKEN": self.token,
        }

    def run(self, *arguments: object, url: str = "", stdin: str = "", **environment: str) -> Any:
        """`doorito-client <arguments>`."""
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env=self.environment(url) | environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *arguments: object, url: str = "") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env=self.environment(url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def named(self, name: str) -> list[Any]:
        """The portal's files of this name, whatever became of them."""
        found = self.client().files(search=name)
        return [file for file in found if file.original_filename == name]


@pytest.fixture(scope="module")
def token(portal: Portal) -> str:
    made = portal.run("token", "create", "--email", portal.admin_email, "--name", "client")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture
def place(portal: Portal, token: str, tmp_path: Path) -> Iterator[Place]:
    place = Place(portal, token, tmp_path)
    yield place
    for client in place.clients:
        client.close()


@pytest.fixture
def proxy(portal: Portal) -> Iterator[Proxy]:
    with Proxy(portal.url) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


@pytest.fixture
def until() -> Callable[..., Any]:
    def wait(condition: Callable[[], Any], *, timeout: float = 60) -> Any:
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)
        return result

    return wait


@pytest.fixture
def sha256() -> Callable[[Path], str]:
    return lambda path: hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are killed when the test is over."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()
