"""Clients that take their answers slowly, over real connections."""

import socket
import tempfile
import time
from contextlib import contextmanager
from threading import Thread

import pytest

from boot.streams import Pace, Sender, bytes_arrived, wait_readable
from common.http.exchange import NoPlaceError, TooSlowError

DATA = bytes(range(256)) * 2**13  # 2 MiB: more than the kernel takes at once


@pytest.fixture
def connection():
    """Both ends of a connection whose buffers are small: the server's, the client's."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 2**10)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 2**10)
            client.settimeout(20)
            client.connect(listener.getsockname())
            server, _ = listener.accept()
            with server:
                yield server, client


def sender_to(sock, *, stall=20.0, rate=0, window=60.0, before_waiting=lambda: None):
    pace = Pace(bytes_per_second=rate, window=window)
    return Sender(sock, stall=stall, pace=pace, before_waiting=before_waiting)


@contextmanager
def reading(client, *, pause=0.0):
    """Reads in a thread of its own; what was read."""
    received = bytearray()

    def read():
        while len(received) < len(DATA) and (data := client.recv(4096)):
            received.extend(data)
            time.sleep(pause)

    thread = Thread(target=read)
    thread.start()
    yield received
    thread.join()


def send_file(sender, data):
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        sender.send_file(file, offset=0, count=len(data))


SENDS = pytest.mark.parametrize(
    "send", [lambda sender, data: sender.send(data), send_file], ids=["bytes", "file"]
)


@SENDS
def test_an_answer_arrives_whole_and_in_its_order(connection, send):
    server, client = connection
    with reading(client) as received:
        send(sender_to(server), DATA)
    assert received == DATA


@SENDS
def test_a_slow_reader_gets_everything_as_long_as_it_is_not_too_slow(connection, send):
    server, client = connection
    with reading(client, pause=0.002) as received:
        send(sender_to(server, stall=1.0, rate=1000, window=0.5), DATA)
    assert received == DATA


@SENDS
def test_who_takes_nothing_is_given_up(connection, send):
    server, _ = connection
    with pytest.raises(TimeoutError) as given_up:
        send(sender_to(server, stall=1.0), DATA)
    assert not isinstance(given_up.value, TooSlowError)


@SENDS
def test_who_takes_too_little_is_given_up_though_it_never_stops(connection, send):
    server, client = connection
    started = time.monotonic()
    with reading(client, pause=0.05):
        with pytest.raises(TooSlowError):
            send(sender_to(server, stall=1.0, rate=500_000, window=2.0), DATA)
        server.shutdown(socket.SHUT_RDWR)
    assert time.monotonic() - started < 10


@SENDS
def test_nobody_asks_for_a_place_for_a_reader_that_is_quick(connection, send):
    asked = []
    server, client = connection
    with reading(client):
        send(sender_to(server, before_waiting=lambda: asked.append(1)), DATA)
    assert asked == []


@SENDS
def test_a_slow_reader_without_a_place_is_given_up_soon(connection, send):
    def refuse():
        raise NoPlaceError

    server, _ = connection
    started = time.monotonic()
    with pytest.raises(NoPlaceError):
        send(sender_to(server, before_waiting=refuse), DATA)
    assert time.monotonic() - started < 5


def test_a_file_that_is_shorter_than_announced_is_no_whole_answer(connection):
    server, _ = connection
    with tempfile.TemporaryFile() as file, pytest.raises(EOFError):
        sender_to(server).send_file(file, offset=0, count=1)


def test_a_pace_is_judged_after_its_window_and_then_anew():
    pace = Pace(bytes_per_second=100, window=10)
    pace.note(0, waited=9.9)
    pace.note(2000, waited=0.2)
    pace.note(500, waited=9.9)
    with pytest.raises(TooSlowError):
        pace.note(1, waited=0.2)


def test_what_was_sent_ahead_does_not_pay_for_later():
    pace = Pace(bytes_per_second=100, window=10)
    pace.note(10**9, waited=10)
    with pytest.raises(TooSlowError):
        pace.note(999, waited=10)


def test_no_pace_may_be_too_slow_where_none_is_demanded():
    pace = Pace(bytes_per_second=0, window=1)
    for _ in range(10):
        pace.note(0, waited=10)


def test_what_has_arrived_can_be_told_without_reading_it(connection):
    server, client = connection
    assert not wait_readable(server, seconds=0)
    client.sendall(b"12345")
    assert wait_readable(server, seconds=20)
    assert bytes_arrived(server) == 5
