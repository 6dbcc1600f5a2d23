"""The web server's side of common.http.exchange: bodies, and how long clients are waited for."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle
from typing import Protocol

from boot.heads import PROMPT_BODY_BYTES
from boot.places import GiveBack, Places
from boot.streams import Pace, bytes_arrived, wait_readable
from common.http.exchange import BLOCK_BYTES

DRAIN_BYTES = 64 * 2**10  # of a body that was refused unread; more ends the connection
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Body(Protocol):
    """What the server has read and counted of a request's body."""

    failed: bool  # reading it raised, or it ended early: the next request's place is unknown

    def announced_bytes_left(self) -> int | None:
        """None: it tells its length as it comes, and its end is still out."""
        ...

    def is_untouched(self) -> bool:
        """Whether nothing was read of it but what came along with the head."""
        ...

    def take_read_ahead(self, buffer: memoryview) -> int:
        """Move what was read from the socket before into `buffer`; how much."""
        ...

    def bytes_read_ahead(self) -> int: ...

    def count_read(self, count: int) -> None:
        """So much was read from the socket by others."""
        ...

    def read(self, size: int, /) -> bytes: ...


class ServerExchange:
    """One request; `end` is called after its answer."""

    def __init__(
        self,
        sock: socket.socket,
        body: Body,
        *,
        places: Places,
        pace: Pace,
        stall: float,
        deadline: float,
        awaits_continue: bool,
    ) -> None:
        self._sock = sock
        self._body = body
        self._places = places
        self._pace = pace
        self._stall = stall
        self._deadline: float | None = deadline  # monotonic; None: as long as it moves
        self._taken: list[GiveBack] = []
        self._must_ask = awaits_continue and body.announced_bytes_left() != 0
        self._is_stopped = False

    def end(self) -> None:
        while self._taken:
            self._taken.pop()()

    # For the product

    def receive_upload(self, account: str) -> Iterator[memoryview]:
        self._deadline = None
        if not self._is_here():
            self._take_transfer(account)
        return self._blocks()

    def expect_download(self, account: str, *, size_bytes: int) -> None:
        if size_bytes > PROMPT_BODY_BYTES:
            self._take_transfer(account)

    def stop_receiving(self) -> None:
        self._is_stopped = True
        with suppress(OSError):  # the client is gone already
            self._sock.shutdown(socket.SHUT_RD)  # wakes a thread that waits in recv(2)

    # For the server

    def leaves_connection_usable(self) -> bool:
        """Whether the next request's beginning is known, without waiting for the rest of a body."""
        left = self._body.announced_bytes_left()
        if self._body.failed or left is None:
            return False
        if self._must_ask:  # a client that was not asked for its body may send it, or may not
            return left == 0
        return left <= DRAIN_BYTES and self._has_come(left)

    def before_waiting(self) -> None:
        """To be called before the client is waited for. Raises NoPlaceError."""
        if not self._taken:
            self._taken.append(self._places.take_for_other())

    def wait_and_receive(self, size: int) -> bytes:
        """The next bytes of the body. Raises TimeoutError, TooSlowError, NoPlaceError."""
        self.before_waiting()
        self._ask_for_body()
        started = time.monotonic()
        longest = self._stall
        if self._deadline is not None:
            longest = min(longest, self._deadline - started)
        if not wait_readable(self._sock, seconds=longest):
            raise TimeoutError
        data = self._sock.recv(size)
        if self._deadline is None:
            self._pace.note(len(data), waited=time.monotonic() - started)
        return data

    def _take_transfer(self, account: str) -> None:
        if not self._taken:
            self._taken.append(self._places.take_for_transfer(account))

    def _ask_for_body(self) -> None:
        if self._must_ask:
            self._must_ask = False
            self._sock.send(_CONTINUE)

    def _is_here(self) -> bool:
        left = self._body.announced_bytes_left()
        return left is not None and left <= PROMPT_BODY_BYTES and self._has_come(left)

    def _has_come(self, count: int) -> bool:
        missing = count - self._body.bytes_read_ahead()
        return missing <= 0 or missing <= bytes_arrived(self._sock)

    def _blocks(self) -> Iterator[memoryview]:
        left = self._body.announced_bytes_left()
        if left is not None and self._body.is_untouched():
            yield from self._blocks_of_socket(left)
        else:
            while block := self._body.read(BLOCK_BYTES):
                yield memoryview(block)

    def _blocks_of_socket(self, left: int) -> Iterator[memoryview]:
        """Read blocks straight from the socket: here the kernel fills whole blocks.

        `read` would copy every byte twice more, and take a system call and the interpreter lock for
        every piece that arrives.
        """
        size = min(BLOCK_BYTES, left)
        # In turn: what was given last may still be hashed while the next is received.
        buffers = [memoryview(bytearray(size)) for _ in range(2 if left > size else 1)]
        try:
            for buffer in cycle(buffers):
                filled = self._fill(buffer[:left])
                left -= filled
                if not filled:
                    break
                yield buffer[:filled]
        except OSError:
            self._body.failed = True
            raise
        self._body.failed = left > 0

    def _fill(self, buffer: memoryview) -> int:
        filled = self._body.take_read_ahead(buffer)
        while filled < len(buffer) and not self._is_stopped:
            count = self._receive_into(buffer[filled:])
            if count == 0:
                break
            filled += count
        return filled

    def _receive_into(self, buffer: memoryview) -> int:
        self._ask_for_body()
        started = time.monotonic()
        try:  # MSG_WAITALL; ends after `set_limits`' seconds, in an error if not one byte came
            count = self._sock.recv_into(buffer, 0, socket.MSG_WAITALL)
        except BlockingIOError as exc:
            raise TimeoutError from exc
        self._body.count_read(count)  # at once: also a body that breaks off is counted right
        self._pace.note(count, waited=time.monotonic() - started)
        return count
