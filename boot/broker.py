"""Celery's transport over PostgreSQL, made to look for messages more often."""

from queue import Empty
from typing import Any

from kombu.transport.sqlalchemy import Channel as SqlChannel
from kombu.transport.sqlalchemy import Transport as SqlTransport
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

_WAITING = text("""
    SELECT 1 FROM kombu_message message JOIN kombu_queue queue ON queue.id = message.queue_id
    WHERE queue.name = :queue AND message.visible LIMIT 1
""")


class Channel(SqlChannel):
    """kombu's, which several processes may open at once and which costs little while idle."""

    _onlooker: Connection | None = None

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002
        """Raises Empty. kombu locks and commits each time it looks: ten times the work of this."""
        if self._onlooker is None:
            engine = self.session.get_bind().execution_options(isolation_level="AUTOCOMMIT")
            self._onlooker = engine.connect()
        if self._onlooker.execute(_WAITING, {"queue": queue}).first() is None:
            if self.session.in_transaction():  # begun by declaring the queue, ended by no look
                self.session.rollback()
            raise Empty
        return super()._get(queue)

    def close(self) -> None:
        super().close()
        if self._onlooker is not None:
            self._onlooker.close()
            self._onlooker = None

    def _get_or_create(self, queue: str) -> Any:
        """Of processes that start at the same moment, one makes the row of a queue.

        kombu looks, then inserts, and does not reckon with another process in between.
        """
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
