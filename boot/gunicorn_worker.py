"""gunicorn's threaded worker, with an end to what a slow or silent client can hold.

gunicorn expects a buffering proxy in front. Doorito is to be run without one, so a request's head
must come within a deadline, a body that is no upload within another, and a connection's last words
are waited for in its own thread, not in the loop that serves all others.
"""

import errno
import fcntl
import json
import os
import select
import socket
import struct
import termios
import time
from typing import Any

from django.conf import settings
from gunicorn import glogging, util
from gunicorn.http import wsgi
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import NoMoreData
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers import gthread

from common.masking import MaskingFormatter

HEAD_SECONDS = 10.0  # for a request's line and headers together
DRAIN_SECONDS = 1.0  # for the rest of a body that was refused
DRAIN_BYTES = 64 * 2**10  # ... and of what size: more ends the connection
LINGER_SECONDS = 2.0  # for the client to take the last answer
LINGER_BYTES = 64 * 2**20  # that it may send meanwhile: some read no answer before all is sent
FIRST_BYTE_SECONDS = 0.05  # that a thread waits for; then the loop waits, up to `keepalive`
NEXT_REQUEST_SECONDS = 0.01  # the same, on a connection that has just been answered

CONNECTIONS = 8192  # beyond those that threads serve
_DESCRIPTORS_PER_THREAD = 3  # its connection's, the file that it reads or writes, the database's
_DESCRIPTORS_RESERVED = 128  # libraries, logs, listeners, pipes
_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_ACCEPT_PAUSE_SECONDS = 0.1
_ACCEPT_WARNING_SECONDS = 60


def most_connections(*, threads: int, descriptors: int) -> int:
    """How many connections a worker may have open at once, so that accept(2) does not fail."""
    left = descriptors - _DESCRIPTORS_RESERVED - _DESCRIPTORS_PER_THREAD * threads
    return threads + max(min(left, CONNECTIONS), 1)


class DeadlineUnreader(SocketUnreader):
    """Reads from a socket, with a deadline for all reads of a head, and then of a body, together.

    A limit for each read would not do: a body that drips would hold its thread without end. The
    forms and documents that have to be read before anybody is known are small. Uploads are not,
    and lift the deadline; the limit for each read is theirs (see StalledClientMiddleware).
    """

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._deadline: float | None = None
        self._reads_head = False

    def expect_head(self) -> None:
        self._reads_head = True
        self._deadline = time.monotonic() + HEAD_SECONDS

    def expect_body(self, *, within: float) -> None:
        self._reads_head = False
        self._deadline = time.monotonic() + within

    def lift_deadline(self) -> None:
        self._deadline = None

    def chunk(self, size_hint: int | None = None) -> bytes:
        if self._deadline is None:
            return super().chunk(size_hint)
        limit = self.sock.gettimeout()
        left = max(self._deadline - time.monotonic(), 0.001)
        self.sock.settimeout(left if limit is None else min(limit, left))
        try:
            return super().chunk(size_hint)
        except TimeoutError as exc:
            if self._reads_head:
                raise NoMoreData(self.buf.getvalue()) from exc
            raise
        finally:
            self.sock.settimeout(limit)


class Connection(gthread.TConn):
    """A connection whose requests' heads have a deadline."""

    def init(self) -> None:
        is_new = not self.initialized
        super().init()
        if self.is_http2:
            return
        if is_new:
            self.parser.unreader = DeadlineUnreader(self.sock)
        self.parser.unreader.expect_head()

    def wait_for_data(self, timeout: float) -> bool:
        """Shortly: threads are few, and a connection that is silent costs the loop next to nothing.

        By poll(2), which takes no descriptor of its own.
        """
        arrived = select.poll()
        arrived.register(self.sock, select.POLLIN)
        self.data_ready = bool(arrived.poll(min(timeout, FIRST_BYTE_SECONDS) * 1000))
        return self.data_ready

    def has_next_request(self, *, within: float) -> bool:
        """Its beginning may have come along with the one before: then the socket does not show."""
        return bool(self.parser.unreader.buf.getvalue()) or self.wait_for_data(within)

    def close(self, graceful: bool = False) -> None:  # noqa: ARG002
        """Called in the loop, which must not wait: `linger` was called before."""
        util.close(self.sock)

    def linger(self) -> None:
        """End the sending side and let the client take what was sent (RFC 9112, 9.6)."""
        util.close_graceful(self.sock, timeout=LINGER_SECONDS, max_drain=LINGER_BYTES)


gthread.TConn = Connection  # the worker makes its connections by this name


def write_problem(sock: Any, status: int, reason: str, message: str) -> None:
    """gunicorn's own answer, to what is no HTTP request, in the form of the API's (RFC 9457)."""
    problem = {
        "type": "about:blank",
        "title": reason,
        "status": status,
        "code": "internal_error" if status == 500 else "malformed_request",
        "detail": message or "Something went wrong here; it has been logged.",
    }
    body = json.dumps(problem)  # ASCII
    head = (
        f"HTTP/1.1 {status} {reason}",
        "Connection: close",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
    )
    util.write_nonblock(sock, "\r\n".join((*head, "", body)).encode("latin1"))


