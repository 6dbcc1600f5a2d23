"""kill -9 at the worst moments: what was accepted is still there, and the upload goes on."""

from contextlib import suppress

import httpx
import psutil
import pytest

from common.tests.receiver import Answer, Hang, Receiver
from uploads.tests.factories import sha256, some_bytes
from uploads.tests.wire import until

DATA = some_bytes(500_000)


pytestmark = pytest.mark.long


@pytest.fixture
def session(door) -> str:
    """Five parts; 1 and 3 are received."""
    session = door.session_of(DATA, chunk=100_000, sha256=sha256(DATA))
    for number in (1, 3):
        assert door.put(session, number, part(number)).status_code == 200
    return session


def part(number: int) -> bytes:
    return DATA[(number - 1) * 100_000 : number * 100_000]


def finish(door, session: str) -> None:
    for number in (2, 4, 5):
        until(lambda number=number: door.put(session, number, part(number)).status_code == 200)
    reply = door.finalize(session)
    assert (reply.status_code, reply.json()["sha256"]) == (200, sha256(DATA))
    assert door.call("GET", reply.json()["content_url"]).content == DATA


def comes_back(door) -> None:
    until(door.portal.is_healthy)
    door.portal.wait()


def test_the_web_server_is_killed_in_the_middle_of_a_part(door, session):
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 2, "Content-Length: 100000") + part(2)[:50_000])
        until(lambda: door.is_taken(session, 2))
        door.portal.kill("web")
    comes_back(door)
    assert door.received(session) == "1,3"
    finish(door, session)


def test_a_web_process_is_killed_in_the_middle_of_a_part(door, session):
    """Not the master: the process that receives, with all its threads."""
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 2, "Content-Length: 100000") + part(2)[:50_000])
        until(lambda: door.is_taken(session, 2))
        for process in door.portal.processes["web"].children():
            process.kill()
    until(lambda: answers(door, session))
    assert door.received(session) == "1,3"
    finish(door, session)


def answers(door, session: str) -> bool:
    try:
        return door.received(session) != ""
    except httpx.TransportError:
        return False


def test_everything_is_killed_between_the_parts_and_again_between_two_finalizes(door, session):
    for number in (2, 4, 5):
        assert door.put(session, number, part(number)).status_code == 200
    kill_everything(door)
    assert door.received(session) == "1-5"
    first = door.finalize(session)
    assert (first.status_code, first.json()["sha256"]) == (200, sha256(DATA))
    kill_everything(door)
    again = door.finalize(session)
    assert (again.status_code, again.json()) == (200, first.json())
    assert door.call("GET", first.json()["content_url"]).content == DATA


def kill_everything(door) -> None:
    everything = list(door.portal.processes.values())
    door.portal.kill("supervisor")
    for process in everything:
        with suppress(psutil.NoSuchProcess):  # it went along with the supervisor
            process.kill()
    psutil.wait_procs(everything, timeout=10)
    door.portal.start()


def test_the_worker_is_killed_in_the_middle_of_a_delivery(door):
    """The first try hangs in the receiver. Its lease is ended early here, instead of waiting."""
    with Receiver(Hang(), default=Answer()) as receiver:
        added = door.portal.run("webhook", "add", receiver.url, "--event", "file.uploaded")
        assert added.returncode == 0, added.stderr
        file = door.upload(b"announce me")
        (first,) = receiver.wait_for(1)
        ended = door.portal.manage(
            "shell",
            "-c",
            "from common.models import WebhookDelivery as D; from django.utils import timezone;"
            "D.objects.filter(status='sending').update(due_at=timezone.now())",
        )
        assert ended.returncode == 0, ended.stderr
        door.portal.kill("worker")
        _, second = receiver.wait_for(2, timeout=40)
        comes_back(door)
        assert second.headers["webhook-id"] == first.headers["webhook-id"]
        assert second.body == first.body
        assert first.json["data"]["file"]["id"] == file["id"]
        link = httpx.get(
            door.portal.url + httpx.URL(first.json["data"]["file"]["url"]).path, trust_env=False
        )
        assert link.content == b"announce me"
