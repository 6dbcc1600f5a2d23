"""Database connections and slow work."""

from django.db import connection


def release_connection() -> None:
    """Give this thread's connection back to the pool before slow work.

    A thread that waits for a slow client must not own a connection meanwhile. Inside a
    transaction nothing happens: the caller means to keep it.
    """
    if not connection.in_atomic_block:
        connection.close()
