"""What all tests share: a database server, and the whole product running."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.conf import settings
from django.db.models.signals import post_save

from boot import embedded_postgres
from boot.tests.portal import Portal
from common.models import OutboxEvent
from uploads.tests.event_validation import Observer, validator


def pytest_configure(config: pytest.Config) -> None:
    """Run the embedded PostgreSQL during the tests; processes of pytest-xdist share it."""
    # Ignored in what a shell starts in the background, and inherited; tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if settings.EMBEDDED_POSTGRES:
        stack = ExitStack()
        config.add_cleanup(stack.close)
        stack.enter_context(embedded_postgres.running(settings.DOORITO_DATA_DIR))


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
