"""The message table of Celery's SQLAlchemy transport, which never deletes delivered messages."""

from datetime import timedelta

from django.db import connection
from django.utils import timezone

KEEP = timedelta(hours=1)


def purge_consumed(limit: int) -> int:
    """Delete up to `limit` consumed messages; returns how many. 0 with any other transport."""
    # The transport stamps a message with the worker's local time when it is consumed.
    before = timezone.make_naive(timezone.now() - KEEP, timezone.get_default_timezone())
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM kombu_message WHERE id IN (SELECT id FROM kombu_message"
            ' WHERE NOT visible AND "timestamp" < %s LIMIT %s FOR UPDATE SKIP LOCKED)',
            [before, limit],
        )
        return cursor.rowcount
