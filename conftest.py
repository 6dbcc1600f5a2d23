"""What all tests share: a database server, and the whole product running."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.conf import settings

from boot import embedded_postgres
from boot.tests.portal import Portal


def pytest_configure(config: pytest.Config) -> None:
    """Run the embedded PostgreSQL during the tests; processes of pytest-xdist share it."""
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
