"""Celery's transport over PostgreSQL, made to look for messages more often."""

from typing import Any

from kombu.transport.sqlalchemy import Channel as SqlChannel
from kombu.transport.sqlalchemy import Transport as SqlTransport
from sqlalchemy.exc import IntegrityError


class Channel(SqlChannel):
    """Processes that start at the same moment may all make the row of a queue: one of them does."""

    def _get_or_create(self, queue: str) -> Any:
        """kombu looks, then inserts, and does not reckon with another process in between."""
        try:
            return super()._get_or_create(queue)
        except IntegrityError:
            self.session.rollback()  # of nothing else: a message is added afterwards
            return super()._get_or_create(queue)


class Transport(SqlTransport):
    """Polls ten times a second: an event is on its way within a tenth of a second, not a whole.

    kombu reads this attribute; given as a transport option, it would reach SQLAlchemy's engine,
    which refuses it.
    """

    Channel = Channel
    polling_interval = 0.1  # seconds
