"""What is done before the portal's processes start: each step is quick when there is nothing to do.

Every step raises CannotRunError with the one line that the operator needs.
"""

import fcntl
import hashlib
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import psycopg
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core import checks
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from accounts.models import User
from accounts.services import create_user
from boot import embedded_postgres
from boot.errors import CannotRunError
from common.version import VERSION
from uploads.workflows.builtin import install_builtin

DEFAULT_ADMIN_EMAIL = "admin@doorito.local"
_OFFERED = ("boot", "builtin_workflows")  # recorded as a migration is: done, once per database


def refuse_bad_settings() -> None:
    """Run Django's system checks; errors end the start."""
    problems = [problem for problem in checks.run_checks() if problem.is_serious()]
    if said := _said(problems):
        raise CannotRunError(" ".join(said))


def warnings() -> list[str]:
    """What the settings' checks doubt and do not refuse, a line each."""
    return _said(p for p in checks.run_checks(tags=["doorito"]) if not p.is_serious())


def bad_rows() -> list[str]:
    """What the checks find wrong with the contents of a prepared database, a line each."""
    return _said(checks.run_checks(tags=[checks.Tags.database], databases=["default"]))


def _said(problems: Iterable[checks.CheckMessage]) -> list[str]:
    return [
        f"{problem.msg} {problem.hint or ''}".strip()
        for problem in problems
        if not problem.is_silenced()
    ]


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data directory: two portals on one would start, migrate and expire twice."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(data_dir / ".up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise CannotRunError(
            f"Cannot write to the data directory {data_dir}: {exc.strerror}. "
            "Set DOORITO_DATA_DIR to a folder that you own."
        ) from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise CannotRunError(f"Doorito runs with the data directory {data_dir} already.") from exc
    else:
        yield
    finally:
        os.close(lock)


def refuse_used_port(port: int) -> None:
    with socket.socket() as listener:
        # As the web server does: connections of its last run, not yet forgotten, do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as exc:
            raise CannotRunError(
                f"Cannot listen on 127.0.0.1:{port}: {exc.strerror}. Set WEB_PORT to another port."
            ) from exc


@contextmanager
def database() -> Iterator[None]:
    """The database can be used inside the block."""
    if not settings.EMBEDDED_POSTGRES:
        _refuse_unreachable_database()
        yield
        return
    with embedded_postgres.running(settings.DOORITO_DATA_DIR):
        try:
            yield
        finally:
            release_connections()


def _refuse_unreachable_database() -> None:
    """At once: the pool of connections would try for a while, and complain meanwhile."""
    try:
        psycopg.connect(**connection.get_connection_params()).close()
    except psycopg.ProgrammingError as exc:
        raise CannotRunError(f"DATABASE_URL cannot be used: {exc}") from exc
    except psycopg.OperationalError as exc:
        raise CannotRunError(f"The database does not answer: {exc}") from exc


def release_connections() -> None:
    """Close this process's database connections and the threads that keep them."""
    for opened in connections.all(initialized_only=True):
        opened.close()
        opened.close_pool()  # type: ignore[attr-defined]  # of PostgreSQL's backend


def pending_migrations() -> int:
    """How many migrations the database lacks."""
    executor = MigrationExecutor(connections["default"])
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def migrate() -> None:
    if pending_migrations():
        call_command("migrate", interactive=False, verbosity=0)


def collect_static() -> None:
    """Collect, compress and hash the static files, unless they are those of the last time."""
    collected = Path(str(settings.STATIC_ROOT))
    stamp = collected.with_suffix(".stamp")
    fingerprint = _static_fingerprint()
    if collected.is_dir() and stamp.exists() and stamp.read_text() == fingerprint:
        return
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    stamp.write_text(fingerprint)


def _static_fingerprint() -> str:
    """Changes with the name, size or time of any source file, and with how they are stored."""
    digest = hashlib.sha256(f"{VERSION} {settings.STORAGES['staticfiles']}".encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            found = Path(storage.path(name)).stat()
            digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def offer_workflows() -> None:
    """Add the built-in workflows to a new database; those that are deleted later stay away."""
    recorder = MigrationRecorder(connection)
    if _OFFERED in recorder.applied_migrations():
        return
    with transaction.atomic():
        install_builtin()
        recorder.record_applied(*_OFFERED)


def create_first_admin() -> None:
    """Create an administrator if there is none. A generated password is printed, once."""
    if User.objects.filter(is_superuser=True).exists():
        return
    email = settings.DOORITO_ADMIN_EMAIL or DEFAULT_ADMIN_EMAIL
    if User.objects.filter(email__iexact=email).exists():
        raise CannotRunError(
            f"There is no administrator yet, and {email} is an ordinary account. "
            "Set DOORITO_ADMIN_EMAIL to another address."
        )
    password = settings.DOORITO_ADMIN_PASSWORD or secrets.token_urlsafe(12)
    create_user(email=email, password=password, is_staff=True)
    click.echo(f"Created the administrator {email}.")
    if not settings.DOORITO_ADMIN_PASSWORD:
        click.echo(f"Password of {email}, shown this once only: {password}")


PREPARATIONS = (migrate, collect_static, offer_workflows, create_first_admin)  # in this order
