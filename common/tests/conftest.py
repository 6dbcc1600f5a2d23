import pytest
from django.db import connection
from django.utils import timezone

from common.services import kicks


@pytest.fixture
def sent_kicks(monkeypatch):
    """Kicks are noted, as (lane, delay in seconds), and start nothing."""
    sent = []
    monkeypatch.setattr(kicks, "_senders", [lambda *kick: sent.append(kick)])
    return sent


class BrokerTable:
    """Makes rows as Celery's transport leaves them; `age` is the time since they were consumed."""

    def __call__(self, *, visible, age):
        consumed_at = timezone.make_naive(timezone.now() - age) if age else None
        with connection.cursor() as cursor:
            cursor.execute(
                'INSERT INTO kombu_message (id, visible, "timestamp", payload, version)'
                " VALUES ((SELECT count(*) FROM kombu_message), %s, %s, '{}', 1)",
                [visible, consumed_at],
            )

    def count(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM kombu_message")
            return cursor.fetchone()[0]


@pytest.fixture
def broker_table(transactional_db):
    """The transport's message table, which Django does not know and so does not empty."""
    yield BrokerTable()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM kombu_message")
