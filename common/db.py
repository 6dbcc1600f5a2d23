"""Database connections: the time, slow work, and errors of the database."""

from datetime import datetime

from django.db import InterfaceError, OperationalError, connection

from common.errors import DooritoError, InsufficientStorage, ServiceUnavailable

# Raised by psycopg when the database is gone or the pool has no connection.
DATABASE_GONE = (OperationalError, InterfaceError)

# Errors of a running database: deadlock_detected, serialization_failure, query_canceled (a time
# limit), lock_not_available.
_PASSING = {"40P01", "40001", "57014", "55P03"}
_DISK_FULL = "53100"


def database_now() -> datetime:
    """The time of the database's clock, for cases where a statement cannot use `Now()`.

    Times that several processes compare come from the database, because machines' clocks differ.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def release_connection() -> None:
    """Return this thread's connection to the pool before slow work.

    A thread that waits for a slow client must not hold a connection. Does nothing inside a
    transaction.
    """
    if not connection.in_atomic_block:
        connection.close()


def renew_connections() -> None:
    """Replace pooled connections that a restart of the database has broken.

    Called when a broken connection is found: a check before each use would cost a round trip.
    """
    connection.close()
    if connection.pool:  # type: ignore[attr-defined]  # of PostgreSQL's backend
        connection.pool.check()  # type: ignore[attr-defined]


def database_problem(error: Exception) -> DooritoError:
    """The error to show to a user for one of DATABASE_GONE."""
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
