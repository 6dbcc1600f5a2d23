"""What all tests share: a database server, and the whole product running."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.conf import settings
from django.db.models.signals import post_save

from boot import embedded_postgres
from boot.tests import database
from boot.tests.portal import Portal, sharing_preparations
from common.models import OutboxEvent
from uploads.tests.event_validation import Observer, validator


def pytest_configure(config: pytest.Config) -> None:
    """Run the embedded PostgreSQL during the tests; processes of pytest-xdist share it."""
    # Ignored in what a shell starts in the background, and inherited; tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _keep_bytecode()
    stack = ExitStack()
    config.add_cleanup(stack.close)
    if not hasattr(config, "workerinput"):
        stack.enter_context(sharing_preparations())
    if settings.EMBEDDED_POSTGRES:
        stack.enter_context(embedded_postgres.running(settings.DOORITO_DATA_DIR))
        database.stop_syncing(settings.DOORITO_DATA_DIR)
    database.empty_filled_tables_after_tests()


def _keep_bytecode() -> None:
    """Modules are compiled once, not by each of the hundreds of processes that tests start."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def portal() -> Iterator[Portal]:
    """`./doorito up` in a data directory of its own, with everything that belongs to it.

    A test that stops or kills some of it brings it back before it ends (`portal.wait`).
    """
    with Portal() as portal:
        portal.start()
        yield portal


@pytest.fixture
def event_validator():
    """The validator of an event type's schema, by its name."""
    return validator


@pytest.fixture(autouse=True)
def _only_valid_events() -> Iterator[None]:
    """Whatever event a test lets happen is valid against its published schema."""
    observer = Observer()
    post_save.connect(observer, sender=OutboxEvent)
    yield
    post_save.disconnect(observer, sender=OutboxEvent)
    assert observer.problems() == []
