"""Bodies that tell their length only as they come, over real connections to the running portal."""

import json

import pytest

from uploads.tests.factories import FILES, SESSIONS, sha256, some_bytes
from uploads.tests.test_portal_http import finish, session  # noqa: F401
from uploads.tests.wire import Wire

DATA = some_bytes(250_000)
PART = DATA[:100_000]
CHUNKED = "Transfer-Encoding: chunked"
END = b"0\r\n\r\n"


@pytest.fixture(scope="module", autouse=True)
def _no_request_ends_in_a_500(door):
    before = len(door.portal.logs())
    yield
    assert "Traceback" not in door.portal.logs()[before:]


def chunks(data: bytes, *, size: int = 7000) -> bytes:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def request(door, method: str, path: str, *headers: str) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {door.token}",
        CHUNKED,
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_part_may_come_in_chunks(door, session):  # noqa: F811
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 1, CHUNKED) + chunks(PART) + END)
        status, receipt = wire.answer()
        assert (status, receipt["size_bytes"]) == (200, len(PART))
        # The connection is good for the next one, and for the same part again.
        for size in (1, 50_000):
            wire.send(door.head_of_part(session, 1, CHUNKED) + chunks(PART, size=size) + END)
            assert wire.answer()[0] == 200
    finish(door, session)


def test_requests_may_follow_a_chunked_body_in_one_piece(door, session):  # noqa: F811
    part = door.head_of_part(session, 1, CHUNKED) + chunks(PART) + END
    with door.connect() as wire:
        wire.send(part + part + b"GET /healthz/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert [wire.answer()[0] for _ in range(2)] == [200, 200]
        assert wire.status() == 200


def test_more_than_the_part_holds_goes_nowhere(door, session):  # noqa: F811
    """Neither into the part behind it."""
    assert door.put(session, 2, DATA[100_000:200_000]).status_code == 200
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 1, CHUNKED) + chunks(b"\xff" * 150_000) + END)
        status, problem = wire.answer()
        assert (status, problem["code"]) == (400, "part_size_wrong")
    assert door.received(session) == "2"
    finish(door, session)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (chunks(PART[:60_000]) + END, "body_incomplete"),
        (chunks(PART[:60_000]), "body_incomplete"),
        (chunks(PART[:60_000]) + b"zz\r\n", "body_unreadable"),
        (b"3\r\nabcd\r\n", "body_unreadable"),
        (chunks(PART) + b"0\r\nBad Trailer\r\n\r\n", "body_unreadable"),
        (b"-5\r\nhello\r\n" + END, "body_unreadable"),
    ],
    ids=["too short", "cut", "no size", "no end of a chunk", "bad trailer", "negative"],
)
def test_a_body_that_is_not_whole_leaves_its_part_unreceived(door, session, body, code):  # noqa: F811
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 1, CHUNKED) + body)
        wire.socket.shutdown(1)
        status, problem = wire.answer()
    assert (status, problem["code"]) == (400, code)
    assert door.received(session) == ""
    finish(door, session)


def test_a_refused_one_ends_the_connection_and_says_so(door, session):  # noqa: F811
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 99, CHUNKED) + chunks(PART) + END)
        status, headers, problem = wire.whole_answer()
        assert (status, problem["code"]) == (400, "part_number_invalid")
        assert headers["connection"] == "close"
        assert wire.is_closed_by_the_server()


def test_a_stalled_one_ends_too(door, session):  # noqa: F811
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 1, CHUNKED) + chunks(PART[:60_000]))
        status, problem = wire.answer()
        assert (status, problem["code"]) == (408, "body_stalled")
    finish(door, session)


@pytest.mark.parametrize("data", [DATA, b""], ids=["some", "none"])
def test_a_file_may_come_in_chunks(door, data):
    with door.connect() as wire:
        wire.send(request(door, "POST", f"{FILES}?filename=piped") + chunks(data) + END)
        status, file = wire.answer()
    assert (status, file["size_bytes"], file["sha256"]) == (201, len(data), sha256(data))
    assert door.call("GET", file["content_url"]).content == data


@pytest.mark.parametrize("data", [DATA, b""], ids=["some", "none"])
def test_a_form_with_a_file_may_come_in_chunks(door, data):
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n%b\r\n--x--'
        % data
    )
    with door.connect() as wire:
        for _ in range(2):  # on the same connection
            media_type = "Content-Type: multipart/form-data; boundary=x"
            wire.send(request(door, "POST", FILES, media_type) + chunks(form) + END)
            status, file = wire.answer()
            assert (status, file["sha256"]) == (201, sha256(data))


