"""A client of clamd, ClamAV's daemon: the few commands of its protocol that are needed (clamd(8)).

A stream is sent in blocks, each behind its length, and ends with an empty one. What clamd says
before it has all of it is an error, such as that the stream is longer than it takes.
"""

import re
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from common.errors import ServiceUnavailable
from uploads.files.acceptance.base import LeftToWorker, Patience

PORT = 3310
BLOCK_BYTES = 256 * 2**10
CONNECT_SECONDS = 3.0
BEAT_SECONDS = 5.0
_LENGTH = struct.Struct("!L")
_LONGEST_ANSWER = 4096
_FOUND = re.compile(r"stream: (.+) FOUND")
_CLEAN = "stream: OK"
_TOO_LONG = "INSTREAM size limit exceeded. ERROR"


class StreamTooLongError(Exception):
    """Longer than clamd's StreamMaxLength."""


class _SilenceError(Exception):
    """Nothing was heard from the other side for as long as its caller waits."""


class ScannerUnavailable(ServiceUnavailable):
    """Nothing can be scanned for now. `detail` is for the operator."""

    def __init__(self, message: str, *, detail: str) -> None:
        super().__init__("scanner_unavailable", message, retry_after=30)
        self.detail = detail


class ScannerFailed(ServiceUnavailable):
    """This one stream could not be scanned. `detail` is for the operator."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            "scanner_failed", "The virus scanner could not scan the file.", retry_after=30
        )
        self.detail = detail


@dataclass(frozen=True)
class Address:
    """Of a TCP port, or of a socket in the file system where there is a `path`."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"

    def connect(self) -> socket.socket:
        if not self.path:
            return socket.create_connection((self.host, self.port), timeout=CONNECT_SECONDS)
        opened = socket.socket(socket.AF_UNIX)
        try:
            opened.settimeout(CONNECT_SECONDS)
            opened.connect(self.path)
        except OSError:
            opened.close()
            raise
        return opened


def parse_address(text: str) -> Address:
    """Of clamd://host:port, or clamd:///path/of/socket. Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme != "clamd" or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(text)
    if not parts.netloc and len(parts.path) > 1:
        return Address(path=parts.path)
    if not parts.hostname or parts.path not in {"", "/"} or parts.port == 0:
        raise ValueError(text)
    return Address(parts.hostname, parts.port or PORT)


@dataclass(frozen=True)
class Clamd:
    """Each command has a connection of its own. Raises ScannerUnavailable."""

    address: Address

    def ping(self, *, seconds: float = CONNECT_SECONDS) -> None:
        answer = self._ask("PING", seconds=seconds)
        if answer != "PONG":
            raise self._no_scanner(answer)

    def version(self, *, seconds: float = CONNECT_SECONDS) -> str:
        """As `ClamAV 1.4.3/27800/Thu Nov 26 09:30:12 2026`, with its signatures' version."""
        answer = self._ask("VERSION", seconds=seconds)
        if not answer.startswith("ClamAV"):
            raise self._no_scanner(answer)
        return answer

    def scan(self, blocks: Iterator[bytes], *, patience: Patience) -> str:
        """The name of what was found; empty for nothing.

        While it scans, clamd says nothing. One that is silent for too long and answers others has
        its trouble with this stream alone.

        Raises StreamTooLongError, ScannerFailed, LeftToWorker, and what `blocks` raises.
        """
        try:
            with closing(self._connected()) as connection:
                answer = _Exchange(connection, self.address, patience).stream(blocks)
        except _SilenceError as silence:
            self.ping()
            if patience.most_bytes is not None:
                raise LeftToWorker from silence
            raise ScannerFailed(f"clamd at {self.address} answers, but {silence}") from silence
        return _verdict(answer)

    def _ask(self, command: str, *, seconds: float) -> str:
        with closing(self._connected()) as connection:
            exchange = _Exchange(connection, self.address, Patience(seconds, seconds))
            try:
                exchange.send(f"z{command}\0".encode())
                return exchange.answer()
            except _SilenceError as silence:
                raise ScannerUnavailable(
                    "The virus scanner does not answer in time.",
                    detail=f"clamd at {self.address} {silence}",
                ) from silence

    def _connected(self) -> socket.socket:
        try:
            return self.address.connect()
        except OSError as exc:
            raise ScannerUnavailable(
                "The virus scanner does not answer.",
                detail=f"clamd at {self.address} does not answer: {exc.strerror or exc}",
            ) from exc

    def _no_scanner(self, answer: str) -> ScannerUnavailable:
        return ScannerUnavailable(
            "What answers in the virus scanner's place is none.",
            detail=f"What answers at {self.address} is no clamd: {answer[:80]!r}",
        )


