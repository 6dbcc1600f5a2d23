"""What is done before the portal's processes start: each step is quick when there is nothing to do.

Every step raises CannotRunError with the one line that the operator needs.
"""

import fcntl
import hashlib
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click
import psycopg
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core import checks
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.backends.utils import CursorWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from accounts.models import User
from accounts.principals import AT_THE_SHELL
from accounts.services import create_user
from boot import embedded_postgres, lifeline
from boot.errors import CannotRunError, NotYetError
from common import audit
from common.audit import Acting
from common.db import DATABASE_GONE
from common.version import VERSION
from uploads.workflows.builtin import install_builtin

DEFAULT_ADMIN_EMAIL = "admin@doorito.local"
PREPARE = "run `./doorito prepare`"  # what the operator is told
_PREPARING = 0xD0012170  # PostgreSQL's advisory lock
_POLL_SECONDS = 0.2
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


def listening_address() -> str:
    """Where the web server listens, such as 127.0.0.1:8000 or [::1]:8000."""
    return _joined(settings.WEB_HOST)


def reachable_address() -> str:
    """The same as this machine reaches it."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (nothing is bound here)
    return _joined(everywhere.get(settings.WEB_HOST, settings.WEB_HOST))


def _joined(host: str) -> str:
    return f"[{host}]:{settings.WEB_PORT}" if ":" in host else f"{host}:{settings.WEB_PORT}"


def refuse_used_port() -> None:
    family = socket.AF_INET6 if ":" in settings.WEB_HOST else socket.AF_INET
    with socket.socket(family) as listener:
        # As the web server does: connections of its last run, not yet forgotten, do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.WEB_HOST, settings.WEB_PORT))
        except OSError as exc:
            raise CannotRunError(
                f"Cannot listen on {listening_address()}: {exc.strerror}. "
                "Set WEB_PORT to another port, or WEB_HOST to an address of this machine."
            ) from exc


@contextmanager
def database() -> Iterator[None]:
    """The database can be used inside the block."""
    if not settings.EMBEDDED_POSTGRES:
        refuse_unreachable_database()
        yield
        return
    with embedded_postgres.running(settings.DOORITO_DATA_DIR):
        try:
            yield
        finally:
            release_connections()


def refuse_unreachable_database() -> None:
    """At once: the pool of connections would try for a while, and complain meanwhile."""
    try:
        psycopg.connect(**connection.get_connection_params()).close()
    except psycopg.ProgrammingError as exc:
        raise CannotRunError(f"DATABASE_URL cannot be used: {exc}") from exc
    except psycopg.OperationalError as exc:
        raise NotYetError(f"The database does not answer: {exc}") from exc


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
    if _is_static_collected():
        return
    try:
        call_command("collectstatic", interactive=False, clear=True, verbosity=0)
        _static_stamp().write_text(_static_fingerprint())
    except PermissionError as exc:
        raise CannotRunError(
            f"Cannot collect the static files into {settings.STATIC_ROOT}: {exc.strerror}. Let "
            "somebody who may run `./doorito prepare --static-only`, or set DOORITO_STATIC_DIR."
        ) from exc


def _is_static_collected() -> bool:
    stamp = _static_stamp()
    return (
        Path(str(settings.STATIC_ROOT)).is_dir()
        and stamp.exists()
        and stamp.read_text() == _static_fingerprint()
    )


def _static_stamp() -> Path:
    return Path(str(settings.STATIC_ROOT)).with_suffix(".stamp")


def _static_fingerprint() -> str:
    """Changes with the name, size or time of any source file, and with how they are stored."""
    digest = hashlib.sha256(f"{VERSION} {settings.STORAGES['staticfiles']}".encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            found = Path(storage.path(name)).stat()
            # Whole seconds, for images of containers keep no more of a time.
            digest.update(f"{name}\0{found.st_size}\0{int(found.st_mtime)}\n".encode())
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


@contextmanager
def only_preparer() -> Iterator[None]:
    """Wait until no other machine prepares the same database.

    By asking again and again: an index that is built while others write waits for the end of every
    statement, and a statement that waits for the lock would wait for the index.
    """
    with connection.cursor() as cursor:
        while not _try_preparing(cursor):
            time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_PREPARING])


def _try_preparing(cursor: CursorWrapper) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", [_PREPARING])
    return cursor.fetchone() == (True,)


def refuse_unprepared() -> None:
    """Refuse to start a process if nobody has prepared the portal. `doorito up` prepares it.

    A database that does not answer now may do so later; only the embedded one starts for nobody
    but `doorito up`.
    """
    if lifeline.supervisor() is not None:
        return
    try:
        is_prepared = _is_database_prepared()
    except DATABASE_GONE:
        refuse_embedded_database()
        return
    finally:
        release_connections()  # a process that forks must not pass them on
    if not is_prepared:
        raise NotYetError(f"The portal is not prepared: {PREPARE}.")


def refuse_uncollected() -> None:
    """Refuse to start a web server without the static files of its own version."""
    if lifeline.supervisor() is None and not _is_static_collected():
        raise CannotRunError(f"The static files are not collected: {PREPARE}.")


def refuse_embedded_database() -> None:
    """Refuse to start a process by itself on the database that only `doorito up` starts."""
    if settings.EMBEDDED_POSTGRES:
        raise CannotRunError(
            "The embedded database runs together with `./doorito up` only: set DATABASE_URL."
        )


def _is_database_prepared() -> bool:
    is_known = _OFFERED in MigrationRecorder(connection).applied_migrations()
    return is_known and not pending_migrations()  # the costly question last


def prepare() -> None:
    """All preparations, by one machine at a time."""
    with only_preparer():
        for step in PREPARATIONS:
            step()


PREPARATIONS = (migrate, collect_static, offer_workflows, create_first_admin)  # in this order


def acting_at_the_shell() -> AbstractContextManager[None]:
    """What commands do is told so in the audit trail."""
    return audit.acting(lambda: Acting("staff", None, AT_THE_SHELL))
