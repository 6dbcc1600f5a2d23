"""kill -9 in the middle of a PATCH: what was acknowledged is there, and the upload goes on."""

import pytest

from uploads.tests.test_portal_kills import comes_back, kill_everything
from uploads.tests.test_tus_wire import DATA, begin, finish, head_of_patch, offset_of
from uploads.tests.wire import until

pytestmark = pytest.mark.long


@pytest.fixture
def path(door) -> str:
    """An upload with 100,000 bytes that were acknowledged."""
    path = begin(door)
    with door.connect() as wire:
        head = head_of_patch(door, path, offset=0)
        wire.send(head.replace(b"Content-Length: 250000", b"Content-Length: 100000"))
        wire.send(DATA[:100_000])
        assert wire.status() == 204
    return path


@pytest.mark.parametrize("whom", ["web", "everything"])
def test_the_server_is_killed_in_the_middle_of_a_patch(door, path, whom):
    with door.connect() as wire:
        wire.send(head_of_patch(door, path, offset=100_000, expect=True))
        assert wire.status() == 100
        wire.send(DATA[100_000:180_000])
        if whom == "web":
            door.portal.kill("web")
        else:
            kill_everything(door)
    comes_back(door)
    assert offset_of(door, path) in range(100_000, 180_001)
    finish(door, path)


def test_a_killed_process_leaves_nothing_locked(door, path):
    """Not the master: the process that receives, with all its threads."""
    with door.connect() as wire:
        wire.send(head_of_patch(door, path, offset=100_000, expect=True))
        assert wire.status() == 100
        for process in door.portal.processes["web"].children():
            process.kill()
    until(door.portal.is_healthy)
    finish(door, path)
