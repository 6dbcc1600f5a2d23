"""The running portal over real connections: whole requests, and pieces of them."""

import json
import socket
import time
from collections.abc import Callable
from typing import Any, Self

import httpx

from boot.tests.portal import Portal, call
from uploads.tests.factories import SESSIONS, content_digest


class Door:
    """A portal with an account that may do everything."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        made = portal.run("token", "create", "--email", portal.admin_email, "--name", "tests")
        assert made.returncode == 0, made.stderr
        self.token = made.stdout.strip()

    def call(self, method: str, path: str, **values: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} | values.pop("headers", {})
        return call(method, self.portal.url + path, headers=headers, timeout=30, **values)

    def session_of(self, data: bytes, *, chunk: int, **values: Any) -> str:
        reply = self.call(
            "POST",
            SESSIONS,
            json={"filename": "a.bin", "size_bytes": len(data), "chunk_size_bytes": chunk} | values,
        )
        assert reply.status_code == 201, reply.text
        return reply.json()["session_id"]

    def put(self, session: str, number: int, part: bytes) -> httpx.Response:
        return self.call("PUT", f"{SESSIONS}/{session}/parts/{number}", content=part)

    def is_taken(self, session: str, number: int) -> bool:
        """Whether somebody is sending this part; asking stores nothing, whatever the answer."""
        state = self.call("GET", f"{SESSIONS}/{session}").json()
        start = (number - 1) * state["chunk_size_bytes"]
        reply = self.call(
            "PUT",
            f"{SESSIONS}/{session}/parts/{number}",
            content=bytes(min(state["chunk_size_bytes"], state["size_bytes"] - start)),
            headers={"Content-Digest": content_digest(b"something else")},
        )
        return reply.json()["code"] == "part_in_progress"

    def received(self, session: str) -> str:
        return self.call("GET", f"{SESSIONS}/{session}").json()["received_parts"]

    def finalize(self, session: str) -> httpx.Response:
        return self.call("POST", f"{SESSIONS}/{session}/finalize")

    def upload(self, data: bytes) -> dict[str, Any]:
        reply = self.call("POST", "/api/v1/files?filename=a.bin", content=data)
        assert reply.status_code == 201, reply.text
        return reply.json()

    def head_of_part(self, session: str, number: int, *headers: str) -> bytes:
        """The request line and headers of a part."""
        return "\r\n".join(
            [
                f"PUT {SESSIONS}/{session}/parts/{number} HTTP/1.1",
                "Host: localhost",
                f"Authorization: Bearer {self.token}",
                *headers,
                "",
                "",
            ]
        ).encode()

    def connect(self) -> "Wire":
        return Wire(self.portal.port)


class Wire:
    """One connection, byte by byte."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, Any]:
        """The next response: its status, and its JSON, if there is any."""
        status, _, document = self.whole_answer()
        return status, document

    def whole_answer(self) -> tuple[int, dict[str, str], Any]:
        """With its headers, by their names in lower case."""
        status = int(self._file.readline().split()[1])
        headers = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = self._file.read(int(headers.get("content-length", 0)))
        return status, headers, json.loads(body) if body else None

    def status(self) -> int:
        """Of the next answer, 100 included; what else it says is skipped."""
        line = self._file.readline()
        while self._file.readline().strip() != b"":
            pass
        return int(line.split()[1])

    def is_closed_by_the_server(self) -> bool:
        return self._file.read(1) == b""


def until(condition: Callable[[], Any], *, timeout: float = 30) -> Any:
    """What `condition` gives once it is true."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return result
