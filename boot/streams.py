"""Moving bytes from and to clients that may be slow.

Sockets stay in blocking mode; whoever has to wait does so in poll(2), which takes no descriptor of
its own, or under the time limits that `set_limits` gave to the kernel.
"""

import fcntl
import os
import select
import socket
import struct
import termios
import time
from collections.abc import Callable
from typing import Any, Protocol

from common.http.exchange import TooSlowError

_PROMPT_SECONDS = 0.5  # a client that takes an answer within it is not counted as slow


class Pace:
    """Whether a client moves enough while it is waited for.

    Judged over `window` seconds of waiting, so that one that pauses for less is not cut. The time
    that the portal itself takes does not count.
    """

    def __init__(self, *, bytes_per_second: int, window: float) -> None:
        self._rate = bytes_per_second
        self._window = window
        self._count = 0
        self._waited = 0.0

    def note(self, count: int, *, waited: float) -> None:
        """Raises TooSlowError."""
        self._count += count
        self._waited += waited
        if self._waited < self._window:
            return
        if self._count < self._rate * self._waited:
            raise TooSlowError("The client is slower than it may be.")
        self._count = 0
        self._waited = 0.0


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


class Sender:
    """Sends an answer, and gives up on a client that takes nothing, or too little, of it.

    `before_waiting` is called before the client is waited for; it may refuse by raising.
    """

    def __init__(
        self, sock: socket.socket, *, stall: float, pace: Pace, before_waiting: Callable[[], Any]
    ) -> None:
        self._sock = sock
        self._stall = stall
        self._pace = pace
        self._before_waiting = before_waiting

    def send(self, data: bytes) -> None:
        """Raises TimeoutError, TooSlowError."""
        left = memoryview(data)
        while left:
            try:
                count = self._sock.send(left, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait_for_room()
            else:
                left = left[count:]

    def send_file(self, file: _HasFileno, *, offset: int, count: int) -> None:
        """By sendfile(2). Raises TimeoutError, TooSlowError, EOFError for a shorter file."""
        end = offset + count
        self._sock.setblocking(False)  # sendfile(2) has no flag for it
        try:
            while offset < end:
                try:
                    sent = os.sendfile(self._sock.fileno(), file.fileno(), offset, end - offset)
                except BlockingIOError:
                    self._wait_for_room()
                    continue
                if sent == 0:
                    raise EOFError("The file is shorter than the answer that was announced.")
                offset += sent
        finally:
            self._sock.setblocking(True)

    def _wait_for_room(self) -> None:
        """Until more can be sent.

        That the client takes something does not show as room: the kernel tells of room once a
        third of its buffer is free, which grows to 4 MiB, and a slow reader may need longer than
        the time limit for that.
        """
        room = select.poll()
        room.register(self._sock, select.POLLOUT)
        left = _bytes_under_way(self._sock)
        wait = _PROMPT_SECONDS
        while True:
            started = time.monotonic()
            is_ready = bool(room.poll(wait * 1000))
            before, left = left, _bytes_under_way(self._sock)
            taken = max(before - left, 0)
            self._pace.note(taken, waited=time.monotonic() - started)
            if is_ready:
                return
            if not taken and wait >= self._stall:
                raise TimeoutError("The client takes nothing of the answer.")
            self._before_waiting()
            wait = self._stall


def _bytes_under_way(sock: socket.socket) -> int:
    """What the kernel holds to be sent, or acknowledged (tcp(7), SIOCOUTQ)."""
    return _ioctl_int(sock, termios.TIOCOUTQ)


def bytes_arrived(sock: socket.socket) -> int:
    """What the kernel holds to be read (tcp(7), SIOCINQ)."""
    return _ioctl_int(sock, termios.FIONREAD)


def _ioctl_int(sock: socket.socket, request: int) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(sock, request, bytes(4)))
    return int(count)


def set_limits(sock: socket.socket, *, seconds: int) -> None:
    """The longest that one blocking recv(2) or send(2) waits (socket(7), SO_RCVTIMEO)."""
    duration = struct.pack("ll", seconds, 0)  # struct timeval
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, duration)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, duration)


def wait_readable(sock: socket.socket, *, seconds: float) -> bool:
    arrived = select.poll()
    arrived.register(sock, select.POLLIN)
    return bool(arrived.poll(max(seconds, 0) * 1000))
