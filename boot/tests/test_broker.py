"""Celery's transport over PostgreSQL."""

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from queue import Empty
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection
from kombu import Connection
from kombu.transport import sqlalchemy
from sqlalchemy import event, text

from boot.broker import Channel, Transport
from common.tests.threads import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader"),  # kombu's
]


@pytest.fixture
def channels() -> Iterator[list[Channel]]:
    """Of as many connections."""
    name = connection.settings_dict["NAME"]
    url = urlsplit(settings.CELERY_BROKER_URL)._replace(path=f"/{name}").geturl()
    opened = [Connection(url, transport=Transport).channel() for _ in range(8)]
    yield opened
    for channel in opened:
        channel.session.close()
        channel.close()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM kombu_message")
        cursor.execute("DELETE FROM kombu_queue")
    while Channel._engines:  # kombu keeps them: the test database could not be dropped
        _, (engine, _) = Channel._engines.popitem()
        engine.dispose()


def test_processes_that_start_at_once_make_each_queue_once(channels, monkeypatch):
    """Threads, without the lock by which kombu's know of one another, are as processes are."""
    queues = [f"race-{number}" for number in range(20)]
    for channel in channels:
        channel._new_queue("warm-up")
    monkeypatch.setattr(sqlalchemy, "_MUTEX", nullcontext())
    for queue in queues:
        at_once([partial(channel._new_queue, queue) for channel in channels])
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM kombu_queue WHERE name LIKE 'race-%'")
        assert cursor.fetchone() == (len(queues),)


def test_each_message_goes_to_one_of_those_who_look(channels):
    for channel in channels:
        channel._new_queue("mine")
        channel._new_queue("other")
    for number in range(5):
        channels[0]._put("mine", {"number": number})

    def look(channel: Channel) -> int | None:
        with suppress(Empty):
            return channel._get("mine")["number"]
        return None

    for channel in channels:
        with pytest.raises(Empty):
            channel._get("other")
    taken = at_once([partial(look, channel) for channel in channels])
    taken += [look(channel) for channel in channels]  # who met at a message got none
    assert sorted(number for number in taken if number is not None) == [0, 1, 2, 3, 4]


def test_a_look_at_an_empty_queue_neither_locks_nor_leaves_a_transaction_open(channels):
    channels[0]._new_queue("mine")
    channel = channels[1]
    channel.queue_declare("mine")
    assert len(idle_transactions()) == 1
    with pytest.raises(Empty):
        channel._get("mine")
    with CaptureStatements(channel) as statements, pytest.raises(Empty):
        channel._get("mine")
    assert len(statements) == 1
    assert "FOR UPDATE" not in statements[0]
    assert idle_transactions() == []


def test_a_channel_whose_connection_was_cut_says_so_and_can_be_closed(channels):
    """The worker then opens another, as it does for kombu's own."""
    channel = channels[0]
    channel._new_queue("mine")
    with pytest.raises(Empty):
        channel._get("mine")
    of_the_server = channel._onlooker.scalar(text("SELECT pg_backend_pid()"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [of_the_server])
    with pytest.raises(Transport.connection_errors):
        channel._get("mine")
    channel.close()


def idle_transactions() -> list[tuple[str]]:
    """The last statements of connections that leave a transaction open."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT query FROM pg_stat_activity "
            "WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
        )
        return cursor.fetchall()


class CaptureStatements:
    """What is sent to the database by the engine of a channel; a context manager."""

    def __init__(self, channel: Channel) -> None:
        self._engine = channel.session.get_bind()
        self._statements: list[str] = []

    def __enter__(self) -> list[str]:
        event.listen(self._engine, "before_cursor_execute", self._note)
        return self._statements

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._note)

    def _note(self, _connection, _cursor, statement: str, *_: object) -> None:
        self._statements.append(statement)
