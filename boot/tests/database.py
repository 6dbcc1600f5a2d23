"""The tests' database and files made cheap: nothing is synced, and only what was filled is emptied.

What the tests prove is unchanged. A power failure is no subject of theirs: those that are about
what survives a kill run portals of their own, whose servers are configured as the product's.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection, transaction
from django.test import TransactionTestCase
from psycopg import sql

from boot import embedded_postgres, startup

_MIGRATED = "test_doorito_migrated"
UNSYNCED = ("fsync", "synchronous_commit", "full_page_writes")
# Filled by migrations, never changed by a test.
_KEPT = {model._meta.db_table for model in (ContentType, Permission)}


def stop_syncing(data_dir: Path) -> None:
    """Let the data directory's running server answer before its disk does.

    After a power failure its cluster may be unusable: delete the folder then.
    """
    with psycopg.connect(embedded_postgres.url(data_dir), autocommit=True) as server:
        for name in UNSYNCED:
            server.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(name)))
        server.execute("SELECT pg_reload_conf()")


def forget_migrated() -> None:
    """Drop what `share_migrations` has made; it may be of other migrations than today's."""
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as server:
        _drop(server, _MIGRATED)


def share_migrations() -> None:
    """Let the first process of a test run migrate, and the test databases be copies of that one."""
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as server:
        server.execute("SELECT pg_advisory_lock(hashtext(%s))", [_MIGRATED])
        if not server.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [_MIGRATED]
        ).fetchone():
            _make_migrated(server)
    connection.settings_dict["TEST"]["TEMPLATE"] = _MIGRATED


def _make_migrated(server: psycopg.Connection) -> None:
    unfinished, usual = f"{_MIGRATED}_soon", connection.settings_dict["NAME"]
    _drop(server, unfinished)
    server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(unfinished)))
    connection.settings_dict["NAME"] = unfinished
    try:
        call_command("migrate", interactive=False, verbosity=0)
    finally:
        startup.release_connections()
        connection.settings_dict["NAME"] = usual
    server.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
            *map(sql.Identifier, (unfinished, _MIGRATED))
        )
    )


def _drop(server: psycopg.Connection, name: str) -> None:
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    server.execute(drop.format(sql.Identifier(name)))


def url_of_the_tests() -> str:
    """For other processes that take part in a test."""
    name = connection.settings_dict["NAME"]
    return str(urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}").geturl())


def stop_syncing_files() -> None:
    """In this process. A hundred small tests wait for the disk a thousand times otherwise."""
    os.fsync = lambda fd: None  # noqa: ARG005


def empty_filled_tables_after_tests() -> None:
    """Replace the flush after a transactional test.

    Django's own truncates every table, which makes new files for each table and index, and then
    makes all content types and permissions anew: a hundred times the price.
    """
    TransactionTestCase._fixture_teardown = lambda _: empty_filled_tables()


def empty_filled_tables() -> None:
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    deletions = [
        sql.SQL("DELETE FROM {}").format(sql.Identifier(table))
        for table in sorted(set(tables) - _KEPT)
    ]
    # Foreign keys are checked at the commit, so that the order does not matter.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL doorito.purges_audit = 'on'")  # see common.audit
        cursor.execute(sql.SQL("; ").join(deletions).as_string(None))


def end_other_sessions() -> None:
    """Disconnect everybody else from the test database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    connection.close()