def _verdict(answer: str) -> str:
    if answer == _CLEAN:
        return ""
    if match := _FOUND.fullmatch(answer):
        return match[1]
    if answer == _TOO_LONG:
        raise StreamTooLongError
    raise ScannerFailed(f"clamd answered {answer[:200]!r}")


class _Exchange:
    """A command and its answer. Waits in beats, so that a wait of minutes can be given up."""

    def __init__(self, connection: socket.socket, address: Address, patience: Patience) -> None:
        self._connection = connection
        self._address = address
        self._patience = patience
        self._ends_at = time.monotonic() + patience.seconds
        self._silent_since = self._beat_at = time.monotonic()
        self._sent_bytes = 0
        connection.settimeout(min(BEAT_SECONDS, patience.silent_seconds / 2, patience.seconds / 2))

    def stream(self, blocks: Iterator[bytes]) -> str:
        self.send(b"zINSTREAM\0")
        for block in blocks:
            if self._has_answer() or not self._take(_LENGTH.pack(len(block)) + block):
                return self._early_answer()
        if not self._take(_LENGTH.pack(0)):
            return self._early_answer()
        return self.answer()

    def send(self, data: bytes) -> None:
        if not self._take(data):
            raise self._broke_off()

    def answer(self) -> str:
        """Until its NUL. Raises ScannerUnavailable where there is none, _SilenceError."""
        received = b""
        while b"\0" not in received:
            block = self._receive()
            received += block
            if not block or len(received) > _LONGEST_ANSWER:
                raise self._broke_off(received)
        return received.partition(b"\0")[0].decode(errors="replace").strip()

    def _early_answer(self) -> str:
        """What clamd said before it had all. That it is clean would be no answer to the stream."""
        answer = self.answer()
        if answer == _CLEAN:
            raise ScannerFailed("clamd answered before it had the whole stream")
        return answer

    def _take(self, data: bytes) -> bool:
        """Send; False where the other side takes no more, which it may have told the reason of."""
        left = memoryview(data)
        while left:
            try:
                count = self._connection.send(left)
            except TimeoutError:
                self._wait_on()
                continue
            except OSError:
                return False
            self._sent_bytes += count
            left = left[count:]
            self._heard()
        return True

    def _receive(self) -> bytes:
        while True:
            try:
                return self._connection.recv(_LONGEST_ANSWER)
            except TimeoutError:
                self._wait_on()
            except OSError as exc:
                raise self._broke_off() from exc

    def _has_answer(self) -> bool:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(0))

    def _heard(self) -> None:
        now = self._silent_since = time.monotonic()
        if now - self._beat_at >= BEAT_SECONDS:
            self._wait_on()

    def _wait_on(self) -> None:
        """Raises LeftToWorker or _SilenceError when the time is up."""
        now = self._beat_at = time.monotonic()
        silent = now - self._silent_since
        is_silent = silent >= self._patience.silent_seconds
        if now >= self._ends_at and self._patience.most_bytes is not None and not is_silent:
            raise LeftToWorker
        if now >= self._ends_at or is_silent:
            raise _SilenceError(f"has been silent for {silent:.0f} s")
        self._patience.on_beat()

    def _broke_off(self, received: bytes = b"") -> ScannerUnavailable:
        said = f", having said {received[:80]!r}" if received else ""
        return ScannerUnavailable(
            "The virus scanner broke off.",
            detail=f"clamd at {self._address} closed the connection after {self._sent_bytes} "
            f"bytes{said}; is its StreamMaxLength as large as PORTAL_SCANNER_MAX_SIZE?",
        )
