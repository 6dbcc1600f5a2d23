"""`doorito up`: the portal's processes, started together, kept running, stopped together.

honcho runs a process and prints its output; unlike honcho's own manager, which ends everything
with the first process that ends, one that dies is started again here.
"""

import os
import queue
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import FrameType

import click
import httpx
from django.conf import settings
from honcho.colour import get_colours
from honcho.printer import Message, Printer
from honcho.process import Process

from boot import embedded_postgres, lifeline, startup
from boot.errors import CannotRunError
from common.processes import allow_descriptors

STOP_TIMEOUT = 15  # seconds until what does not stop is killed
STEADY_AFTER = 30  # seconds of life after which earlier deaths are forgotten
MAX_QUICK_DEATHS = 5  # in a row; then the cause will not go away by itself
FIRST_DELAY = 0.5  # seconds before a restart, doubled with each quick death ...
LONGEST_DELAY = 8.0  # ... up to this
DATABASE_CHECK_INTERVAL = 2.0  # seconds
HEAD_START = 10  # seconds at most that the web server has the machine for itself


def commands() -> dict[str, list[str]]:
    """The portal's processes. The one place that says which web server it is."""
    python = sys.executable
    # As root, which is common in containers, Celery warns at length although it runs no pickles.
    silence = ["-W", "ignore:You're running the worker with superuser"]
    celery = [python, *silence, "-m", "celery", "--app=boot.celery:app", "--quiet"]
    lonely = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    worker = [*celery, "worker", "--loglevel=WARNING", *lonely]
    return {
        "web": [python, "-m", "gunicorn", "--config=python:boot.gunicorn", "boot.wsgi"],
        "worker": [
            *worker,
            "--queues=default",
            "--pool=prefork",
            f"--concurrency={settings.WORKER_CONCURRENCY}",
        ],
        # Threads, for each looks after a process of its own.
        "workflows": [
            *worker,
            "--queues=workflows",
            "--pool=threads",
            f"--concurrency={settings.WORKFLOW_CONCURRENCY}",
        ],
        "beat": [*celery, "beat", "--pidfile=", "--loglevel=WARNING"],
    }


