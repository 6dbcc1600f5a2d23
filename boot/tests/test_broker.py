"""Celery's transport over PostgreSQL."""

from contextlib import nullcontext
from functools import partial
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection
from kombu import Connection
from kombu.transport import sqlalchemy

from boot.broker import Channel, Transport
from common.tests.threads import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader"),  # kombu's
]


def test_processes_that_start_at_once_make_each_queue_once(monkeypatch):
    """Threads, without the lock by which kombu's know of one another, are as processes are."""
    name = connection.settings_dict["NAME"]
    url = urlsplit(settings.CELERY_BROKER_URL)._replace(path=f"/{name}").geturl()
    opened = [Connection(url, transport=Transport) for _ in range(8)]
    channels = [each.channel() for each in opened]
    queues = [f"race-{number}" for number in range(20)]
    try:
        for channel in channels:
            channel._new_queue("warm-up")
        monkeypatch.setattr(sqlalchemy, "_MUTEX", nullcontext())
        for queue in queues:
            at_once([partial(channel._new_queue, queue) for channel in channels])
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM kombu_queue WHERE name LIKE 'race-%'")
            assert cursor.fetchone() == (len(queues),)
    finally:
        for channel in channels:
            channel.session.close()
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM kombu_queue WHERE name LIKE 'race-%' OR name = 'warm-up'")
        while Channel._engines:  # kombu keeps them: the test database could not be dropped
            _, (engine, _) = Channel._engines.popitem()
            engine.dispose()
