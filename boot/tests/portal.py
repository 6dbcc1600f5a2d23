"""The whole product under test: `./doorito up` with its own data directory, database and port."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
PROCESSES = {"web", "worker", "workflows", "beat"}
# What the configuration Production needs.
PRODUCTION = {
    "DJANGO_SECRET_KEY": "of the test, long enough to be taken for a secret key",
    "DJANGO_ALLOWED_HOSTS": "files.example.com",
    "PORTAL_BASE_URL": "https://files.example.com",
}
# Of the one who runs the tests, none of these may reach the portal.
_FOREIGN = ("DJANGO_", "DOORITO_", "PORTAL_", "FILE_UPLOAD_", "OUTBOX_", "WEB_", "EMAIL_")

# The folder of the data directory that portals begin with, for all processes of a test run.
_PREPARED_FOLDER = "PREPARED_PORTAL_FOLDER"
_PREPARE = """
import configurations
configurations.setup()
from boot import startup
with startup.database():
    startup.migrate()
    startup.collect_static()
"""


class Portal:
    """Starts, stops, kills and inspects one portal; a context manager that leaves nothing.

    `environment` are settings for it, such as `{"PORTAL_CHUNK_SIZE": "1MiB"}`. Unless it is given
    a folder, it begins as one that was installed and never used (see `prepare`).
    """

    admin_email = "admin@example.com"
    admin_password = "correct horse battery"

    def __init__(
        self, *, folder: Path | None = None, environment: dict[str, str] | None = None
    ) -> None:
        self._owned = Path(tempfile.mkdtemp(prefix="doorito-test-")) if folder is None else None
        if self._owned:
            self._owned.chmod(0o711)  # PostgreSQL's account passes through when we are root
        self.folder = folder or self._owned
        self.data_dir = self.folder / "data"
        self.log = self.folder / "portal.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = clean_environment() | {
            "DJANGO_CONFIGURATION": "Local",
            "DOORITO_DATA_DIR": str(self.data_dir),
            "DOORITO_ADMIN_EMAIL": self.admin_email,
            "DOORITO_ADMIN_PASSWORD": self.admin_password,
            "WEB_PORT": str(self.port),
            "WORKER_CONCURRENCY": "1",
            "WORKFLOW_CONCURRENCY": "1",
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._owned:
            self._discard()
            shutil.rmtree(self._owned)
        else:
            self.stop()

    def _discard(self) -> None:
        """End all of it at once: nobody needs its data any more."""
        processes = self.processes
        if not processes:
            self.stop()
            return
        postgres = processes.pop("postgres", None)
        doomed = [*processes["supervisor"].children(recursive=True), processes["supervisor"]]
        processes["supervisor"].suspend()  # or it would start what dies
        for process in doomed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if postgres is not None:
            postgres.send_signal(signal.SIGQUIT)  # what pg_ctl calls immediate
            doomed.append(postgres)
        psutil.wait_procs(doomed, timeout=30)
        self._process.wait(timeout=10)
        self._process = None

    def prepare(self) -> None:
        """Give it a migrated, empty database and its static files, both copied.

        A portal makes them when it first starts, which takes longer than all the rest of a start.
        """
        if self._owned and not self.data_dir.exists() and _PREPARED_FOLDER in os.environ:
            subprocess.run(["cp", "-a", prepared_data_dir(), self.data_dir], check=True)

    def start(self, *, wait: bool = True) -> None:
        self.prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [ROOT / "doorito", "up"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if wait:
            self.wait()

    def wait(self, timeout: float = 120) -> None:
        """Until the web server answers and the workers and beat run."""
        deadline = time.monotonic() + timeout
        while not (self.is_healthy() and self.processes.keys() >= PROCESSES):
            if self._process is None or self._process.poll() is not None:
                raise AssertionError(f"The portal stopped:\n{self.logs()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"The portal is not ready:\n{self.logs()}")
            time.sleep(0.2)

    def stop(self, number: int = signal.SIGTERM) -> int | None:
        """Stop all of it; the exit code. What a SIGKILL leaves is stopped by `sweep`."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(timeout=60)
        self._process = None
        if code < 0:
            self.sweep()
        return code

    def sweep(self) -> None:
        """End the database server that outlives a killed supervisor."""
        self.run("check")  # the last of the server's users stops it

    def kill(self, name: str) -> None:
        """SIGKILL one of `processes`, and wait until it is gone."""
        process = self.processes[name]
        process.kill()
        if name == "supervisor":
            self._process.wait(timeout=10)
        psutil.wait_procs([process], timeout=10)

    @property
    def processes(self) -> dict[str, psutil.Process]:
        """What runs now: supervisor, web (the master), worker, workflows, beat, postgres."""
        if self._process is None or self._process.poll() is not None:
            return {}
        supervisor = psutil.Process(self._process.pid)
        found = {"supervisor": supervisor}
        for child in supervisor.children():
            if name := _name_of(child):
                found[name] = child
        pid_file = self.data_dir / "postgres" / "cluster" / "postmaster.pid"
        if pid_file.exists():
            found["postgres"] = psutil.Process(int(pid_file.read_text().split()[0]))
        return found

    def is_healthy(self) -> bool:
        try:
            return call("GET", f"{self.url}/healthz/", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def logs(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """`./doorito <arguments>` with this portal's settings."""
        return subprocess.run(
            [ROOT / "doorito", *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def manage(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """`manage.py <arguments>` with this portal's settings."""
        return subprocess.run(
            [sys.executable, ROOT / "manage.py", *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


@contextmanager
def sharing_preparations() -> Iterator[None]:
    """Inside the block, portals of this process and its children are prepared once for all."""
    folder = Path(tempfile.mkdtemp(prefix="doorito-test-prepared-"))
    folder.chmod(0o711)
    os.environ[_PREPARED_FOLDER] = str(folder)
    try:
        yield
    finally:
        del os.environ[_PREPARED_FOLDER]
        shutil.rmtree(folder)


def prepared_data_dir() -> Path:
    """The one that others are copied from; the first to ask makes it."""
    folder = Path(os.environ[_PREPARED_FOLDER])
    prepared = folder / "data"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not prepared.exists():
            unfinished = folder / "unfinished"
            subprocess.run(
                [sys.executable, "-c", _PREPARE],
                cwd=ROOT,
                env=clean_environment()
                | {
                    "DJANGO_SETTINGS_MODULE": "boot.settings",
                    "DJANGO_CONFIGURATION": "Local",
                    "DOORITO_DATA_DIR": str(unfinished),
                },
                check=True,
            )
            (unfinished / "secret_key").unlink()  # each makes its own
            unfinished.rename(prepared)
    return prepared


def call(method: str, url: str, **values: Any) -> httpx.Response:
    """A request to this machine. Without `verify` httpx loads all certificates for each."""
    return httpx.request(method, url, trust_env=False, verify=False, **values)  # noqa: S501


def clean_environment() -> dict[str, str]:
    """Ours without settings of Doorito's; a DATABASE_URL from .env is overruled too."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return kept | {"DATABASE_URL": "", "CELERY_BROKER_URL": ""}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _name_of(process: psutil.Process) -> str | None:
    try:
        words = process.cmdline()
    except psutil.Error:
        return None
    if "gunicorn" in words:
        return "web"
    if "--queues=workflows" in words:
        return "workflows"
    return next((name for name in ("worker", "beat") if name in words), None)
