"""Clients that are slow or silent hold little, and for a bounded time."""

import http.client
import json
import select
import socket
import threading
import time
from contextlib import contextmanager, suppress

import httpx
import psutil
import pytest

from boot.tests.portal import Portal, call

pytestmark = [pytest.mark.process, pytest.mark.long]

THREADS = 24  # of the one web process; more than a process's database connections
STALL_SECONDS = 4
RATE_SECONDS = 4
MIN_RATE = 4 * 2**10
PER_ACCOUNT = 12  # of the 18 transfers that the threads serve at once
PART_BYTES = 256 * 2**10
LARGE_BYTES = 40 * 2**20
SOON = 3  # seconds in which a short request is answered, whatever others do
READ_BYTES = 8 * 2**10
READ_RATE = 40 * 2**10  # bytes a second: the kernel, and a block of 256 KiB, take longer to move on


@pytest.fixture(scope="module")
def small():
    environment = {
        "WEB_WORKERS": "1",
        "WEB_THREADS": str(THREADS),
        "PORTAL_STALL_TIMEOUT_SECONDS": str(STALL_SECONDS),
        "PORTAL_TRANSFER_RATE_SECONDS": str(RATE_SECONDS),
        "PORTAL_TRANSFER_MIN_RATE": str(MIN_RATE),
        "PORTAL_TRANSFERS_PER_ACCOUNT": str(PER_ACCOUNT),
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

    def connect(text: str, *, buffer: int = 0) -> socket.socket:
        """A request under way; with a receive buffer of so many bytes, it takes no more ahead."""
        connection = socket.socket()
        if buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", small.port))
        connection.sendall(text.encode())
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def answers(portal, *, seconds: float) -> bool:
    try:
        return call("GET", f"{portal.url}/healthz/", timeout=seconds).status_code == 200
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
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def token(portal, email: str) -> str:
    made = portal.run("token", "create", "--email", email, "--name", "slow")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture(scope="module")
def bearer(small) -> str:
    return token(small, small.admin_email)


def test_connections_that_say_nothing_hold_no_thread(small, silent):
    assert answers(small, seconds=SOON)


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


def test_heads_that_never_end_hold_up_nobody_and_are_given_up(small, connect):
    """Whether they go on by the byte, or not at all."""
    half = "GET /healthz/ HTTP/1.1\r\nHost: localhost\r\nX-A: "
    going_on = [connect(half) for _ in range(10 * THREADS)]
    silent = connect(half)
    with dripping(going_on):
        assert all(answers(small, seconds=SOON) for _ in range(20))
        assert silent.recv(1) == b""
        for connection in going_on:
            with suppress(ConnectionResetError):  # a byte came just then
                assert connection.recv(1) == b""


FORM = "POST /app/login/ HTTP/1.1\r\nCookie: csrftoken=" + 32 * "a"


@pytest.mark.parametrize("length", [2_000_000, 60_000], ids=["large", "small"])
@pytest.mark.parametrize(
    "head",
    [
        f"{FORM}\r\nContent-Type: application/x-www-form-urlencoded",
        f"{FORM}\r\nContent-Type: multipart/form-data; boundary=X",
        "POST /app/login/ HTTP/1.1",
    ],
    ids=["form", "multipart", "refused unread"],
)
def test_bodies_of_nobody_that_drip_hold_up_nobody_and_are_given_up(small, connect, head, length):
    text = f"{head}\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n--X\r\n"
    connections = [connect(text) for _ in range(THREADS + 4)]
    with dripping(connections):
        time.sleep(1)  # all of them are being read
        assert answers(small, seconds=SOON)
        assert all(connection.recv(12).startswith(b"HTTP/1.1 4") for connection in connections)
    assert "Traceback" not in small.logs()


def test_refused_bodies_are_not_waited_for(small, connect):
    refused = (
        "POST /api/v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\nabc"
    )
    for _ in range(2 * THREADS):
        connect(refused)
    assert answers(small, seconds=SOON)


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
def test_slow_bodies_leave_the_database_to_others(small, connect, bearer, request_of):
    text = request_of.format(token=bearer)
    for _ in range(THREADS - 4):
        connect(text)
    time.sleep(1)  # all of them are being read
    assert answers(small, seconds=STALL_SECONDS - 1.5)  # before they are given up


@pytest.mark.parametrize("range_header", ["", "Range: bytes=1-\r\n"], ids=["whole", "range"])
def test_readers_that_read_nothing_are_given_up(small, connect, bearer, range_header):
    """... one that reads a little now and then is not."""
    request = (
        f"GET {store(small, bearer)} HTTP/1.1\r\nHost: localhost\r\n{range_header}"
        f"Authorization: Bearer {bearer}\r\n\r\n"
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
        assert answers(small, seconds=SOON)
        rest = LARGE_BYTES - (1 if range_header else 0) - received
        assert len(answer.read(rest)) == rest
    assert "Traceback" not in small.logs()


@pytest.fixture
def somebody_else(small) -> str:
    """A token of another account."""
    code = (
        "from accounts.models import User; from accounts.services import create_user; "
        "email = 'else@example.com'; "
        "User.objects.filter(email=email).exists() or "
        "create_user(email=email, password='a1b2c3d4!')"
    )
    made = small.manage("shell", "--no-imports", "-c", code)
    assert made.returncode == 0, made.stderr
    return token(small, "else@example.com")


def begin_upload(portal, bearer: str, *, parts: int) -> str:
    """The address of its parts."""
    made = httpx.post(
        f"{portal.url}/api/v1/uploads/sessions",
        json={
            "filename": "attack",
            "size_bytes": parts * PART_BYTES,
            "chunk_size_bytes": PART_BYTES,
        },
        headers={"Authorization": f"Bearer {bearer}"},
    )
    assert made.status_code == 201, made.text
    return f"/api/v1/uploads/sessions/{made.json()['session_id']}/parts"


def part_head(address: str, number: int, bearer: str) -> str:
    return (
        f"PUT {address}/{number} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {bearer}\r\nContent-Length: {PART_BYTES}\r\n\r\n"
    )


def send_part(portal, address: str, bearer: str) -> int:
    return httpx.put(
        f"{portal.url}{address}/1",
        content=bytes(PART_BYTES),
        headers={"Authorization": f"Bearer {bearer}"},
        timeout=30,
    ).status_code


def told(connection) -> tuple[str, int]:
    """The code of the answer, and the seconds after which to try again, if it says so."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return json.loads(answer.read())["code"], int(answer.headers.get("Retry-After", 0))


def test_one_account_takes_no_more_than_its_share(small, connect, bearer, somebody_else):
    """... sending parts by the byte; the others do not notice, and it is cut in the end."""
    address = begin_upload(small, bearer, parts=3 * THREADS)
    others = begin_upload(small, somebody_else, parts=1)
    attackers = [connect(part_head(address, 1 + n, bearer)) for n in range(3 * THREADS)]
    with dripping(attackers):
        refused = answered(attackers)
        assert send_part(small, address, bearer) == 429
        assert len(attackers) - len(refused) == PER_ACCOUNT
        assert {told(connection) for connection in refused} == {("too_many_transfers", 2)}
        assert all(answers(small, seconds=SOON) for _ in range(10))
        assert send_part(small, others, somebody_else) == 200
        under_way = [connection for connection in attackers if connection not in refused]
        assert {told(connection)[0] for connection in under_way} == {"body_too_slow"}
    assert send_part(small, address, bearer) == 200  # it may go on


def answered(connections) -> set[socket.socket]:
    """Those that have an answer, once no further one gets any."""
    found: set[socket.socket] = set()
    while ready := select.select([each for each in connections if each not in found], [], [], 0.3)[
        0
    ]:
        found.update(ready)
    return found


def test_a_second_request_that_does_not_come_whole_holds_no_thread(small, connect):
    whole = "GET /healthz/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for _ in range(2 * THREADS):
        connection = connect(whole + whole[:-2])
        assert connection.recv(12) == b"HTTP/1.1 200"
    assert all(answers(small, seconds=SOON) for _ in range(10))


def store(portal, bearer: str) -> str:
    """The address of a stored file that no kernel takes at once."""
    stored = httpx.post(
        f"{portal.url}/api/v1/files",
        params={"filename": "large"},
        content=bytes(LARGE_BYTES),
        headers={"Authorization": f"Bearer {bearer}"},
        timeout=30,
    )
    assert stored.status_code == 201, stored.text
    return stored.json()["content_url"]


def test_readers_that_take_a_little_now_and_then_are_cut(small, connect, bearer):
    """They never stop for the time limit, and would keep their threads for days."""
    address = store(small, bearer)
    request = f"GET {address} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\n\r\n"
    readers = [connect(request, buffer=MIN_RATE) for _ in range(PER_ACCOUNT)]
    assert [reader.recv(12) for reader in readers] == [b"HTTP/1.1 200"] * PER_ACCOUNT
    assert told(connect(request)) == ("too_many_transfers", 2)
    begun = time.monotonic()
    cut = set()
    while len(cut) < PER_ACCOUNT and time.monotonic() < begun + 60:
        time.sleep(0.5)
        assert answers(small, seconds=SOON)
        for reader in set(readers) - cut:
            try:
                reader.recv(MIN_RATE // 8)  # a quarter of what it must take
            except ConnectionResetError:
                cut.add(reader)
    assert cut == set(readers)
    assert time.monotonic() > begun + RATE_SECONDS - 1  # not for their silence
    assert "Traceback" not in small.logs()
    assert connect(request).recv(12) == b"HTTP/1.1 200"


def test_what_is_no_http_is_answered_as_the_api_answers(small, connect):
    connection = connect("GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: 1\r\n\r\n")
    head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nContent-Type: application/problem+json" in head
    assert json.loads(body)["code"] == "malformed_request"


def test_connections_that_say_nothing_are_closed_in_the_end(silent):
    assert {connection.recv(1) for connection in silent} == {b""}
