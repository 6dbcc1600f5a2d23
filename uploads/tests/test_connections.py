"""Slow work owns no database connection: there are fewer of them than threads."""

import io
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
from django.db import connection, transaction

from accounts.tests.factories import principal_of
from common.tests.threads import at_once
from uploads.files.links import LinkKind, link
from uploads.receiving import finalizing
from uploads.storage.local import LocalUploads
from uploads.tests.factories import (
    FILES,
    Api,
    assert_problem,
    body,
    make_session,
    send_parts,
    sha256,
    some_bytes,
)

pytestmark = pytest.mark.django_db(transaction=True)
DATA = some_bytes(40)


class WatchingStream(io.BytesIO):
    """A body that notes whether its reader owns a connection meanwhile."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.owned: list[bool] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.owned.append(connection.connection is not None)
        return super().read(size)


@pytest.fixture
def api() -> Api:
    return Api()


def test_a_part_arrives_without_one(api):
    session = api.session_of(DATA, chunk=40)["session_id"]
    for _ in range(2):  # new, and the same again
        stream = WatchingStream(DATA)
        assert api.put_stream(session, 1, stream, length=40).status_code == 200
        assert set(stream.owned) == {False}


def test_a_file_in_one_request_arrives_without_one(api):
    stream = WatchingStream(DATA)
    reply = api.http.generic(
        "POST",
        "/api/v1/files?filename=a",
        **{"CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "40", "wsgi.input": stream},
    )
    assert reply.json()["sha256"] == sha256(DATA)
    assert set(stream.owned) == {False}


@pytest.mark.parametrize("order", [[*range(2, 41), 1], range(40, 0, -1)])
def test_a_digest_is_computed_and_a_type_detected_without_one(monkeypatch, order):
    owned: list[bool] = []
    original = LocalUploads.reader

    @contextmanager
    def watched(self, key):
        owned.append(connection.connection is not None)
        with original(self, key) as reader:
            yield reader

    monkeypatch.setattr(LocalUploads, "reader", watched)
    session = make_session(DATA, chunk=1)
    send_parts(session, DATA, order=order)
    file = finalizing.finalize_session(
        principal=principal_of(session.created_by), session_id=session.id
    )
    assert file.sha256 == sha256(DATA)
    assert len(owned) >= 2
    assert set(owned) == {False}


def test_content_is_sent_without_one(api):
    url = api.upload(DATA)["content_url"]
    reply = api.http.get(url)
    assert connection.connection is None
    assert b"".join(reply.streaming_content) == DATA


def test_a_link_tells_of_a_database_that_is_gone_as_the_api_does(api):
    path = urlsplit(link(LinkKind.FILE, UUID(api.upload(DATA)["content_url"].split("/")[4]))).path
    api.get(FILES)
    cut_all_connections()
    assert_problem(api.http.get(path), 503, "database_unavailable")
    assert body(api.http.get(path)) == DATA


def test_a_database_that_is_busy_is_not_gone(api, monkeypatch):
    def take_too_long(**_):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 10")
            cursor.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr("uploads.selectors.files_page", take_too_long)
    reply = api.get(FILES)
    assert_problem(reply, 503, "database_busy")
    assert reply["Retry-After"] == "1"


def cut_all_connections():
    """As a restart of the database does."""
    connection.close()
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_after_a_restart_of_the_database_one_request_fails_and_the_next_do_not(api):
    at_once([lambda: api.get(FILES).status_code for _ in range(6)])  # fills the pool
    cut_all_connections()
    assert_problem(api.get(FILES), 503, "database_unavailable")
    assert [api.get(FILES).status_code for _ in range(8)] == [200] * 8
