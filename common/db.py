"""Database connections and slow work."""

from django.db import InterfaceError, OperationalError, connection

# What psycopg raises when the database went away or lends no connection.
DATABASE_GONE = (OperationalError, InterfaceError)


def release_connection() -> None:
    """Give this thread's connection back to the pool before slow work.

    A thread that waits for a slow client must not own a connection meanwhile. Inside a
    transaction nothing happens: the caller means to keep it.
    """
    if not connection.in_atomic_block:
        connection.close()


def renew_connections() -> None:
    """Replace the pooled connections that a restart of the database has cut.

    Called when one was found dead: a check at every lending would cost each query a round trip.
    """
    connection.close()
    if connection.pool:  # type: ignore[attr-defined]  # of PostgreSQL's backend
        connection.pool.check()  # type: ignore[attr-defined]
