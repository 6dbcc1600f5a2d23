"""What boot.gunicorn_worker takes from inside gunicorn: an upgrade that changes it must not pass.

At an upgrade, read what has changed in the parts of gunicorn that are named here, mend the worker,
and then set the version.
"""

import inspect
import socket
from itertools import pairwise

import gunicorn
import pytest
from gunicorn import glogging, util
from gunicorn.config import Config
from gunicorn.http import body, errors, parser, unreader, wsgi
from gunicorn.workers import base, gthread

from boot import gunicorn_worker
from boot.tests.portal import ROOT
from boot.tests.test_layers import imported

READ_AT_VERSION = "27.0.1"
_RESPONSE = gunicorn_worker.Response.__base__

# Replaced or extended by the worker, and called by gunicorn with these arguments.
REPLACED = [
    (gthread.TConn.__init__, "(self, cfg, sock, client, server)"),
    (gthread.TConn.init, "(self)"),
    (unreader.SocketUnreader.chunk, "(self, size_hint=None)"),
    (body.Body.__init__, "(self, reader)"),
    (body.Body._read_reader, "(self, size)"),
    (_RESPONSE.__init__, "(self, req, sock, cfg)"),
    (_RESPONSE.start_response, "(self, status, headers, exc_info=None)"),
    (_RESPONSE.send_headers, "(self)"),
    (_RESPONSE._emit_body, "(self, data)"),
    (_RESPONSE.sendfile, "(self, respiter)"),
    (_RESPONSE.close, "(self)"),
    (glogging.Logger.setup, "(self, cfg)"),
    (base.Worker.load_wsgi, "(self)"),
    (gthread.ThreadWorker.run, "(self)"),
    (gthread.ThreadWorker.accept, "(self, listener)"),
    (gthread.ThreadWorker.enqueue_req, "(self, conn)"),
    (gthread.ThreadWorker.finish_request, "(self, conn, fs)"),
    (gthread.ThreadWorker.murder_keepalived, "(self, force=False)"),
    (gthread.ThreadWorker._cap_keepalive, "(self, deadline)"),
    (gthread.ThreadWorker.handle, "(self, conn)"),
    (gthread.ThreadWorker.handle_request, "(self, req, conn)"),
    (gthread.ThreadWorker._keepalive_after, "(self, conn, keepalive)"),
]
# Called by the worker.
CALLED = [
    (parser.Parser.finish_body, "(self, deadline=None, max_bytes=None)"),
    (unreader.Unreader.take_buffered, "(self)"),
    (unreader.Unreader.unread, "(self, data)"),
    (wsgi.Response.default_headers, "(self)"),
    (wsgi.Response.force_close, "(self)"),
    (util.write_nonblock, "(sock, data, chunked=False)"),
    (errors.InvalidHeader.__init__, "(self, hdr, req=None)"),
    (errors.LimitRequestHeaders.__init__, "(self, msg)"),
    (errors.NoMoreData.__init__, "(self, buf=None)"),
]


@pytest.fixture
def config():
    settings = Config()
    settings.set("threads", 4)
    return settings


@pytest.fixture
def parse(config):
    """Gives what gunicorn makes of a request, as the worker lets it."""
    ours, theirs = socket.socketpair()

    def parse(text):
        connection = gunicorn_worker.Connection(config, ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        theirs.sendall(text)
        connection.receive()
        connection.init()
        return connection, next(connection.parser)

    with ours, theirs:
        yield parse


def test_the_version_is_the_one_that_was_read():
    assert gunicorn.__version__ == READ_AT_VERSION, __doc__


@pytest.mark.parametrize(
    ("function", "signature"),
    REPLACED + CALLED,
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_functions_take_what_they_took(function, signature):
    assert str(inspect.signature(function)) == signature


def test_nobody_else_imports_gunicorn():
    importers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "boot").glob("*.py")
        if any(name and name.split(".")[0] == "gunicorn" for name in imported(path))
    }
    assert importers == {"boot/gunicorn_worker.py"}


@pytest.mark.parametrize(
    ("headers", "reader", "left"),
    [
        (b"Content-Length: 12\r\n", body.LengthReader, 12),
        (b"Transfer-Encoding: chunked\r\n", body.ChunkedReader, None),
        (b"", body.LengthReader, 0),
    ],
)
def test_bodies_are_what_they_were(parse, headers, reader, left):
    connection, request = parse(b"PUT / HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\nab")
    ours = gunicorn_worker.RequestBody(request.body.reader, request.unreader)
    assert isinstance(request.body.reader, reader)
    assert (ours.announced_bytes_left(), ours.bytes_read_ahead()) == (left, 2)
    assert (ours.is_untouched(), ours.failed) == (True, False)
    assert connection.parser.unreader is request.unreader


def test_a_chunked_body_shows_its_end(parse):
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    _, request = parse(head + b"2\r\nab\r\n0\r\n\r\nGET")
    ours = gunicorn_worker.RequestBody(request.body.reader, request.unreader)
    assert (ours.read(100), ours.read(100), ours.announced_bytes_left()) == (b"ab", b"", 0)
    assert request.unreader.take_buffered() == b"GET"


def test_an_expectation_is_noted_and_not_yet_answered(parse):
    _, request = parse(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
    assert request._expected_100_continue is True
    assert (request.version, ("HOST", "a") in request.headers) == ((1, 1), True)


def test_answers_are_made_by_the_name_that_is_replaced(parse, config):
    connection, request = parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    response, environ = wsgi.create(request, connection.sock, ("a", 1), ("b", 2), config)
    assert type(response) is gunicorn_worker.Response
    assert environ["wsgi.input"] is request.body
    assert environ["wsgi.input_terminated"] is True
    response.start_response("200 OK", [("Content-Length", "3")])
    found = (response.headers_sent, response.chunked, response.response_length)
    assert (found, response._omits_body) == ((False, False, 3), False)


def test_refusals_are_written_by_the_name_that_is_replaced():
    assert util.write_error is gunicorn_worker.write_problem
    assert "util.write_error(" in inspect.getsource(base.Worker.handle_error)


def test_the_loop_calls_what_is_replaced_and_counts_as_it_did():
    source = inspect.getsource(gthread.ThreadWorker.run)
    for name in (
        "murder_keepalived()",
        "murder_keepalived(force=True)",
        "_cap_keepalive(",
        "nr_conns",
    ):
        assert f"self.{name}" in source
    for name in ("alive", "nr_conns", "poller", "worker_connections", "wsgi", "cfg", "log"):
        assert f"self.{name}" in inspect.getsource(gthread) + inspect.getsource(base)


def test_a_request_is_served_in_this_order():
    """A thread prepares the connection, parses the head, serves, and decides on the next one."""
    source = inspect.getsource(gthread.ThreadWorker.handle)
    steps = ["conn.init()", "next(conn.parser)", "self._keepalive_after(conn, self.handle_request("]
    places = [source.index(step) for step in steps]
    assert all(first < second for first, second in pairwise(places))
