"""kill -9 of web and worker while a file is being scanned: nothing passes, and nothing is lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from boot.tests.portal import Portal
from uploads.tests.factories import sha256, some_bytes
from uploads.tests.scanner import EICAR, Scanner, running
from uploads.tests.wire import Door, until

pytestmark = [pytest.mark.long, pytest.mark.process]
CLEAN = some_bytes(100_000)
# As waits and leases that end, and the sweep that comes then.
_SWEEP = """
from django.db import connection
from uploads import tasks
with connection.cursor() as cursor:
    cursor.execute("UPDATE upload_session SET finalizing_until = NULL")
tasks.kick_finalizing()
"""


@pytest.fixture
def scanner() -> Iterator[Scanner]:
    with running() as scanner:
        yield scanner


@pytest.fixture
def door(scanner) -> Iterator[Door]:
    with Portal(environment={"PORTAL_SCANNER": scanner.address}) as portal:
        portal.start()
        yield Door(portal)


def send(door: Door, data: bytes, key: str) -> httpx.Response:
    path = f"/api/v1/files?filename={key}&idempotency_key={key}"
    return door.call("POST", path, content=data)


def sweep(door: Door) -> None:
    done = door.portal.manage("shell", "-c", _SWEEP)
    assert done.returncode == 0, done.stderr


def told(door: Door) -> list[str]:
    items = door.call("GET", "/api/v1/events").json()["items"]
    return sorted(event["type"] for event in items)


def test_web_and_worker_are_killed_while_files_are_scanned(door, scanner):
    scanner.fault = "silent"
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(send, door, CLEAN, "clean")
        until(lambda: scanner.connections == 1)
        door.portal.kill("web")
        with suppress(httpx.TransportError):
            sent.result()
    until(door.portal.is_healthy)
    door.portal.wait()
    assert door.call("GET", "/api/v1/files").json()["items"] == []

    scanner.fault = "error"
    for data, key in ((CLEAN, "clean"), (CLEAN + EICAR, "dirty")):
        reply = send(door, data, key)
        assert (reply.status_code, reply.json()["status"]) == (202, "finalizing")
    scanner.fault = "silent"
    asked = scanner.connections
    sweep(door)
    until(lambda: scanner.connections > asked)
    door.portal.kill("worker")
    door.portal.wait()
    assert told(door) == []

    scanner.fault = ""
    sweep(door)
    until(lambda: told(door) == ["file.failed", "file.uploaded"])
    files = {
        file["original_filename"]: file
        for file in door.call("GET", "/api/v1/files").json()["items"]
    }
    assert (files["clean"]["status"], files["clean"]["sha256"]) == ("stored", sha256(CLEAN))
    assert files["dirty"]["error"]["code"] == "infected"
    again = send(door, CLEAN, "clean")
    assert (again.status_code, again.json()["id"]) == (201, files["clean"]["id"])
