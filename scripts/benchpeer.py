"""The peer that receiving is compared with: the reference tus server for Node, with its file store.

It keeps files as they come: no database, no sync, no hash. It is installed from npm into the folder
of the run, so Node has to be there.
"""

import base64
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import benchlib
from benchlib import HOST

PACKAGES = ("@tus/server@2.4.5", "@tus/file-store@2.1.1")
_START_SECONDS = 30


@dataclass(frozen=True)
class TusServer:
    """Where uploads are made; `token`: empty where none is asked for."""

    port: int
    address: str = "/files"
    token: str = ""

    def head(self, method: str, path: str, *headers: str) -> bytes:
        """A request line and headers, of which `headers` are the last."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}:{self.port}", "Tus-Resumable: 1.0.0"]
        lines += [f"Authorization: Bearer {self.token}"] if self.token else []
        return "\r\n".join([*lines, *headers, "", ""]).encode()

    def create(self, size_bytes: int) -> str:
        """The path of a new upload."""
        connection = benchlib.open_socket(self.port)
        try:
            length = f"Upload-Length: {size_bytes}"
            connection.sendall(self.head("POST", self.address, length, "Content-Length: 0"))
            status, head = read_head(connection)
        finally:
            connection.close()
        location = re.search(rb"(?i)\r\nlocation: *(\S+)", head)
        if status != 201 or location is None:
            raise RuntimeError(f"an upload to {self.address} was answered {status}: {head!r}")
        return urlsplit(urljoin(f"http://{HOST}{self.address}", location[1].decode())).path


@dataclass(frozen=True)
class Peer(TusServer):
    process_id: int = 0
    files: Path = Path()

    def remove_all(self) -> None:
        for path in self.files.iterdir():
            path.unlink()


class PatchSender:
    """PATCHes one upload, piece by piece, on one kept-alive connection."""

    def __init__(self, server: TusServer, path: str) -> None:
        self._server = server
        self._path = path
        self._socket = benchlib.open_socket(server.port)

    def send(self, number: int, offset: int, view: memoryview) -> None:
        head = self._server.head(
            "PATCH",
            self._path,
            "Content-Type: application/offset+octet-stream",
            f"Upload-Offset: {offset}",
            f"Content-Length: {len(view)}",
        )
        self._socket.sendall(head)
        self._socket.sendall(view)
        status, head = read_head(self._socket)
        if status != 204:
            raise RuntimeError(f"piece {number} was answered {status}: {head!r}")

    def close(self) -> None:
        self._socket.close()


def small_file_request(peer: Peer, name: str, data: bytes) -> bytes:
    """A whole file in one request (creation-with-upload)."""
    filename = base64.b64encode(name.encode()).decode()
    return (
        f"POST /files HTTP/1.1\r\nHost: {HOST}:{peer.port}\r\nTus-Resumable: 1.0.0\r\n"
        f"Upload-Length: {len(data)}\r\nUpload-Metadata: filename {filename}\r\n"
        "Content-Type: application/offset+octet-stream\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    ).encode() + data


def read_head(connection: socket.socket) -> tuple[int, bytes]:
    """Status and head of an answer whose body, if it has one, is of no interest."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(65536)
        if not block:
            raise RuntimeError(f"the connection ended before the answer did: {data!r}")
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return int(head.split(b" ", 2)[1]), head


@contextmanager
def running_peer(folder: Path) -> Iterator[Peer]:
    if not shutil.which("node") or not shutil.which("npm"):
        sys.exit("The peer needs Node and npm.")
    folder = folder / "peer"
    (folder / "files").mkdir(parents=True)
    subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, *PACKAGES],
        check=True,
        stdout=sys.stderr,
    )
    port = benchlib.free_port()
    script = Path(__file__).with_name("tus_peer.mjs")
    with (folder / "peer.log").open("w+") as log:
        process = subprocess.Popen(
            ["node", script, folder, str(port)],
            env=os.environ | {"NODE_ENV": "production"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(port, process, folder / "peer.log")
            yield Peer(port, process_id=process.pid, files=folder / "files")
        finally:
            process.terminate()
            process.wait()


def _wait(port: int, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"The peer did not start:\n{log.read_text()}")
