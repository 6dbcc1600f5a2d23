"""A virus scanner of the tests' own: it speaks clamd's INSTREAM, and can go wrong in every way."""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
SIGNATURE = "Eicar-Test-Signature"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset at once


@dataclass
class Scanner:
    """`fault` is how it goes wrong: "" (not at all), "silent" (about streams), "dead", "cut",
    "error", "garbage", "early".

    `scanned` is what came, whole streams only.
    """

    address: str
    fault: str = ""
    most_bytes: int = 2**62
    reply: bytes = b""  # instead of the verdict
    scanned: list[bytes] = field(default_factory=list)
    connections: int = 0
    spoke_early: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class _Handler(socketserver.BaseRequestHandler):
    server: Any

    def handle(self) -> None:
        scanner: Scanner = self.server.scanner
        scanner.connections += 1
        command = self._until_nul()
        if scanner.fault == "dead":
            scanner.released.wait(30)
        elif command == b"zPING":
            self.request.sendall(b"PONG\0")
        elif command == b"zVERSION":
            self.request.sendall(b"ClamAV 1.4.3/27800/Thu Nov 26 09:30:12 2026\0")
        elif command == b"zINSTREAM":
            self._scan(scanner)

    def _scan(self, scanner: Scanner) -> None:
        if scanner.fault == "early":
            self.request.sendall(b"stream: OK\0")
            scanner.spoke_early.set()
        data = b""
        while block := self._block():
            data += block
            if scanner.fault == "cut":
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return
            if len(data) > scanner.most_bytes:
                self.request.sendall(b"INSTREAM size limit exceeded. ERROR\0")
                return
        if scanner.fault == "silent":
            scanner.released.wait(30)
            return
        scanner.scanned.append(data)
        self.request.sendall(_answer(scanner, data) + b"\0")

    def _block(self) -> bytes:
        (size,) = struct.unpack("!L", self._exactly(4))
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (more := self.request.recv(size - len(data))):
                raise ConnectionError
            data += more
        return data

    def _until_nul(self) -> bytes:
        data = b""
        while not data.endswith(b"\0"):
            if not (more := self.request.recv(1)):
                return data
            data += more
        return data[:-1]


def _answer(scanner: Scanner, data: bytes) -> bytes:
    if scanner.reply:
        return scanner.reply
    if scanner.fault == "error":
        return b"Can't allocate memory ERROR"
    if scanner.fault == "garbage":
        return b"\xff\xfe nonsense"
    return f"stream: {SIGNATURE} FOUND".encode() if EICAR in data else b"stream: OK"


class _Server(socketserver.ThreadingTCPServer):
    scanner: Scanner
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_: Any) -> None:
        """The other side went away: that is what some tests are about."""


@contextmanager
def running(port: int = 0) -> Iterator[Scanner]:
    with _Server(("127.0.0.1", port), _Handler) as server:
        scanner = Scanner(f"clamd://127.0.0.1:{server.server_address[1]}")
        server.scanner = scanner
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield scanner
        finally:
            scanner.released.set()
            server.shutdown()
            thread.join()
