"""Where connections wait without a thread: real sockets, and the loop turned by hand."""

import selectors
import socket
from contextlib import contextmanager

import pytest

from boot.connections import ClientConnection, Lobby
from boot.heads import PROMPT_BODY_BYTES

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"


class Hall:
    """A lobby, its poller, and what it has told."""

    def __init__(self, *, keep_alive: float = 60, stall: float = 60) -> None:
        self.served: list[ClientConnection] = []
        self.closed = 0
        self.clients: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.poller = selectors.DefaultSelector()
        self.lobby: Lobby[ClientConnection] = Lobby(
            self.poller,
            serve=self.served.append,
            closed=self._close_one,
            keep_alive=keep_alive,
            stall=stall,
        )

    def _close_one(self) -> None:
        self.closed += 1

    def connect(self) -> tuple[ClientConnection, socket.socket]:
        theirs = socket.create_connection(self.listener.getsockname(), timeout=10)
        ours, _ = self.listener.accept()
        self.clients += [ours, theirs]
        connection = ClientConnection(ours, stall=60)
        self.lobby.collect(connection)
        return connection, theirs

    def turn(self) -> None:
        """What the loop does with all that is ready."""
        for key, _ in self.poller.select(timeout=0.2):
            key.data(key.fileobj)

    @property
    def waiting(self) -> int:
        return len(self.poller.get_map())


@contextmanager
def hall_with(**times):
    opened = Hall(**times)
    yield opened
    for each in [*opened.clients, opened.listener]:
        each.close()
    opened.poller.close()


@pytest.fixture
def hall():
    with hall_with() as opened:
        yield opened


def test_a_request_is_served_when_its_head_is_whole(hall):
    connection, client = hall.connect()
    client.sendall(GET[:10])
    hall.turn()
    assert (hall.served, hall.waiting) == ([], 1)
    client.sendall(GET[10:])
    hall.turn()
    assert (hall.served, hall.waiting) == ([connection], 0)
    assert connection.head.take() == GET


def test_a_small_body_is_waited_for_too(hall):
    """And the poller is quiet until all of it is there."""
    connection, client = hall.connect()
    for piece in (POST, b"12", b"34"):
        client.sendall(piece)
        hall.turn()
        assert (hall.served, hall.waiting) == ([], 1)
    client.sendall(b"5")
    hall.turn()
    assert hall.served == [connection]


def test_a_large_body_is_not(hall):
    connection, client = hall.connect()
    client.sendall(POST.replace(b"5", b"%d" % (PROMPT_BODY_BYTES + 1)))
    hall.turn()
    assert hall.served == [connection]


def test_a_small_body_whose_client_ends_is_handed_on(hall):
    connection, client = hall.connect()
    client.sendall(POST + b"12")
    hall.turn()
    client.shutdown(socket.SHUT_WR)
    hall.turn()
    assert hall.served == [connection]


def test_what_came_along_with_the_last_request_counts(hall):
    connection, _ = hall.connect()
    hall.lobby.collect(connection, GET)
    assert hall.served == [connection]


@pytest.mark.parametrize("said", [b"", GET[:10]])
def test_a_client_that_leaves_is_forgotten(hall, said):
    _, client = hall.connect()
    client.sendall(said)
    client.close()
    hall.turn()
    hall.turn()
    assert (hall.served, hall.closed, hall.waiting) == ([], 1, 0)


def test_who_waits_too_long_is_closed_or_handed_on():
    with hall_with(keep_alive=0, stall=0) as hall:
        _, silent = hall.connect()
        late, client = hall.connect()
        client.sendall(POST)
        hall.turn()
        hall.lobby.end_overdue()
        assert silent.recv(1) == b""
        assert (hall.served, hall.closed, hall.waiting) == ([late], 1, 0)


def test_nobody_is_closed_before_the_time(hall):
    hall.connect()
    hall.lobby.end_overdue()
    assert (hall.closed, hall.waiting) == (0, 1)


def test_room_is_made_by_the_one_that_has_been_idle_longest(hall):
    _, oldest = hall.connect()
    _, other = hall.connect()
    hall.lobby.make_room()
    assert oldest.recv(1) == b""
    other.sendall(GET)
    hall.turn()
    assert (len(hall.served), hall.closed) == (1, 1)


def test_the_last_answer_is_waited_for_while_the_client_sends_on(hall):
    connection, client = hall.connect()
    client.sendall(GET)
    hall.turn()
    connection.client_socket.sendall(b"answer")
    hall.lobby.linger(connection)
    for _ in range(3):
        client.sendall(bytes(50_000))
        hall.turn()
        assert (hall.closed, hall.waiting) == (0, 1)
    assert (client.recv(100), client.recv(100)) == (b"answer", b"")
    client.close()
    hall.turn()
    assert (hall.closed, hall.waiting) == (1, 0)


def test_in_the_end_all_are_closed(hall):
    connection, client = hall.connect()
    client.sendall(GET)
    hall.turn()
    hall.lobby.linger(connection)
    _, silent = hall.connect()
    hall.lobby.close_all()
    assert silent.recv(1) == b""
    assert (hall.closed, hall.waiting) == (2, 0)
