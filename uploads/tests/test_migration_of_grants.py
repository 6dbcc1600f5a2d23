"""Grants come to a database that has files and sessions already."""

from collections.abc import Iterator
from importlib import import_module

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from accounts.tests.factories import principal_of
from uploads import selectors
from uploads.models import IngestFile, UploadSession
from uploads.receiving import finalizing
from uploads.tests.factories import (
    Guest,
    make_session,
    make_stored,
    send_part,
    some_bytes,
)

pytestmark = pytest.mark.django_db(transaction=True)

GRANTS = "0006_grants"


def migrate(*targets: tuple[str, str]) -> None:
    MigrationExecutor(connection).migrate(list(targets))


@pytest.fixture
def present() -> Iterator[list[tuple[str, str]]]:
    """The newest migrations; they are applied again afterwards."""
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes("uploads")
    yield newest
    migrate(*newest)


def columns(table: str) -> set[str]:
    with connection.cursor() as cursor:
        return {
            column.name for column in connection.introspection.get_table_description(cursor, table)
        }


def test_files_and_open_sessions_of_before_go_on(present):
    data = some_bytes(25)
    stored = make_stored(data)
    session = make_session(data, user=stored.uploaded_by, idempotency_key="k")
    send_part(session, 1, data)
    before = import_module(f"uploads.migrations.{GRANTS}").Migration.dependencies
    migrate(*(each for each in before if each[0] == "uploads"))
    assert "grant_id" not in columns("ingest_file") | columns("upload_session")

    migrate(*present)

    owner = principal_of(stored.uploaded_by)
    assert selectors.get_file(principal=owner, file_id=stored.id).grant is None
    again = make_session(data, user=stored.uploaded_by, idempotency_key="k")
    assert again.id == session.id
    for number in (2, 3):
        send_part(session, number, data)
    file = finalizing.finalize_session(principal=owner, session_id=session.id)
    assert file.sha256 == stored.sha256
    guest = Guest(stored.uploaded_by)
    assert guest.create_session(idempotency_key="k").status_code == 201
    assert UploadSession.objects.filter(idempotency_key="k").count() == 2
    assert IngestFile.objects.filter(grant=guest.grant).count() == 1
