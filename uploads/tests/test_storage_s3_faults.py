"""What S3 answers on bad days, through a proxy that answers in its place."""

import http.client
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from common.errors import ServiceUnavailable
from common.ids import uuid7
from uploads.storage import Storage
from uploads.storage.base import Receipt
from uploads.tests.s3_servers import storage_of

pytestmark = pytest.mark.django_db
DATA = bytes(range(30))
SLOW_DOWN = (503, b"<Error><Code>SlowDown</Code></Error>")
BROKEN = (500, b"<Error><Code>InternalError</Code></Error>")
OK_BUT = (200, b"<Error><Code>InternalError</Code><Message>later</Message></Error>")
DENIED = (403, b"<Error><Code>AccessDenied</Code></Error>")
EXPIRED = (400, b"<Error><Code>ExpiredToken</Code></Error>")
RESET = (0, b"")


class Faulty(ThreadingHTTPServer):
    """Passes requests on. `faults` are what the next requests get whose line has `where` in it."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.where = ""
        self.faults: list[tuple[int, bytes]] = []

    def fail(self, where: str, *faults: tuple[int, bytes]) -> None:
        self.where, self.faults = where, list(faults)


class _Handler(BaseHTTPRequestHandler):
    server: Faulty

    def log_message(self, *_: object) -> None:
        pass

    def _pass_on(self) -> None:
        if self.server.faults and self.server.where in f"{self.command} {self.path}":
            status, said = self.server.faults.pop(0)
            if not status:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self._read()
            self._answer(status, {"Content-Type": "application/xml"}, said)
            return
        connection = http.client.HTTPConnection(self.server.target)
        connection.request(self.command, self.path, self._read(), dict(self.headers))
        response = connection.getresponse()
        kept = {"Content-Length", "ETag", "Content-Type", "Content-Range", "Last-Modified"}
        headers = {name: value for name, value in response.getheaders() if name in kept}
        if self.command != "HEAD":
            headers.pop("Content-Length", None)
        self._answer(response.status, headers, response.read())
        connection.close()

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, headers: dict[str, str], said: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_HEAD = do_GET = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815


@pytest.fixture
def proxy(moto) -> Iterator[Faulty]:
    with Faulty(moto.url) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def store(moto, proxy) -> Storage:
    url = f"http://127.0.0.1:{proxy.server_address[1]}"
    return storage_of(replace(moto.config, endpoint_url=url))


def put_part(store: Storage, upload, number: int) -> Receipt:
    at = 10 * (number - 1)
    with store.uploads.write(upload, offset=at, size_bytes=10, number=number) as writer:
        writer.write(memoryview(DATA)[at : at + 10])
        return writer.commit()


def put(store: Storage):
    with store.uploads.put(uuid7().hex, size_bytes=30) as writer:
        writer.write(memoryview(DATA))
        return writer.commit()


@pytest.mark.parametrize("fault", [SLOW_DOWN, BROKEN, RESET])
def test_what_can_be_repeated_is_repeated(store, proxy, fault):
    proxy.fail("PUT", fault)
    stored = put(store)
    proxy.fail("GET", fault)
    with store.objects.open(stored) as opened:
        assert (opened.read(), proxy.faults) == (DATA, [])


@pytest.mark.parametrize("fault", [SLOW_DOWN, BROKEN, RESET])
def test_a_part_that_fails_on_its_way_can_be_sent_again(store, proxy, fault):
    upload = store.uploads.create(uuid7().hex, size_bytes=30)
    receipts = [put_part(store, upload, 1), put_part(store, upload, 2)]
    proxy.fail("partNumber=3", fault)
    with pytest.raises(ServiceUnavailable) as error:
        put_part(store, upload, 3)
    assert (error.value.code, error.value.retry_after in range(2, 7)) == ("storage_busy", True)
    receipts.append(put_part(store, upload, 3))
    stored = store.uploads.finish(upload, receipts, size_bytes=30)
    with store.objects.open(stored) as opened:
        assert opened.read() == DATA


@pytest.mark.parametrize("faults", [[OK_BUT], [OK_BUT, OK_BUT], [RESET, BROKEN]])
def test_a_completion_that_fails_is_tried_until_it_is_done(store, proxy, faults):
    upload = store.uploads.create(uuid7().hex, size_bytes=30)
    receipts = [put_part(store, upload, number) for number in (1, 2, 3)]
    proxy.fail("POST", *faults)
    if len(faults) > 1:  # as often as it is repeated at once
        with pytest.raises(ServiceUnavailable):
            store.uploads.finish(upload, receipts, size_bytes=30)
    stored = store.uploads.finish(upload, receipts, size_bytes=30)
    with store.objects.open(stored) as opened:
        assert (opened.read(), proxy.faults) == (DATA, [])


@pytest.mark.parametrize(
    ("fault", "setting"), [(DENIED, "AWS_ACCESS_KEY_ID"), (EXPIRED, "AWS_SESSION_TOKEN")]
)
def test_what_only_an_administrator_can_mend_names_the_setting(store, proxy, fault, setting):
    proxy.fail("PUT", fault)
    with pytest.raises(ServiceUnavailable, match=setting) as error:
        put(store)
    assert error.value.code == "storage_failed"
