"""What every test of uploads has: its own data directory, small parts, two users."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from accounts.tests.factories import make_user
from boot.tests.portal import Portal
from common.outbox import kicks
from uploads import storage
from uploads.storage import Storage
from uploads.storage.s3 import S3Config
from uploads.tests.factories import Api
from uploads.tests.multipart_store import multipart_storage
from uploads.tests.s3_servers import EACH_SERVER, SERVERS, S3Server, running, to_s3
from uploads.tests.wire import Door
from uploads.workflows import queue


@pytest.fixture(autouse=True)
def _data_directory(settings, tmp_path: Path) -> None:
    settings.DOORITO_DATA_DIR = tmp_path
    settings.PORTAL_CHUNK_SIZE_MIN = 1
    settings.PORTAL_CHUNK_SIZE = 1024


@pytest.fixture
def api(db) -> Api:
    return Api()


@pytest.fixture
def other(db) -> Api:
    """Somebody else."""
    return Api()


@pytest.fixture(scope="session")
def door() -> Iterator[Door]:
    """A running portal with small parts that gives up on a stalled body after a second."""
    environment = {
        "PORTAL_CHUNK_SIZE_MIN": "1",
        "PORTAL_STALL_TIMEOUT_SECONDS": "1",
        "PORTAL_WEBHOOK_TIMEOUT_SECONDS": "5",
    }
    with Portal(environment=environment) as portal:
        portal.start()
        yield Door(portal)


@pytest.fixture
def staff(db) -> Api:
    """Somebody who may see and change webhooks."""
    return Api(make_user(is_staff=True))


@pytest.fixture
def no_kicks(monkeypatch) -> None:
    """Deliveries stay as they are put: nothing starts the dispatcher."""
    monkeypatch.setattr(kicks, "_senders", [lambda *_: None])


@pytest.fixture
def no_run_kicks(monkeypatch) -> list[float]:
    """Runs stay as they are put: kicks are noted, by their delay in seconds, and start nothing."""
    sent: list[float] = []
    monkeypatch.setattr(queue, "_senders", [sent.append])
    return sent


@pytest.fixture
def multipart(tmp_path: Path) -> Iterator[Storage]:
    """A second backend, which new uploads go to once PORTAL_STORAGE is its name."""
    second = multipart_storage(tmp_path / "multipart")
    storage.register(second.name, lambda: second)
    yield second
    storage.unregister(second.name)


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    with running("moto") as server:
        yield server


@pytest.fixture(scope="session")
def nanio() -> Iterator[S3Server]:
    with running("nanio") as server:
        yield server


@pytest.fixture(params=EACH_SERVER)
def s3(request, settings) -> Iterator[S3Config]:
    """New uploads go to S3; the test runs once for each server."""
    with to_s3(request.getfixturevalue(request.param), settings) as config:
        yield config


@pytest.fixture(params=["local", "multipart", *EACH_SERVER])
def each_store(request, settings, multipart) -> Iterator[str]:
    """The test runs once for every kind of store; the name that rows have for it."""
    if request.param in SERVERS:
        with to_s3(request.getfixturevalue(request.param), settings):
            yield "s3"
        return
    settings.PORTAL_STORAGE = request.param
    yield request.param
