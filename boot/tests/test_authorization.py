"""Every address answers everybody as data/authorization.txt says; a new one needs a line there."""

import re
from pathlib import Path

import pytest

from boot.tests.authorization import World, routes
from common.outbox import kicks
from uploads.workflows import queue

TABLE = Path(__file__).parent / "data" / "authorization.txt"
EXPECTED = [line for line in TABLE.read_text().splitlines() if line and line[0] != "#"]


def is_of_admin(line: str) -> bool:
    return "  /admin/" in line


@pytest.mark.django_db
@pytest.mark.parametrize("of_admin", [False, True], ids=["api and pages", "admin"])
def test_everybody_is_answered_as_the_table_says(of_admin, settings, tmp_path, monkeypatch):
    settings.DOORITO_DATA_DIR = tmp_path / "data"
    settings.PORTAL_CHUNK_SIZE_MIN = 1
    monkeypatch.setattr(kicks, "_senders", [lambda *_: None])
    monkeypatch.setattr(queue, "_senders", [lambda *_: None])
    chosen = [route for route in routes() if route.startswith("admin/") == of_admin]

    world = World.make()
    found = [line for route in chosen for line in world.lines(route)]

    (tmp_path / "found.txt").write_text("\n".join(found))
    assert found == [line for line in EXPECTED if is_of_admin(line) == of_admin], (
        f"What was answered is in {tmp_path}/found.txt. Is that right? Then it belongs into {TABLE}"
    )


def test_the_table_lets_nobody_see_a_fault():
    assert [line for line in EXPECTED if re.match(r"(.* )?5\d\d ", line)] == []
