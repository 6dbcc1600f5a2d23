"""A database that is gone, for tests that are not in a transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def database_gone(
    *, patience: float = 0.05, host: str = "127.0.0.1", port: int = 1
) -> Iterator[None]:
    """The database is at an address where nobody listens.

    A connection is waited for `patience` seconds; in half of that it is known to be gone.
    """
    with _changed(HOST=host, PORT=str(port), timeout=patience, reconnect_timeout=patience / 2):
        yield


@contextmanager
def few_connections(*, most: int, patience: float) -> Iterator[None]:
    """One is waited for `patience` seconds at first."""
    with _changed(max_size=most, timeout=patience):
        yield


@contextmanager
def _changed(*, HOST: str = "", PORT: str = "", **pool: Any) -> Iterator[None]:  # noqa: N803
    """The settings of the database, for all threads, and those of the pool of connections."""
    settings = connection.settings_dict
    before = dict(settings)
    connection.close()
    connection.close_pool()
    options = settings["OPTIONS"]
    settings["OPTIONS"] = options | {"pool": options["pool"] | pool}
    settings["HOST"] = HOST or settings["HOST"]
    settings["PORT"] = PORT or settings["PORT"]
    try:
        yield
    finally:
        connection.close()
        connection.close_pool()
        settings.update(before)
