"""Clients that are slow or silent hold little, and for a bounded time."""

import json
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import psutil
import pytest

from boot.tests.portal import Portal

pytestmark = pytest.mark.process

THREADS = 24  # of the one web process; more than a process's database connections
STALL_SECONDS = 5
READ_BYTES = 8 * 2**10
READ_RATE = 40 * 2**10  # bytes a second: the kernel, and a block of 256 KiB, take longer to move on


@pytest.fixture(scope="module")
def small():
    environment = {
        "WEB_WORKERS": "1",
        "WEB_THREADS": str(THREADS),
        "PORTAL_STALL_TIMEOUT_SECONDS": str(STALL_SECONDS),
    }
    with Portal(environment=environment) as portal:
        portal.start()
        yield portal


@pytest.fixture(scope="module")
def silent(small):
    """Connections, opened before the first test, that never say anything."""
    opened = [
        socket.create_connection(("127.0.0.1", small.port), timeout=30) for _ in range(3 * THREADS)
    ]
    yield opened
    for connection in opened:
        connection.close()


@pytest.fixture
def connect(small):
    opened = []

    def connect(text: str) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", httpx.URL(small.url).port))
        connection.sendall(text.encode())
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def answers(portal, *, seconds: float) -> bool:
    try:
        return httpx.get(f"{portal.url}/healthz/", timeout=seconds).status_code == 200
    except httpx.TimeoutException:
        return False


@contextmanager
def dripping(connections):
    """A byte on each, every half a second, as long as they take it."""
    stopped = threading.Event()

    def drip() -> None:
        open_ones = set(connections)
        while not stopped.wait(0.5):
            for connection in list(open_ones):
                try:
                    connection.sendall(b"a")
                except OSError:
                    open_ones.remove(connection)

    thread = threading.Thread(target=drip)
    thread.start()
    yield
    stopped.set()
    thread.join()


def token(portal) -> str:
    made = portal.run("token", "create", "--email", portal.admin_email, "--name", "slow")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def test_connections_that_say_nothing_hold_no_thread(small, silent):
    assert answers(small, seconds=3)


def test_want_of_descriptors_ends_nothing(small, connect):
    (worker,) = small.processes["web"].children()
    before = worker.rlimit(psutil.RLIMIT_NOFILE)
    under_way = connect("GET /healthz/ HTTP/1.1\r\nHost: localhost\r\n")
    worker.rlimit(psutil.RLIMIT_NOFILE, (worker.num_fds() + 4, before[1]))
    try:
        waiting = [connect("") for _ in range(8)]
        time.sleep(1)
        under_way.sendall(b"\r\n")
        assert under_way.recv(1000).startswith(b"HTTP/1.1 200 ")
        waiting[-1].sendall(b"GET /healthz/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for connection in [under_way, *waiting[:-1]]:
            connection.close()
        assert waiting[-1].recv(1000).startswith(b"HTTP/1.1 200 ")
    finally:
        worker.rlimit(psutil.RLIMIT_NOFILE, before)
    assert small.processes["web"].children() == [worker]
    assert small.logs().count("New connections have to wait") == 1


def test_heads_that_never_end_are_given_up(small, connect):
    half = "GET /healthz/ HTTP/1.1\r\nHost: localhost\r\nX-A: "
    silent = [connect(half) for _ in range(THREADS + 4)]
    assert answers(small, seconds=40)
    assert silent[0].recv(1) == b""


def test_a_head_that_drips_is_given_up_too(small, connect):
    drip = connect("GET /healthz/ HTTP/1.1\r\nHost: localhost\r\n")
    with pytest.raises(OSError):
        for number in range(60):
            drip.sendall(f"X-{number}: a\r\n".encode())
            time.sleep(0.5)


FORM = "POST /app/login/ HTTP/1.1\r\nCookie: csrftoken=" + 32 * "a"


@pytest.mark.parametrize(
    ("head", "seconds"),
    [
        (f"{FORM}\r\nContent-Type: application/x-www-form-urlencoded", 2 * STALL_SECONDS),
        (f"{FORM}\r\nContent-Type: multipart/form-data; boundary=X", 2 * STALL_SECONDS),
        ("POST /app/login/ HTTP/1.1", STALL_SECONDS - 1),
    ],
    ids=["form", "multipart", "refused unread"],
)
def test_bodies_that_drip_are_given_up(small, connect, head, seconds):
    text = f"{head}\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n--X\r\n"
    with dripping([connect(text) for _ in range(THREADS + 4)]):
        time.sleep(1)  # all of them are being read
        assert answers(small, seconds=seconds)
    assert "Traceback" not in small.logs()


def test_refused_bodies_are_not_waited_for(small, connect):
    refused = (
        "POST /api/v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\nabc"
    )
    for _ in range(2 * THREADS):
        connect(refused)
    assert answers(small, seconds=20)


@pytest.mark.parametrize(
    "request_of",
    [
        "POST /api/v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: multipart/form-data; boundary=X\r\nContent-Length: 1000000\r\n\r\n--X\r\n"
        'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
        "POST /api/v1/batches HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        "Content-Length: 1000000\r\n\r\n{{",
        "PATCH /api/v1/webhooks/01900000-0000-7000-8000-000000000000 HTTP/1.1\r\n"
        "Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000000\r\n\r\n{{",
    ],
    ids=["form", "json", "patch"],
)
def test_slow_bodies_leave_the_database_to_others(small, connect, request_of):
    text = request_of.format(token=token(small))
    for _ in range(THREADS - 4):
        connect(text)
    time.sleep(1)  # all of them are being read
    assert answers(small, seconds=STALL_SECONDS - 2)  # before they are given up


@pytest.mark.parametrize("range_header", ["", "Range: bytes=1-\r\n"], ids=["whole", "range"])
def test_readers_that_read_nothing_are_given_up(small, connect, range_header):
    """... one that reads a little now and then is not."""
    authorization = {"Authorization": f"Bearer {token(small)}"}
    stored = httpx.post(
        f"{small.url}/api/v1/files",
        params={"filename": "large"},
        content=bytes(40 * 2**20),
        headers=authorization,
    ).json()
    request = (
        f"GET {stored['content_url']} HTTP/1.1\r\nHost: localhost\r\n{range_header}"
        f"Authorization: {authorization['Authorization']}\r\n\r\n"
    )
    slow = connect(request)
    for _ in range(THREADS + 4):
        connect(request)
    until = time.monotonic() + 2.5 * STALL_SECONDS
    with slow.makefile("rb") as answer:
        while answer.readline() != b"\r\n":
            pass
        received = 0
        while time.monotonic() < until:
            received += len(answer.read(READ_BYTES))
            time.sleep(READ_BYTES / READ_RATE)
        assert answers(small, seconds=10)
        rest = 40 * 2**20 - (1 if range_header else 0) - received
        assert len(answer.read(rest)) == rest
    assert "Traceback" not in small.logs()


def test_what_is_no_http_is_answered_as_the_api_answers(small, connect):
    connection = connect("GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: 1\r\n\r\n")
    head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nContent-Type: application/problem+json" in head
    assert json.loads(body)["code"] == "malformed_request"


def test_connections_that_say_nothing_are_closed_in_the_end(silent):
    assert {connection.recv(1) for connection in silent} == {b""}
