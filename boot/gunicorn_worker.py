"""gunicorn's threaded worker, with an end to what slow or silent clients can hold.

gunicorn expects a buffering proxy in front. Doorito is to be run without one, so a connection takes
a thread only when a request's head is all there (a small body too), waits for its end in the loop,
and only so many threads may wait for clients that send or read slowly (boot.places).

All that Doorito uses of gunicorn beyond its documented interface is used here, and nowhere else:
boot/tests/test_gunicorn_internals.py names it.
"""

import errno
import json
import socket
import tempfile
import time
from functools import cache
from typing import Any

from django.conf import settings
from gunicorn import glogging, util
from gunicorn.http import wsgi
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.errors import InvalidHeader, LimitRequestHeaders, NoMoreData, ParseException
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers import gthread

from boot.connections import ClientConnection, Lobby
from boot.exchange import ServerExchange
from boot.heads import MAX_BYTES
from boot.logs import LineFormatter
from boot.places import Places, Shares
from boot.streams import Pace, Sender
from common.http.exchange import ENVIRON_KEY, NoPlaceError, UnreadableBodyError

NEXT_REQUEST_SECONDS = 0.01  # that a thread waits for it, on a connection that it has just answered

CONNECTIONS = 8192  # beyond those that threads serve
_DESCRIPTORS_PER_THREAD = 3  # its connection's, the file that it reads or writes, the database's
_DESCRIPTORS_RESERVED = 128  # libraries, logs, listeners, pipes
_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NO_CONNECTION = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED}
_ACCEPT_PAUSE_SECONDS = 0.1
_ACCEPT_WARNING_SECONDS = 60


def most_connections(*, threads: int, descriptors: int) -> int:
    """How many connections a worker may have open at once, so that accept(2) does not fail."""
    left = descriptors - _DESCRIPTORS_RESERVED - _DESCRIPTORS_PER_THREAD * threads
    return threads + max(min(left, CONNECTIONS), 1)


def _pace() -> Pace:
    return Pace(
        bytes_per_second=settings.PORTAL_TRANSFER_MIN_RATE,
        window=settings.PORTAL_TRANSFER_RATE_SECONDS,
    )


# --- Requests -------------------------------------------------------------------------------------


class Connection(ClientConnection, gthread.TConn):
    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        gthread.TConn.__init__(self, cfg, sock, client, server)
        ClientConnection.__init__(self, sock, stall=settings.PORTAL_STALL_TIMEOUT_SECONDS)
        self.data_ready = True  # else gunicorn's thread would wait for it
        self.is_stuck = False  # the client does not take its answer

    def init(self) -> None:
        """Called by the thread that is going to parse the request."""
        is_new = not self.initialized
        super().init()
        if is_new:
            self.parser.unreader = Unreader(self.sock)
        if self.head.is_too_large:
            raise LimitRequestHeaders(f"more than {MAX_BYTES} bytes")
        self.parser.unreader.unread(self.head.take())

    def take_read_ahead(self) -> bytes:
        """The beginning of the next request, as far as it was read along with the last one."""
        return bytes(self.parser.unreader.take_buffered())


class Unreader(SocketUnreader):
    """Reads bodies from the socket. Heads are there before a thread reads them."""

    exchange: ServerExchange | None = None

    def chunk(self, size_hint: int | None = None) -> bytes:
        size = min(max(size_hint or 0, self.mxchunk), self.max_body_chunk)
        try:
            return bytes(self.sock.recv(size, socket.MSG_DONTWAIT))
        except BlockingIOError:
            if self.exchange is None:
                raise NoMoreData from None
        return self.exchange.wait_and_receive(size)


class RequestBody(Body):
    """gunicorn's `wsgi.input`, which is boot.exchange.Body as well."""

    exchange: ServerExchange

    def __init__(self, reader: Any, unreader: Unreader) -> None:
        super().__init__(reader)
        self._unreader = unreader

    def _read_reader(self, size: int) -> bytes:
        try:
            return bytes(super()._read_reader(size))
        except ParseException as exc:
            raise UnreadableBodyError(str(exc)) from exc

    def announced_bytes_left(self) -> int | None:
        if isinstance(self.reader, LengthReader):
            return int(self.reader.length)
        return 0 if self.reader.parser is None else None

    def is_untouched(self) -> bool:
        return not self.buf.tell()

    def bytes_read_ahead(self) -> int:
        return int(self._unreader.buf.getbuffer().nbytes)

    def take_read_ahead(self, buffer: memoryview) -> int:
        """What came along with the head; the rest of it may be the next request."""
        ahead = self._unreader.take_buffered()
        count = min(len(ahead), len(buffer))
        buffer[:count] = ahead[:count]
        self._unreader.unread(ahead[count:])
        self.count_read(count)
        return count

    def count_read(self, count: int) -> None:
        self.reader.length -= count


class MissingHost(InvalidHeader):
    def __str__(self) -> str:
        return "An HTTP/1.1 request needs a Host header (RFC 9112, 3.2)."


def _begin_exchange(request: Any, conn: Connection, places: Places) -> ServerExchange:
    unreader = request.unreader
    request.body = RequestBody(request.body.reader, unreader)
    exchange = ServerExchange(
        conn.sock,
        request.body,
        places=places,
        pace=_pace(),
        stall=settings.PORTAL_STALL_TIMEOUT_SECONDS,
        deadline=conn.body_deadline,
        awaits_continue=request._expected_100_continue,
    )
    request._expected_100_continue = False  # gunicorn would ask for what may not be wanted
    request.body.exchange = unreader.exchange = exchange
    return exchange


