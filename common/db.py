"""Database connections, slow work, and what is told of a database that cannot do it."""

from datetime import datetime

from django.db import InterfaceError, OperationalError, connection

from common.errors import DooritoError, InsufficientStorage, ServiceUnavailable

# What psycopg raises when the database went away or lends no connection.
DATABASE_GONE = (OperationalError, InterfaceError)

# Of a database that works: deadlock_detected, serialization_failure, query_canceled (a time limit),
# lock_not_available.
_PASSING = {"40P01", "40001", "57014", "55P03"}
_DISK_FULL = "53100"


def database_now() -> datetime:
    """What time it is for the database, for the rare cases where a statement cannot say `Now()`.

    Times that processes compare with each other's are the database's: machines' clocks differ, and
    are set.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


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


def database_problem(error: Exception) -> DooritoError:
    """What one of DATABASE_GONE means to those who asked for something."""
    code = getattr(error.__cause__, "sqlstate", None)
    if code in _PASSING:
        return ServiceUnavailable(
            "database_busy", "The database could not do it just now; try again.", retry_after=1
        )
    if code == _DISK_FULL:
        return InsufficientStorage(
            "database_full",
            "The disk of the portal's database is full. Its operator has to make room.",
            retry_after=60,
        )
    return ServiceUnavailable(
        "database_unavailable", "The database does not answer; try again.", retry_after=5
    )
