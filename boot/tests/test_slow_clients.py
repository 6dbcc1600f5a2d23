"""Clients that are slow or silent hold little, and for a bounded time."""

import socket
import time

import httpx
import pytest

from boot.tests.portal import Portal

THREADS = 24  # of the one web process; more than a process's database connections


@pytest.fixture(scope="module")
def small():
    with Portal(environment={"WEB_WORKERS": "1", "WEB_THREADS": str(THREADS)}) as portal:
        portal.start()
        yield portal


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


def token(portal) -> str:
    made = portal.run("token", "create", "--email", portal.admin_email, "--name", "slow")
    return made.stdout.strip()


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
    ],
    ids=["form", "json"],
)
def test_slow_bodies_leave_the_database_to_others(small, connect, request_of):
    text = request_of.format(token=token(small))
    for _ in range(THREADS - 4):
        connect(text)
    time.sleep(1)  # all of them are being read
    assert answers(small, seconds=10)