def _with_exchange(application: Any) -> Any:
    def serve(environ: dict[str, Any], start_response: Any) -> Any:
        environ[ENVIRON_KEY] = environ["wsgi.input"].exchange
        return application(environ, start_response)

    return serve


# --- Answers --------------------------------------------------------------------------------------


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


class Response(wsgi.Response):
    """gunicorn's, which sends within limits."""

    headers_sent: bool

    def __init__(self, req: Any, sock: socket.socket, cfg: Any) -> None:
        super().__init__(req, sock, cfg)
        # gunicorn makes one for its log, too, of a request that was not served.
        self._exchange: ServerExchange | None = getattr(req.body, "exchange", None)
        self._sender = Sender(
            sock,
            stall=settings.PORTAL_STALL_TIMEOUT_SECONDS,
            pace=_pace(),
            before_waiting=self._exchange.before_waiting if self._exchange else lambda: None,
        )

    def start_response(self, *args: Any, **kwargs: Any) -> Any:
        """Announces the end of the connection where the rest of a refused body is in the way."""
        if self._exchange and not self._exchange.leaves_connection_usable():
            self.force_close()
        return super().start_response(*args, **kwargs)

    def send_headers(self) -> None:
        if not self.headers_sent:
            lines = [*self.default_headers(), *(f"{k}: {v}\r\n" for k, v in self.headers), "\r\n"]
            self._sender.send("".join(lines).encode("latin-1"))
            self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        self._sender.send(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def sendfile(self, respiter: Any) -> bool:
        if self._omits_body:
            return bool(super().sendfile(respiter))
        file = respiter.filelike
        if self.response_length is None or not util.has_fileno(file):
            return False
        self.send_headers()
        self._sender.send_file(file, offset=file.tell(), count=self.response_length)
        return True

    def close(self) -> None:
        self.send_headers()
        if self.chunked:
            self._sender.send(b"0\r\n\r\n")


# gunicorn makes its responses, and writes its own answers, by these names.
wsgi.Response = Response
util.write_error = write_problem


class Logger(glogging.Logger):
    """gunicorn's, whose messages may name the address of a request."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(LineFormatter(form=settings.LOG_FORMAT))


# --- The worker: one loop, many threads -----------------------------------------------------------


@cache
def _shared_file() -> Any:
    """One for all workers: their parent, which makes them, opens it."""
    return tempfile.TemporaryFile(buffering=0)


class ThreadWorker(gthread.ThreadWorker):
    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        shares = Shares(_shared_file().fileno(), per_account=settings.PORTAL_TRANSFERS_PER_ACCOUNT)
        self._places = Places(threads=self.cfg.threads, shares=shares)
        self._in_threads = 0  # connections that a thread serves, or will
        self._next_accept_warning = 0.0  # monotonic

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi = _with_exchange(self.wsgi)

    def run(self) -> None:
        self._lobby: Lobby[Connection] = Lobby(
            self.poller,
            serve=self.enqueue_req,
            closed=self._forget_connection,
            keep_alive=self.cfg.keepalive,
            stall=settings.PORTAL_STALL_TIMEOUT_SECONDS,
        )
        super().run()

    # In the loop

    def accept(self, listener: socket.socket) -> None:
        """Where the system has no descriptor left, wait until a connection has ended."""
        try:
            sock, address = listener.accept()
        except OSError as exc:
            if exc.errno in _NO_DESCRIPTORS:
                self._pause_accepting(exc)
            elif exc.errno not in _NO_CONNECTION:
                raise
            return
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._lobby.make_room()
        self._lobby.collect(Connection(self.cfg, sock, address, listener.getsockname()))

    def enqueue_req(self, conn: Connection) -> None:
        self._in_threads += 1
        super().enqueue_req(conn)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        self._in_threads -= 1
        keeps_alive = False if fs.cancelled() or fs.exception() else fs.result()
        if conn.is_stuck:
            self._forget_connection()
            conn.reset()
        elif keeps_alive:
            self._lobby.collect(conn, conn.take_read_ahead())
        else:
            self._lobby.linger(conn)

    def murder_keepalived(self, force: bool = False) -> None:
        """Called every second, and with `force` in the end."""
        if force:
            self._lobby.close_all()
        else:
            self._lobby.end_overdue()

    def _cap_keepalive(self, deadline: float) -> None:
        """Called when the worker stops."""
        self._lobby.end_by(deadline)

    def _pause_accepting(self, reason: OSError) -> None:
        if time.monotonic() >= self._next_accept_warning:
            self._next_accept_warning = time.monotonic() + _ACCEPT_WARNING_SECONDS
            self.log.warning("New connections have to wait: %s", reason)
        time.sleep(_ACCEPT_PAUSE_SECONDS)  # the listener stays readable: do not spin

    def _forget_connection(self) -> None:
        self.nr_conns -= 1

    # In a thread

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
            and self._in_threads <= self.cfg.threads
            and conn.next_request_is_here(conn.take_read_ahead(), within=NEXT_REQUEST_SECONDS)
        ):
            outcome = super().handle(conn)
        return outcome

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Raises StopIteration, by which gunicorn ends a connection without a traceback."""
        exchange = _begin_exchange(req, conn, self._places)
        try:
            if req.version >= (1, 1) and all(name != "HOST" for name, _ in req.headers):
                raise MissingHost("HOST", req=req)
            return bool(super().handle_request(req, conn))
        except (TimeoutError, NoPlaceError) as exc:  # nobody takes the answer
            conn.is_stuck = True
            raise StopIteration from exc
        finally:
            exchange.end()
            req.unreader.exchange = None

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """What is left of the body has come already: see `leaves_connection_usable`."""
        return keepalive and bool(conn.parser.finish_body())
