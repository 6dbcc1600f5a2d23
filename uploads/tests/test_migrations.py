"""Migrations go on beside the portal of before: they hold up nothing, and it can still write."""

from threading import Event

import pytest
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AddConstraint, AddField, AddIndex, CreateModel
from django.db.migrations.operations.base import Operation

from boot import startup
from common.tests.threads import at_once
from uploads.tests.wire import until

FIRST = "0021"  # that had to
BUSY = {"ingestfile", "uploadsession", "uploadpart", "uploadbatch"}


def operations() -> list[tuple[str, Operation]]:
    loader = MigrationLoader(None)
    found = []
    for (app, name), migration in loader.disk_migrations.items():
        if app != "uploads" or name < FIRST:
            continue
        new = {each.name_lower for each in migration.operations if isinstance(each, CreateModel)}
        found += [
            (name, each)
            for each in migration.operations
            if getattr(each, "model_name_lower", None) not in new
        ]
    return found


def test_no_migration_holds_up_a_running_portal():
    for name, operation in operations():
        if isinstance(operation, AddField) and not operation.field.null:
            assert operation.field.has_db_default(), f"{name}: {operation.name}"
        if getattr(operation, "model_name", None) in BUSY:
            assert type(operation) not in {AddIndex, AddConstraint}, (
                f"{name}: {operation.describe()}"
            )


ASKERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND query LIKE '%advisory_lock%'
"""


def askers(cursor: CursorWrapper) -> int:
    cursor.execute(ASKERS)
    return int(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_an_index_is_built_while_another_machine_waits_to_prepare_the_database():
    is_held = Event()

    def build() -> None:
        with startup.only_preparer(), connection.cursor() as cursor:
            is_held.set()
            until(lambda: askers(cursor))
            cursor.execute("CREATE INDEX CONCURRENTLY a_probe ON upload_grant (id)")
            cursor.execute("DROP INDEX a_probe")

    def wait() -> str:
        is_held.wait(20)
        with startup.only_preparer():
            return "prepared"

    assert at_once([build, wait]) == [None, "prepared"]
