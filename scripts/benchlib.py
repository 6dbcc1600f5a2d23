"""What the benchmarks share: a portal of their own, a frugal HTTP client, figures from /proc.

The client is raw sockets on purpose: what it costs must be the same for the portal and for the
sink that the portal is compared with, and little beside either.
"""

import argparse
import hashlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import UUID

MIB = 2**20
GIB = 2**30
ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_TIMEOUT = 120  # seconds; the first start initialises a database
STOP_TIMEOUT = 40  # seconds
IO_TIMEOUT = 300  # seconds on any socket: a benchmark ends, whatever happens

_SIZE = re.compile(r"(\d+)\s*(k|m|g|ki|mi|gi)?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 2**10, "m": MIB, "g": GIB}
_TICKS = os.sysconf("SC_CLK_TCK")
_POOL_BYTES = 64 * MIB


def size(text: str) -> int:
    """An argument such as ``8M`` or ``1GiB``, in bytes (powers of two)."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 64M or 1G")
    return int(match[1]) * _UNITS[(match[2] or "").lower().removesuffix("i")]


class Payload:
    """A file's worth of random bytes that differ from part to part, in little memory."""

    def __init__(self, *, size_bytes: int, chunk_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.chunk_bytes = chunk_bytes
        self.count = -(-size_bytes // chunk_bytes)
        self._pool = memoryview(_random_pool(max(_POOL_BYTES, 2 * chunk_bytes)))

    def part(self, number: int) -> memoryview:
        """Part `number`, counted from 1."""
        length = min(self.chunk_bytes, self.size_bytes - self.offset(number))
        start = number * 1_000_003 % (len(self._pool) - length + 1)
        return self._pool[start : start + length]

    def offset(self, number: int) -> int:
        return (number - 1) * self.chunk_bytes

    def sha256(self) -> str:
        """One plain pass of hashlib over the whole."""
        digest = hashlib.sha256()
        for number in range(1, self.count + 1):
            digest.update(self.part(number))
        return digest.hexdigest()


@cache
def _random_pool(length: int) -> bytes:
    return os.urandom(length)


def send_all(
    payload: Payload,
    *,
    connect: Callable[[], Any],
    connections: int,
    order: Iterable[int] | None = None,
) -> float:
    """Send every part over so many connections at once; seconds from first byte to last answer.

    `connect` gives an object with `send(number, offset, view)` and `close()`. Parts are handed
    out in `order`, each to the connection that is free first.
    """
    numbers = iter(order or range(1, payload.count + 1))
    lock = Lock()

    def run(sender: Any) -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            sender.send(number, payload.offset(number), payload.part(number))

    with ExitStack() as stack:
        senders = [connect() for _ in range(connections)]
        for sender in senders:
            stack.callback(sender.close)
        pool = stack.enter_context(ThreadPoolExecutor(connections))
        started = time.perf_counter()
        for outcome in [pool.submit(run, sender) for sender in senders]:
            outcome.result()
        return time.perf_counter() - started


class PartSender:
    """PUTs parts of one session on one kept-alive connection."""

    def __init__(self, portal: "Portal", session_id: str) -> None:
        self._portal = portal
        self._session_id = session_id
        self._socket = open_socket(portal.port)

    def send(self, number: int, _offset: int, view: memoryview) -> None:
        head = part_head(self._portal, self._session_id, number=number, length=len(view))
        self._socket.sendall(head)
        self._socket.sendall(view)
        status, body = read_answer(self._socket)
        if status != 200:
            raise RuntimeError(f"part {number} was answered {status}: {body!r}")

    def close(self) -> None:
        self._socket.close()


def part_head(portal: "Portal", session_id: str, *, number: int, length: int) -> bytes:
    """The request line and headers of a part's PUT."""
    return (
        f"PUT /api/v1/uploads/sessions/{session_id}/parts/{number} HTTP/1.1\r\n"
        f"Host: {HOST}:{portal.port}\r\nAuthorization: Bearer {portal.token}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def open_socket(port: int) -> socket.socket:
    connection = socket.create_connection((HOST, port), timeout=IO_TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of an HTTP/1.1 answer that has a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(65536)
        if not block:
            raise RuntimeError(f"the connection ended before the answer did: {data!r}")
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if found is None:
        raise RuntimeError(f"the answer has no Content-Length: {head!r}")
    length = int(found[1])
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split(b" ", 2)[1]), body


@dataclass
class Portal:
    """A running portal: an administrator's token, the process of `doorito up`, where bytes lie."""

    port: int
    token: str
    process_id: int
    data_folder: Path

    def call(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        """One API request on a connection of its own; the decoded answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=IO_TIMEOUT)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != expect:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {text!r}")
        return json.loads(text) if text else None

    def create_session(self, payload: Payload, *, name: str) -> dict[str, Any]:
        wanted = {
            "filename": name,
            "size_bytes": payload.size_bytes,
            "chunk_size_bytes": payload.chunk_bytes,
        }
        return self.call("POST", "/api/v1/uploads/sessions", wanted, expect=201)

    def finalize(self, session_id: str) -> dict[str, Any]:
        return self.call("POST", f"/api/v1/uploads/sessions/{session_id}/finalize")

    def delete_file(self, file_id: str) -> None:
        """Delete a file and, unlike the portal, its bytes at once: the next run needs the room."""
        self.call("DELETE", f"/api/v1/files/{file_id}", expect=204)
        for path in self.data_folder.rglob(UUID(file_id).hex):
            path.unlink()

    def manage(self, code: str) -> str:
        """What a piece of code prints that runs inside the portal's project."""
        environment = os.environ | {
            "DOORITO_DATA_DIR": str(self.data_folder),
            "DJANGO_CONFIGURATION": "Local",
            "WEB_PORT": str(self.port),
        }
        return subprocess.run(
            [sys.executable, ROOT / "manage.py", "shell", "--no-imports", "-c", code],
            env=environment,
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def web_processes(self) -> list[int]:
        """The web server's master and workers."""
        found = (pid for pid in _descendants(self.process_id) if b"boot.wsgi" in _command(pid))
        return sorted(found)


@contextmanager
def running_portal(folder: Path) -> Iterator[Portal]:
    """A portal started as `make run` starts it, with its own data under `folder`."""
    port = free_port()
    email = "bench@example.org"
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "CELERY_BROKER_URL", "DJANGO_CONFIGURATION"}
    } | {
        "DOORITO_DATA_DIR": str(folder / "data"),
        "WEB_PORT": str(port),
        "DOORITO_ADMIN_EMAIL": email,
        "DOORITO_ADMIN_PASSWORD": secrets.token_urlsafe(12),
    }
    with (folder / "portal.log").open("w+") as log:
        process = subprocess.Popen(
            [ROOT / "doorito", "up"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
        try:
            _wait_until_ready(port, process, log.name)
            token = subprocess.run(
                [ROOT / "doorito", "token", "create", "--email", email, "--name", "benchmark"],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
                cwd=ROOT,
            ).stdout.strip()
            yield Portal(
                port=port, token=token, process_id=process.pid, data_folder=folder / "data"
            )
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def work_folder(parent: str | None) -> Iterator[Path]:
    """A folder for everything that a run writes; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="doorito-bench-", dir=parent))
    folder.chmod(0o755)  # run as root, the database server is another user
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


def _wait_until_ready(port: int, process: subprocess.Popen, log: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            connection = http.client.HTTPConnection(HOST, port, timeout=5)
            connection.request("GET", "/healthz/")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    sys.exit(f"The portal did not start:\n{Path(log).read_text()}")


# --- Figures of processes --------------------------------------------------------------------


def cpu_seconds(process_ids: Iterable[int]) -> float:
    """User and system time that the processes have used so far."""
    return sum(sum(map(int, _stat(pid)[11:13])) for pid in process_ids) / _TICKS


def forget_peak_memory(process_ids: Iterable[int]) -> None:
    """Begin VmHWM anew (proc(5), clear_refs)."""
    for pid in process_ids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_memory(process_ids: Iterable[int]) -> int:
    """Sum of the peak resident sizes, in bytes."""
    return sum(_peak(pid) for pid in process_ids)


def _peak(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    if found is None:
        raise RuntimeError(f"process {process_id} tells no peak memory")
    return int(found[1]) * 1024


def _descendants(process_id: int) -> Iterator[int]:
    parents = {pid: int(_stat(pid)[1]) for pid in _all_processes()}
    known = {process_id}
    while new := {pid for pid, parent in parents.items() if parent in known} - known:
        known |= new
        yield from new


def _all_processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(process_id: int) -> list[str]:
    """The fields of /proc/PID/stat that follow the command's name, the state first."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return ["X"] + ["0"] * 50


def _command(process_id: int) -> bytes:
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


# --- Figures for people ----------------------------------------------------------------------


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50, p95 and the maximum, in milliseconds."""
    ordered = sorted(seconds)
    return {
        "count": len(ordered),
        "p50_ms": round(statistics.median(ordered) * 1000, 1),
        "p95_ms": round(ordered[max(0, round(len(ordered) * 0.95) - 1)] * 1000, 1),
        "max_ms": round(ordered[-1] * 1000, 1),
    }
