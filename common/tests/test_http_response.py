"""Reading a response: what it says, where it ends, and whether its connection serves another."""

import pytest

from common.net.http_response import ResponseReader

BODY_MAX = 10
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(*pieces: bytes, follows_another: bool = False, ends: bool = False) -> ResponseReader:
    """What is known after these bytes."""
    reader = ResponseReader(body_max=BODY_MAX, follows_another=follows_another)
    for piece in pieces:
        if not reader.is_complete:
            reader.feed(piece)
    if ends:
        reader.feed_end()
    return reader


def outcome(reader: ResponseReader) -> tuple[int | None, bytes, bool, bool]:
    return reader.status, bytes(reader.body), reader.is_complete, reader.is_reusable


# By what is read: bytes, status, body, whether that is all, whether the connection can be used on.
RESPONSES = {
    "a length": (OK + b"Content-Length: 3\r\n\r\nabc", 200, b"abc", True, True),
    "no length": (OK + b"\r\nabc", 200, b"abc", False, False),
    "chunks": (CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200, b"abc", True, True),
    "chunks with extensions": (CHUNKED + b"3;x=y\r\nabc\r\n0 \r\n\r\n", 200, b"abc", True, True),
    "a trailer": (CHUNKED + b"1\r\na\r\n0\r\nX: y\r\n\r\n", 200, b"a", True, True),
    "no last chunk yet": (CHUNKED + b"1\r\na\r\n", 200, b"a", False, False),
    "as much as is kept": (
        OK + b"Content-Length: 10\r\n\r\n0123456789",
        200,
        b"0123456789",
        True,
        True,
    ),
    "more than is kept": (
        OK + b"Content-Length: 11\r\n\r\n0123456789a",
        200,
        b"0123456789",
        True,
        False,
    ),
    "it closes": (OK + b"Connection: x, Close\r\nContent-Length: 0\r\n\r\n", 200, b"", True, False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", 200, b"a", True, False),
    "HTTP/1.0 that stays": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
        200,
        b"a",
        True,
        True,
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True, True),
    "no content of length 0": (
        b"HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n",
        204,
        b"",
        True,
        True,
    ),
    "no content of a length": (
        b"HTTP/1.1 204 x\r\nContent-Length: 2\r\n\r\n",
        204,
        b"",
        True,
        False,
    ),
    "interim and final": (
        b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n",
        201,
        b"",
        True,
        True,
    ),
    "interim only": (b"HTTP/1.1 100 Continue\r\n\r\n", None, b"", False, False),
    "another protocol": (b"HTTP/1.1 101 Switching\r\n\r\n\x81", 101, b"", True, False),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_the_same_however_its_bytes_come(name: str) -> None:
    data, *expected = RESPONSES[name]
    single_bytes = [data[at : at + 1] for at in range(len(data))]

    whole = read(data)

    assert outcome(whole) == tuple(expected)
    assert outcome(read(*single_bytes)) == outcome(whole)
    for at in range(1, len(data)):
        halves = read(data[:at], data[at:])
        assert (outcome(halves), halves.headers) == (outcome(whole), whole.headers)


def test_headers_are_listed_as_they_came_by_names_in_lower_case() -> None:
    lines = b"Set-Cookie: a\r\nRetry-After : 7\r\nX-Folded: a\r\n\tb\r\nset-cookie:b\r\n"

    reader = read(OK + lines + b"Content-Length: 0\r\n\r\n")

    assert reader.headers == [
        ("set-cookie", "a"),
        ("retry-after", "7"),
        ("x-folded", "a b"),
        ("set-cookie", "b"),
        ("content-length", "0"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"HTTP/2 200\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/1.1 OK\r\n",
        b"HTTP/1.1 099 OK\r\n",
        b"ok\r\n",
    ],
)
def test_what_does_not_begin_with_a_status_line_is_no_response(data: bytes) -> None:
    reader = read(data)

    assert (reader.status, reader.is_complete) == (None, True)
    assert "not valid HTTP" in reader.fault


def test_a_connection_that_ends_before_the_status_is_no_response() -> None:
    for data in (b"HTTP/1.1 2", b"HTTP/1.1 100 Continue\r\n\r\n"):
        reader = read(data, ends=True)

        assert (reader.status, reader.is_complete) == (None, True)
        assert "in the middle" in reader.fault


@pytest.mark.parametrize(
    "data", [OK, OK + b"Content-Le", OK + b"Content-Length: 9\r\n\r\nab", CHUNKED + b"9\r\nab"]
)
def test_a_connection_that_ends_behind_the_status_line_ends_the_response(data: bytes) -> None:
    reader = read(data, ends=True)

    assert (reader.status, reader.is_complete, reader.is_reusable) == (200, True, False)


@pytest.mark.parametrize("leftover", [b"ok", b"ok\r\n", b"a\nb\r\n", b"<p>HTTP</p>\r\n"])
def test_what_an_earlier_response_left_is_skipped_and_ends_the_connection(leftover: bytes) -> None:
    data = leftover + b"HTTP/1.1 204 No Content\r\n\r\n"

    for pieces in ([data], [leftover, data[len(leftover) :]], [data[:-30], data[-30:]]):
        reader = read(*pieces, follows_another=True)

        assert (reader.status, reader.is_complete, reader.is_reusable) == (204, True, False)


def test_leftovers_without_end_are_no_response() -> None:
    for data in (b"x" * 100, b"x\r\n" * 100):
        reader = read(*[data] * 1000, follows_another=True)

        assert (reader.status, reader.is_complete) == (None, True)