def up() -> None:
    """Prepare and run the portal until SIGINT or SIGTERM. Raises CannotRunError."""
    startup.refuse_bad_settings()
    allow_descriptors()
    with (
        stoppable() as stop_requested,
        startup.only_one(settings.DOORITO_DATA_DIR),
    ):
        startup.refuse_used_port(settings.WEB_PORT)
        with startup.database():
            for prepare in startup.PREPARATIONS:
                if stop_requested.is_set():
                    click.echo("Stopped.")
                    return
                prepare()
            for problem in [*startup.warnings(), *startup.bad_rows()]:
                click.echo(f"Warning: {problem}")
            startup.release_connections()
            Supervisor(commands(), stop_requested=stop_requested).run()


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set instead of ending this process."""
    requested = threading.Event()

    def request(_signum: int, _frame: FrameType | None) -> None:
        requested.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = [signal.signal(number, request) for number in numbers]
    try:
        yield requested
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


@dataclass
class _Service:
    name: str
    command: list[str]
    colour: str
    process_id: int | None = None
    started_at: float = 0.0  # monotonic, as `due_at`
    due_at: float | None = None  # of the next start
    quick_deaths: int = 0


class Supervisor:
    """Runs `commands` by name until `stop_requested` is set."""

    def __init__(self, commands: dict[str, list[str]], *, stop_requested: threading.Event) -> None:
        colours = get_colours()
        self._services = {
            name: _Service(name=name, command=command, colour=next(colours))
            for name, command in commands.items()
        }
        self._stop_requested = stop_requested
        self._events: queue.Queue[Message] = queue.Queue()
        self._printer = Printer(sys.stdout, width=max(map(len, [*commands, "doorito"])))
        self._database_check_at = 0.0

    def run(self) -> None:
        """Raises CannotRunError when a process keeps dying; nothing is left running then."""
        threading.Thread(target=self._announce_when_ready, daemon=True).start()
        for service in self._services.values():
            service.due_at = time.monotonic() + (0 if service.name == "web" else HEAD_START)
        try:
            while not self._stop_requested.is_set():
                self._keep_database_running()
                self._start_due()
                self._handle_event(self._restart)
        finally:
            self._stop()

    # --- Running -----------------------------------------------------------------------------

    def _start_due(self) -> None:
        now = time.monotonic()
        for service in self._services.values():
            if service.due_at is not None and service.due_at <= now:
                service.due_at = None
                service.started_at = now
                self._start(service)

    def _start(self, service: _Service) -> None:
        process = Process(
            # honcho starts a shell; `exec` makes the process itself our child.
            f"exec {shlex.join(service.command)}",
            name=service.name,
            colour=service.colour,
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                lifeline.SUPERVISOR_VARIABLE: str(os.getpid()),
            },
            cwd=str(settings.BASE_DIR),
        )
        # A thread each, and one that lives as long as its process: the kernel takes the end of
        # the thread that started a process for the end of its parent (see boot.lifeline).
        threading.Thread(target=process.run, args=(self._events,), daemon=True).start()

    def _handle_event(self, when_stopped: Callable[[_Service, int], None]) -> None:
        """Wait for one event, shortly, and act on it."""
        try:
            event = self._events.get(timeout=0.1)
        except queue.Empty:
            return
        if event.type == "start":
            self._services[event.name].process_id = event.data["pid"]
        elif event.type == "stop":
            service = self._services[event.name]
            service.process_id = None
            when_stopped(service, event.data["returncode"])
        elif event.type == "ready":
            self._start_rest()
        else:
            self._printer.write(event)

    def _start_rest(self) -> None:
        self._say(f"Doorito is ready: {settings.PUBLIC_URL}/  (Ctrl-C stops it)")
        for service in self._services.values():
            if service.due_at is not None:
                service.due_at = time.monotonic()

    def _restart(self, service: _Service, returncode: int) -> None:
        now = time.monotonic()
        is_quick = now - service.started_at < STEADY_AFTER
        service.quick_deaths = service.quick_deaths + 1 if is_quick else 1
        # One that was killed did not fail: somebody, or the system for want of memory, ended it.
        if service.quick_deaths >= MAX_QUICK_DEATHS and returncode != -signal.SIGKILL:
            raise CannotRunError(
                f"{service.name} keeps stopping ({_reason(returncode)}); its output is above."
            )
        delay = min(FIRST_DELAY * 2 ** (service.quick_deaths - 1), LONGEST_DELAY)
        service.due_at = now + delay
        self._say(f"{service.name} stopped ({_reason(returncode)}), next start in {delay:g} s")

    def _keep_database_running(self) -> None:
        """The embedded server is nobody's child; it is looked after too."""
        now = time.monotonic()
        if settings.EMBEDDED_POSTGRES and now >= self._database_check_at:
            self._database_check_at = now + DATABASE_CHECK_INTERVAL
            if not embedded_postgres.is_running(settings.DOORITO_DATA_DIR):
                self._say("PostgreSQL stopped, starting it again")
                embedded_postgres.start(settings.DOORITO_DATA_DIR)

    # --- Stopping ----------------------------------------------------------------------------

    def _stop(self) -> None:
        self._say("stopping")
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        self._wait_until(deadline)
        self._signal(signal.SIGKILL)
        self._wait_until(time.monotonic() + STOP_TIMEOUT)

    def _wait_until(self, deadline: float) -> None:
        while any(self._running()) and time.monotonic() < deadline:
            self._handle_event(_ignore)

    def _running(self) -> list[int]:
        return [s.process_id for s in self._services.values() if s.process_id is not None]

    def _signal(self, number: signal.Signals) -> None:
        for process_id in self._running():
            try:
                if number == signal.SIGKILL:
                    os.killpg(process_id, number)  # honcho makes each a group of its own
                else:
                    os.kill(process_id, number)
            except ProcessLookupError:
                continue  # it stopped by itself; its event is under way

    # --- Telling -----------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._printer.write(_event("line", "doorito", text))

    def _announce_when_ready(self) -> None:
        address = f"http://127.0.0.1:{settings.WEB_PORT}/healthz/"
        while not self._stop_requested.is_set():
            if _answers(address):
                self._events.put(_event("ready", "web"))
                return
            time.sleep(0.1)


def _answers(address: str) -> bool:
    """Whether the web server serves, its database included."""
    try:
        return httpx.get(address, timeout=5, trust_env=False).status_code < 500
    except httpx.TransportError:
        return False


def _event(kind: str, name: str, text: str = "") -> Message:
    return Message(type=kind, data=text, time=datetime.now(), name=name, colour=None)


def _reason(returncode: int) -> str:
    return f"exit code {returncode}" if returncode >= 0 else signal.Signals(-returncode).name


def _ignore(_service: _Service, _returncode: int) -> None:
    """A process that stops while all are stopped needs nothing."""
