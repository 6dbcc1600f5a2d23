"""tus over real connections to the running portal: who writes, and what the network does."""

import threading
from contextlib import suppress
from typing import Self

import pytest

from uploads.tests.factories import sha256, some_bytes
from uploads.tests.tus_calls import OFFSET_TYPE, TUS
from uploads.tests.wire import Door, Wire, until

DATA = some_bytes(250_000)
RESUMABLE = {"Tus-Resumable": "1.0.0"}


def begin(door: Door, **headers: str) -> str:
    headers = RESUMABLE | {"Upload-Length": str(len(DATA))} | headers
    reply = door.call("POST", TUS, headers=headers)
    assert reply.status_code == 201, reply.text
    return TUS + reply.headers["Location"]


def offset_of(door: Door, path: str) -> int:
    reply = door.call("HEAD", path, headers=RESUMABLE)
    assert reply.status_code == 200, reply.headers
    return int(reply.headers["Upload-Offset"])


def head_of_patch(door: Door, path: str, *, offset: int, expect: bool = False) -> bytes:
    """Of a body of all that follows `offset`; `expect`: the server says when it takes it."""
    lines = [
        f"PATCH {path} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {door.token}",
        "Tus-Resumable: 1.0.0",
        f"Content-Type: {OFFSET_TYPE}",
        f"Upload-Offset: {offset}",
        f"Content-Length: {len(DATA) - offset}",
        *(["Expect: 100-continue"] if expect else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def patch(door: Door, path: str, offset: int) -> int:
    headers = RESUMABLE | {"Content-Type": OFFSET_TYPE, "Upload-Offset": str(offset)}
    return door.call("PATCH", path, headers=headers, content=DATA[offset:]).status_code


def finish(door: Door, path: str) -> None:
    """Go on from wherever the upload is, as a client does; the file must be whole."""
    until(lambda: patch(door, path, offset_of(door, path)) == 204)
    assert_stored(door, path)


def assert_stored(door: Door, path: str) -> None:
    session = door.call("GET", f"/api/v1/uploads/sessions/{path.removeprefix(TUS)}").json()
    file = door.call("GET", f"/api/v1/files/{session['file_id']}").json()
    assert (file["status"], file["sha256"]) == ("stored", sha256(DATA))
    assert door.call("GET", file["content_url"]).content == DATA


@pytest.fixture(autouse=True)
def _no_request_ends_in_a_500(door):
    before = len(door.portal.logs())
    yield
    assert "Traceback" not in door.portal.logs()[before:]


class SlowWriter:
    """A PATCH of which a few bytes come every now and then, until it is answered.

    When it is made, the server has begun to take the body.
    """

    def __init__(self, door: Door, path: str) -> None:
        self.wire = Wire(door.portal.port)
        self.wire.send(head_of_patch(door, path, offset=0, expect=True))
        assert self.wire.status() == 100
        self.wire.send(DATA[:100_000])
        self.position = 100_000
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.wire.__exit__()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _drip(self) -> None:
        with suppress(OSError):
            while not self._is_over.wait(0.05):
                self.wire.send(DATA[self.position : self.position + 10])
                self.position += 10


def test_a_slow_writer_gives_way_to_a_newer_one(door):
    path = begin(door)
    with SlowWriter(door, path) as slow:
        finish(door, path)
        assert slow.wire.status() == 423


def test_a_look_waits_for_no_writer_and_disturbs_none(door):
    path = begin(door)
    with SlowWriter(door, path) as slow:
        for _ in range(10):
            assert offset_of(door, path) < len(DATA)
        slow.stop()
        slow.wire.send(DATA[slow.position :])
        assert slow.wire.status() == 204
    assert_stored(door, path)


def test_a_connection_that_breaks_keeps_what_arrived(door):
    path = begin(door)
    with door.connect() as wire:
        wire.send(head_of_patch(door, path, offset=0) + DATA[:100_000])
    until(lambda: offset_of(door, path) == 100_000)
    finish(door, path)


def test_a_chunked_body_is_taken(door):
    path = begin(door)
    headers = RESUMABLE | {"Content-Type": OFFSET_TYPE, "Upload-Offset": "0"}
    blocks = iter([DATA[:1000], DATA[1000:]])
    assert door.call("PATCH", path, headers=headers, content=blocks).status_code == 204
    assert_stored(door, path)


def test_a_creation_that_waits_for_leave_sends_its_body_after_it(door):
    """Expect: 100-continue, and a refusal before the body is on its way."""
    with door.connect() as wire:
        lines = [
            f"POST {TUS} HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {door.token}",
            "Tus-Resumable: 0.1.0",
            f"Upload-Length: {len(DATA)}",
            f"Content-Type: {OFFSET_TYPE}",
            f"Content-Length: {len(DATA)}",
            "Expect: 100-continue",
        ]
        wire.send("\r\n".join([*lines, "", ""]).encode())
        assert wire.status() == 412
