import socket

import pytest
from django.db import connection
from django.utils import timezone

from common.outbox import kicks
from common.tests.certificates import make_certificates
from common.tests.receiver import Receiver


@pytest.fixture
def sent_kicks(monkeypatch):
    """Kicks are noted, as (lane, delay in seconds), and start nothing."""
    sent = []
    monkeypatch.setattr(kicks, "_senders", [lambda *kick: sent.append(kick)])
    return sent


class Names(dict):
    """What the system's resolver knows beside numbers: names, and the addresses of each.

    An iterator instead of a list is a name whose addresses change with every look-up.
    """

    def __init__(self):
        super().__init__(localhost=["127.0.0.1"])
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host, port, *_, **__):
        if host not in self:
            return self._real(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        known = self[host]
        addresses = known if isinstance(known, list) else next(known)
        return [
            entry
            for address in addresses
            for entry in self._real(address, port, type=socket.SOCK_STREAM)
        ]


@pytest.fixture
def names(monkeypatch):
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    return names


@pytest.fixture
def secured(tmp_path, settings):
    """Makes a receiver with a certificate for a host, of an authority that the portal trusts."""

    def make(host):
        settings.PORTAL_CA_BUNDLE, chain = make_certificates(tmp_path, host=host)
        return Receiver(certificate=chain)

    return make


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