util.write_error = write_problem  # the worker calls it by this name


def send_all(sock: socket.socket, data: bytes, chunked: bool = False) -> None:
    """As gunicorn's write, whose sendall(2) has one time limit for all of `data`."""
    left = memoryview(b"%X\r\n%b\r\n" % (len(data), data) if chunked else data)
    while left:
        _wait_for_room(sock)
        left = left[sock.send(left) :]


util.write = send_all  # responses call it by this name


class Response(wsgi.Response):
    def start_response(self, *args: Any, **kwargs: Any) -> Any:
        """Announces the end of the connection where much of a refused body is still to come."""
        if _unread_bytes(self.req) > DRAIN_BYTES:
            self.force_close()
        return super().start_response(*args, **kwargs)

    def sendfile(self, respiter: Any) -> bool:
        """As gunicorn's, with the same time limit as `send_all`."""
        file = respiter.filelike
        if self._omits_body or self.response_length is None or not util.has_fileno(file):
            return bool(super().sendfile(respiter))
        self.send_headers()
        offset = file.tell()
        end = offset + self.response_length
        while offset < end:
            _wait_for_room(self.sock)
            try:
                count = os.sendfile(self.sock.fileno(), file.fileno(), offset, end - offset)
            except BlockingIOError:
                continue
            if count == 0:
                break
            offset += count
        return True


wsgi.Response = Response  # requests are given theirs by this name


def _unread_bytes(request: Any) -> int:
    reader = getattr(request.body, "reader", None)
    return reader.length if isinstance(reader, LengthReader) else 0


def _wait_for_room(sock: socket.socket) -> None:
    """Until more can be sent. Raises TimeoutError if the client takes nothing for its time limit.

    That it takes something does not show as room: the kernel tells of room once a third of its
    buffer is free, which grows to 4 MiB, and a slow reader needs longer than the limit for that.
    """
    limit = sock.gettimeout()
    room = select.poll()
    room.register(sock, select.POLLOUT)
    left = _bytes_under_way(sock)
    while not room.poll(None if limit is None else limit * 1000):
        before, left = left, _bytes_under_way(sock)
        if left >= before:
            raise TimeoutError("The client takes nothing of the answer.")


def _bytes_under_way(sock: socket.socket) -> int:
    """What the kernel holds to be sent, or acknowledged (tcp(7), SIOCOUTQ)."""
    (count,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
    return int(count)


class Logger(glogging.Logger):
    """gunicorn's, whose messages may name the address of a request."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(MaskingFormatter(self.error_fmt, self.datefmt))


class ThreadWorker(gthread.ThreadWorker):
    _next_accept_warning = 0.0  # monotonic

    def accept(self, listener: socket.socket) -> None:
        """Where the system has no descriptor left, wait until a connection has ended."""
        try:
            super().accept(listener)
        except OSError as exc:
            if exc.errno not in _NO_DESCRIPTORS:
                raise
            if time.monotonic() >= self._next_accept_warning:
                self._next_accept_warning = time.monotonic() + _ACCEPT_WARNING_SECONDS
                self.log.warning("New connections have to wait: %s", exc)
            time.sleep(_ACCEPT_PAUSE_SECONDS)  # the listener stays readable: do not spin

    def handle(self, conn: Connection) -> Any:
        """Serve a connection as long as its requests follow each other at once.

        Handing each over to the loop, and from there to another thread, would cost a part of an
        upload as much as a database statement does. With more connections than threads they take
        turns.
        """
        outcome = super().handle(conn)
        while (
            outcome is True
            and self.alive
            and self.nr_conns <= self.cfg.threads
            and conn.has_next_request(within=NEXT_REQUEST_SECONDS)
        ):
            outcome = super().handle(conn)
        if outcome is False:
            conn.linger()
        return outcome

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Raises StopIteration, by which gunicorn ends a connection without a traceback."""
        try:
            return bool(super().handle_request(req, conn))
        except TimeoutError as exc:  # nobody read the answer (see StalledClientMiddleware)
            raise StopIteration from exc

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        if not keepalive:
            return False
        conn.parser.unreader.expect_body(within=DRAIN_SECONDS)  # gunicorn's is for 1 KiB each
        deadline = time.monotonic() + DRAIN_SECONDS
        return bool(conn.parser.finish_body(deadline=deadline, max_bytes=DRAIN_BYTES))


def head_was_read(_worker: ThreadWorker, request: Any) -> None:
    """gunicorn's hook `pre_request`."""
    if isinstance(request.unreader, DeadlineUnreader):
        request.unreader.expect_body(within=settings.PORTAL_STALL_TIMEOUT_SECONDS)
