"""A database that is gone, for tests that are not in a transaction."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def database_gone(*, patience: float = 0.05) -> Iterator[None]:
    """Nobody listens where the database was; a connection is waited for `patience` seconds."""
    before = connection.settings_dict
    pool = before["OPTIONS"]["pool"] | {"timeout": patience}
    connection.close()
    connection.close_pool()
    connection.settings_dict = before | {
        "HOST": "127.0.0.1",
        "PORT": "1",
        "OPTIONS": before["OPTIONS"] | {"pool": pool},
    }
    try:
        yield
    finally:
        connection.close()
        connection.close_pool()
        connection.settings_dict = before
