"""Connections that no thread serves: those that wait for a request, and those that are ending.

Thousands of them cost the web server's loop next to nothing, as long as it never waits for one.
"""

import socket
import struct
import time
from collections.abc import Callable
from enum import Enum, auto
from selectors import EVENT_READ, BaseSelector
from typing import Any

from boot.heads import Head
from boot.streams import bytes_arrived, set_limits, wait_readable
from boot.waiting import Waiting

HEAD_SECONDS = 10.0  # for a request's line and headers together
LINGER_SILENCE_SECONDS = 2.0  # after the last answer, while the client goes on sending
LINGER_SECONDS = 60.0  # ... altogether: some read no answer before they have sent everything
_READ_BYTES = 8 * 2**10  # of a head at once: what comes with it of a body is copied twice
_DISCARD_BYTES = 2**20
_DISCARD = socket.MSG_DONTWAIT | socket.MSG_TRUNC  # tcp(7): Linux does not even copy the bytes


class Arrival(Enum):
    """What has come of a connection's next request."""

    NOTHING = auto()
    PART_OF_HEAD = auto()
    HEAD = auto()  # a small body is still missing
    READY = auto()  # a thread can parse it without waiting
    CLOSED = auto()


class ClientConnection:
    """A connection whose next request is collected, and whose end is awaited, without blocking."""

    def __init__(self, sock: socket.socket, *, stall: int) -> None:
        self.client_socket = sock
        self.waits_in: Waiting[Any] | None = None
        self.head = Head()
        self.body_deadline = 0.0  # monotonic; for a body that is no upload
        self._stall = stall  # seconds
        self._wanted_bytes = 1  # before the poller tells of any
        self._linger_until = 0.0  # monotonic
        set_limits(sock, seconds=stall)

    def receive(self, begun: bytes = b"") -> Arrival:
        """Take what has come of the next request; it may have `begun` along with the last one."""
        was_whole = self.head.is_whole
        self.head.add(begun)
        if not self.head.is_whole:
            try:
                data = self.client_socket.recv(_READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return self._arrival()
            except OSError:
                return Arrival.CLOSED
            if not data:
                return Arrival.CLOSED
            self.head.add(data)
        if self.head.is_whole and not was_whole:
            self.body_deadline = time.monotonic() + self._stall
        return self._arrival()

    def next_request_is_here(self, begun: bytes, *, within: float) -> bool:
        has_begun = begun or self.head.is_begun
        if not has_begun and not wait_readable(self.client_socket, seconds=within):
            return False
        return self.receive(begun) is Arrival.READY

    def stop_collecting(self) -> None:
        """A thread goes on with what is there."""
        self._want(1)

    def _arrival(self) -> Arrival:
        if not self.head.is_begun:
            return Arrival.NOTHING
        if not self.head.is_whole:
            return Arrival.PART_OF_HEAD
        missing = self.head.missing_body_bytes()
        if missing and bytes_arrived(self.client_socket) < missing:
            self._want(missing)
            return Arrival.HEAD
        self._want(1)
        return Arrival.READY

    def _want(self, count: int) -> None:
        """Let the poller tell of the connection when so much is there (socket(7), SO_RCVLOWAT)."""
        if count != self._wanted_bytes:
            self._wanted_bytes = count
            self.client_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def end_sending(self) -> bool:
        """Tell the client that nothing more comes (RFC 9112, 9.6); whether it is still there."""
        self._linger_until = time.monotonic() + LINGER_SECONDS
        try:
            self.client_socket.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def discard(self, buffer: bytearray) -> bool:
        """Read on without keeping it; whether more may come."""
        try:
            count = self.client_socket.recv_into(buffer, 0, _DISCARD)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return count > 0 and time.monotonic() < self._linger_until

    def close_socket(self) -> None:
        self.client_socket.close()

    def reset(self) -> None:
        """End at once: what the client did not take would stay in the kernel for minutes."""
        no_time = struct.pack("ii", 1, 0)  # socket(7), struct linger: on, for 0 seconds
        self.client_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
        self.client_socket.close()


class Lobby[C: ClientConnection]:
    """Where connections wait, in the loop, for their next request or their end.

    `serve` takes one whose request is ready. `closed` is told that one is gone.
    """

    def __init__(
        self,
        poller: BaseSelector,
        *,
        serve: Callable[[C], Any],
        closed: Callable[[], Any],
        keep_alive: float,
        stall: float,
    ) -> None:
        self._poller = poller
        self._hand_over = serve
        self._closed = closed
        self._discarded = bytearray(_DISCARD_BYTES)
        self._idle: Waiting[C] = Waiting(keep_alive)
        self._heads: Waiting[C] = Waiting(HEAD_SECONDS)
        self._bodies: Waiting[C] = Waiting(stall)
        self._lingering: Waiting[C] = Waiting(LINGER_SILENCE_SECONDS)
        self._waits_for = {
            Arrival.NOTHING: self._idle,
            Arrival.PART_OF_HEAD: self._heads,
            Arrival.HEAD: self._bodies,
        }

    def collect(self, conn: C, begun: bytes = b"") -> None:
        """Wait for the rest of the next request, and have it served when it is there."""
        arrival = conn.receive(begun)
        if arrival is Arrival.CLOSED:
            self.close(conn)
        elif arrival is Arrival.READY:
            self._serve(conn)
        elif conn.waits_in is not self._waits_for[arrival]:
            self._wait(conn, self._waits_for[arrival])

    def linger(self, conn: C) -> None:
        """Let the client take its last answer: to close would discard it while it still sends."""
        if conn.end_sending():
            self._wait(conn, self._lingering)
            self._discard(conn)
        else:
            self.close(conn)

    def close(self, conn: C) -> None:
        self._leave(conn)
        self._closed()
        conn.close_socket()

    def make_room(self) -> None:
        """End the connection that has been without a request for longest."""
        for waiting in (self._idle, self._lingering, self._heads):
            if conn := waiting.longest():
                self.close(conn)
                return

    def end_overdue(self) -> None:
        for waiting in (self._idle, self._heads, self._lingering):
            for conn in waiting.overdue():
                self.close(conn)
        for conn in self._bodies.overdue():
            self._serve(conn)  # it may be refused unread; whoever reads it finds its time over

    def end_by(self, deadline: float) -> None:
        """Let nobody wait longer than until `deadline` (monotonic)."""
        for waiting in (self._idle, self._heads, self._bodies, self._lingering):
            waiting.end_by(deadline)

    def close_all(self) -> None:
        for waiting in (self._idle, self._heads, self._bodies, self._lingering):
            for conn in waiting.everybody():
                self.close(conn)

    def _on_readable(self, conn: C) -> None:
        if conn.waits_in is self._lingering:
            self._discard(conn)
        elif conn.waits_in is self._bodies:  # it is there, or the client has ended
            self._serve(conn)
        else:
            self.collect(conn)

    def _serve(self, conn: C) -> None:
        self._leave(conn)
        conn.stop_collecting()
        self._hand_over(conn)

    def _discard(self, conn: C) -> None:
        if conn.discard(self._discarded):
            self._lingering.add(conn)
        else:
            self.close(conn)

    def _wait(self, conn: C, waiting: Waiting[C]) -> None:
        if conn.waits_in is None:
            self._poller.register(
                conn.client_socket, EVENT_READ, lambda _sock: self._on_readable(conn)
            )
        else:
            conn.waits_in.remove(conn)
        waiting.add(conn)
        conn.waits_in = waiting

    def _leave(self, conn: C) -> None:
        if conn.waits_in is not None:
            conn.waits_in.remove(conn)
            conn.waits_in = None
            self._poller.unregister(conn.client_socket)
