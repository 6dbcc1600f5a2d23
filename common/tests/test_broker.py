from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection
from kombu import Connection
from kombu.transport.sqlalchemy import Channel
from kombu.transport.sqlalchemy import models as kombu_models
from sqlalchemy import NullPool, create_engine, inspect

from common import broker

pytestmark = pytest.mark.django_db(transaction=True)


def test_consumed_messages_are_deleted_in_batches(broker_table):
    for _ in range(3):
        broker_table(visible=False, age=timedelta(hours=2))

    assert [broker.purge_consumed(2) for _ in range(3)] == [2, 1, 0]


def test_messages_that_wait_or_were_consumed_just_now_stay(broker_table):
    broker_table(visible=True, age=None)
    broker_table(visible=True, age=timedelta(days=2))
    broker_table(visible=False, age=timedelta(minutes=1))

    assert broker.purge_consumed(10) == 0
    assert broker_table.count() == 3


def test_a_fetch_reads_only_what_waits(broker_table):
    """However many consumed messages there are: the query is the transport's own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO kombu_queue (id, name) VALUES (0, 'other') ON CONFLICT DO NOTHING"
        )
        cursor.execute(
            'INSERT INTO kombu_message (id, visible, "timestamp", payload, version, queue_id)'
            " SELECT n, n > 50000, CASE WHEN n <= 50000 THEN now() END, '{}', 1, 0"
            " FROM generate_series(1, 52000) AS n"
        )
        cursor.execute("ANALYZE kombu_message")
        cursor.execute(
            "EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM kombu_message WHERE queue_id = 0"
            ' AND visible != false ORDER BY "timestamp", id LIMIT 1 FOR UPDATE'
        )
        plan = cursor.fetchone()[0][0]["Plan"]
    while "Plans" in plan:
        (plan,) = plan["Plans"]

    assert plan["Index Name"] == "kombu_message_waiting"
    assert plan["Actual Rows"] == 1


@pytest.fixture
def _disposed_engines():
    """kombu keeps its connections for ever; the test database could not be dropped."""
    yield
    while Channel._engines:
        _, (engine, _) = Channel._engines.popitem()
        engine.dispose()


@pytest.mark.usefixtures("_disposed_engines")
@pytest.mark.filterwarnings("ignore:The ``noload`` loader")  # kombu's
def test_the_transport_finds_its_tables_as_it_would_make_them(broker_table):
    """Then it makes none, and messages go through."""
    own = urlsplit(settings.CELERY_BROKER_URL)._replace(path=f"/{connection.settings_dict['NAME']}")
    engine = create_engine(own.geturl().removeprefix("sqla+"), poolclass=NullPool)
    with Connection(own.geturl(), transport="boot.broker:Transport") as broker_connection:
        queue = broker_connection.SimpleQueue("test-queue")
        queue.put({"n": 1})
        message = queue.get(timeout=5)
        assert message.payload == {"n": 1}
        message.ack()
        queue.close()
        expected = {
            table.name: {column.name: str(column.type) for column in table.columns}
            for table in kombu_models.metadata.sorted_tables
        }
    inspector = inspect(engine)
    for table, columns in expected.items():
        found = {column["name"]: str(column["type"]) for column in inspector.get_columns(table)}
        assert {
            name: kind.replace("DATETIME", "TIMESTAMP") for name, kind in columns.items()
        } == found
    indexes = {index["name"] for index in inspector.get_indexes("kombu_message")}
    assert indexes == {
        "ix_kombu_message_timestamp",
        "ix_kombu_message_timestamp_id",
        "ix_kombu_message_visible",
        "kombu_message_waiting",
    }