def test_a_form_in_chunks_may_be_no_larger_than_others(door):
    begun = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    with door.connect() as wire:
        media_type = "Content-Type: multipart/form-data; boundary=x"
        wire.send(request(door, "POST", FILES, media_type) + chunks(begun))
        block = chunks(bytes(2**20), size=2**20)
        for _ in range(51):
            wire.send(block)
        status, headers, problem = wire.whole_answer()
    assert (status, problem["code"], headers["connection"]) == (413, "file_too_large", "close")


def test_a_file_in_chunks_may_be_no_larger_than_others(door):
    """It is refused as soon as it is too large, however much is to come."""
    with door.connect() as wire:
        wire.send(request(door, "POST", f"{FILES}?filename=piped"))
        block = chunks(bytes(2**20), size=2**20)
        for _ in range(50):
            wire.send(block)
        wire.send(block)
        status, headers, problem = wire.whole_answer()
    assert (status, problem["code"], headers["connection"]) == (413, "file_too_large", "close")


def test_a_file_in_chunks_that_breaks_off_leaves_nothing(door):
    def stored():
        return door.call("GET", FILES, params={"limit": 200}).json()["items"]

    before = stored()
    with door.connect() as wire:
        wire.send(request(door, "POST", f"{FILES}?filename=cut") + chunks(DATA))
        wire.socket.shutdown(1)
        status, problem = wire.answer()
    assert (status, problem["code"]) == (400, "body_incomplete")
    assert stored() == before


FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    + DATA
    + b"\r\n--x--\r\n"
)
AS_FORM = "Content-Type: multipart/form-data; boundary=x"


@pytest.mark.parametrize("size", [7, 1000, 10**6])
def test_a_form_may_come_in_chunks(door, size):
    with door.connect() as wire:
        wire.send(request(door, "POST", FILES, AS_FORM) + chunks(FORM, size=size) + END)
        status, file = wire.answer()
    assert (status, file["original_filename"], file["sha256"]) == (201, "a.bin", sha256(DATA))


def test_a_form_in_chunks_that_breaks_off_is_not_taken_for_whole(door):
    with door.connect() as wire:
        wire.send(request(door, "POST", FILES, AS_FORM) + chunks(FORM))
        wire.socket.shutdown(1)
        status, problem = wire.answer()
    assert (status, problem["code"]) == (400, "body_incomplete")


def test_a_document_may_come_in_chunks(door):
    document = json.dumps({"filename": "a", "size_bytes": 1}).encode()
    with door.connect() as wire:
        wire.send(request(door, "POST", SESSIONS, "Content-Type: application/json"))
        wire.send(chunks(document, size=5) + END)
        status, made = wire.answer()
    assert (status, made["filename"]) == (201, "a")


def test_a_document_in_chunks_may_be_no_larger_than_others(door):
    with door.connect() as wire:
        wire.send(request(door, "POST", SESSIONS, "Content-Type: application/json"))
        wire.send(chunks(b" " * 2**20) * 2 + chunks(b" " * 2**20))
        status, headers, problem = wire.whole_answer()
    assert (status, problem["code"], headers["connection"]) == (413, "body_too_large", "close")


@pytest.mark.parametrize(
    ("media_type", "form"),
    [
        ("application/x-www-form-urlencoded", "username={email}&password={password}"),
        (
            "multipart/form-data; boundary=x",
            '--x\r\nContent-Disposition: form-data; name="username"\r\n\r\n{email}\r\n'
            '--x\r\nContent-Disposition: form-data; name="password"\r\n\r\n{password}\r\n--x--\r\n',
        ),
    ],
    ids=["urlencoded", "multipart"],
)
def test_a_page_reads_a_form_in_chunks(door, media_type, form):
    portal = door.portal
    text = form.format(email=portal.admin_email, password=portal.admin_password)
    with Wire(portal.port) as wire:
        wire.send(
            "POST /app/login/ HTTP/1.1\r\nHost: localhost\r\n"
            f"Cookie: csrftoken={32 * 'a'}\r\nX-CSRFToken: {32 * 'a'}\r\n"
            f"Content-Type: {media_type}\r\n{CHUNKED}\r\n\r\n".encode()
            + chunks(text.encode(), size=10)
            + END
        )
        assert wire.socket.recv(100).startswith(b"HTTP/1.1 302 ")  # logged in
