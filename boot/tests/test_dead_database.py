"""A database whose host has gone silent is noticed: by limits of the connections to it."""

import asyncio
import socket
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.db import connection
from psycopg import conninfo, pq

from boot.settings import Base
from common.webhooks.event_loop_db import connected

OURS = {
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


def configured(monkeypatch, url: str) -> Base:
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    return Base()


def liveness(parameters: dict) -> dict[str, str]:
    return {name: str(parameters[name]) for name in OURS if name in parameters}


@pytest.mark.django_db(transaction=True)
def test_all_connections_have_the_limits():
    with connection.cursor():
        assert liveness(connection.connection.info.get_parameters()) == OURS

    async def of_the_event_loop() -> dict[str, str]:
        async with connected() as database:
            return database.info.get_parameters()

    assert liveness(asyncio.run(of_the_event_loop())) == OURS
    broker = parse_qs(urlsplit(settings.CELERY_BROKER_URL).query)
    assert liveness({name: value for name, (value,) in broker.items()}) == OURS


def test_the_address_of_the_database_can_set_others(monkeypatch):
    url = "postgresql://u:p@db.example.org/name?keepalives_idle=60&sslmode=require"
    chosen = configured(monkeypatch, url)
    expected = OURS | {"keepalives_idle": "60"}
    assert liveness(chosen.DATABASES["default"]["OPTIONS"]) == expected
    broker = urlsplit(chosen.CELERY_BROKER_URL)
    assert (broker.scheme, broker.netloc) == ("sqla+postgresql+psycopg", "u:p@db.example.org")
    query = {name: value for name, (value,) in parse_qs(broker.query).items()}
    assert query == expected | {"sslmode": "require"}


def test_they_are_those_of_the_socket():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        begun = pq.PGconn.connect_start(
            conninfo.make_conninfo(host=host, hostaddr=host, port=port, **OURS).encode()
        )
        silent.accept()[0].close()
        give_up = time.monotonic() + 10
        while begun.status == pq.ConnStatus.STARTED and time.monotonic() < give_up:
            begun.connect_poll()
        with socket.fromfd(begun.socket, socket.AF_INET, socket.SOCK_STREAM) as ours:
            found = {
                name: ours.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            }
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        begun.finish()
    assert list(found.values()) == [5, 2, 3, 10_000]
