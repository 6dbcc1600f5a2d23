"""`doorito up`: the portal's processes, started together, kept running, stopped together.

honcho runs a process and prints its output; unlike honcho's own manager, which ends everything
with the first process that ends, one that dies is started again here. A start that cannot succeed
is given up; a portal that was ready once is kept up, whatever becomes of its processes.
"""

import os
import queue
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from types import FrameType
from typing import Any

import click
import httpx
from django.conf import settings
from honcho.colour import get_colours
from honcho.printer import Message, Printer
from honcho.process import Process

from boot import embedded_postgres, lifeline, process_report, startup
from boot.errors import CannotRunError
from boot.process_report import ProcessState
from common.processes import allow_descriptors

STOP_TIMEOUT = 15  # seconds until what does not stop is killed
STEADY_AFTER = 30  # seconds of life after which earlier deaths are forgotten
MAX_QUICK_FAILURES = 5  # in a row; a portal that was never ready then gives up
FIRST_DELAY = 0.5  # seconds before a restart, doubled with each quick death ...
LONGEST_DELAY = 30.0  # ... up to this
DATABASE_CHECK_INTERVAL = 2.0  # seconds
HEAD_START = 10  # seconds at most that the web server has the machine for itself
_CANNOT_START = 126  # the exit code that a shell has for it


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
        startup.refuse_used_port()
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
    is_starting: bool = False  # has no process id yet
    has_spoken: bool = False  # since it was started
    deaths: int = 0  # in a row, each within STEADY_AFTER of its start
    failures: int = 0  # those of them that were no kill
    last_stop: str = ""

    @property
    def is_up(self) -> bool:
        is_steady = time.monotonic() - self.started_at >= STEADY_AFTER
        return self.process_id is not None and (self.deaths < 2 or is_steady)


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
        self._database_failures = 0
        self._was_ready = False
        self._reported: dict[str, ProcessState] = {}
        self._report_at = 0.0

    def run(self) -> None:
        """Raises CannotRunError when the portal cannot be started; nothing is left running then."""
        threading.Thread(target=self._announce_when_ready, daemon=True).start()
        for service in self._services.values():
            service.due_at = time.monotonic() + (0 if service.name == "web" else HEAD_START)
        try:
            while not self._stop_requested.is_set():
                self._keep_database_running()
                self._start_due()
                self._report()
                self._handle_event(self._restart)
        finally:
            self._stop()
            with suppress(OSError):
                process_report.remove(settings.DOORITO_DATA_DIR)

    # --- Running -----------------------------------------------------------------------------

    def _start_due(self) -> None:
        now = time.monotonic()
        for service in self._services.values():
            if service.due_at is not None and service.due_at <= now:
                service.due_at = None
                service.started_at = now
                service.is_starting = True
                service.has_spoken = False
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
        try:
            threading.Thread(target=self._run, args=(process,), daemon=True).start()
        except RuntimeError as exc:  # the system has no thread left
            self._cannot_start(service.name, exc)

    def _run(self, process: Process) -> None:
        try:
            process.run(self._events)
        except OSError as exc:  # the system has no process id, memory or descriptor left
            self._cannot_start(process.name, exc)

    def _cannot_start(self, name: str, cause: Exception) -> None:
        self._events.put(_event("line", name, f"cannot be started: {cause}"))
        self._events.put(_event("stop", name, {"returncode": _CANNOT_START}))

    def _handle_event(self, when_stopped: Callable[[_Service, int], None]) -> None:
        """Wait for one event, shortly, and act on it."""
        try:
            event = self._events.get(timeout=0.1)
        except queue.Empty:
            return
        service = self._services[event.name]
        if event.type == "start":
            service.is_starting = False
            service.process_id = event.data["pid"]
        elif event.type == "stop":
            service.is_starting = False
            service.process_id = None
            when_stopped(service, event.data["returncode"])
        elif event.type == "ready":
            self._was_ready = True
            self._start_rest()
        else:
            service.has_spoken = True
            self._print(event)

    def _start_rest(self) -> None:
        self._say(f"Doorito is ready: {settings.PUBLIC_URL}/  (Ctrl-C stops it)")
        for service in self._services.values():
            if service.due_at is not None:
                service.due_at = time.monotonic()

    def _restart(self, service: _Service, returncode: int) -> None:
        now = time.monotonic()
        reason = service.last_stop = _reason(returncode)
        if now - service.started_at >= STEADY_AFTER:
            service.deaths = service.failures = 0
        service.deaths += 1
        # One that was killed did not fail: somebody, or the system for want of memory, ended it.
        if returncode != -signal.SIGKILL:
            service.failures += 1
        if service.failures >= MAX_QUICK_FAILURES and not self._was_ready:
            output = "its output is above" if service.has_spoken else "it printed nothing"
            raise CannotRunError(f"{service.name} keeps stopping ({reason}); {output}.")
        delay = _delay(service.deaths)
        service.due_at = now + delay
        times = f", {service.deaths} times in a row" if service.deaths > 1 else ""
        self._say(f"{service.name} stopped ({reason}{times}), next start in {delay:g} s")

    def _keep_database_running(self) -> None:
        """The embedded server is nobody's child; it is looked after too."""
        if not settings.EMBEDDED_POSTGRES or time.monotonic() < self._database_check_at:
            return
        wait = DATABASE_CHECK_INTERVAL
        if embedded_postgres.is_running(settings.DOORITO_DATA_DIR):
            self._database_failures = 0
        else:
            self._say("PostgreSQL stopped, starting it again")
            try:
                embedded_postgres.start(settings.DOORITO_DATA_DIR)
            except (CannotRunError, OSError) as exc:
                self._database_failures += 1
                wait = _delay(self._database_failures)
                self._say(f"PostgreSQL cannot be started, next try in {wait:g} s: {exc}")
        self._database_check_at = time.monotonic() + wait

    # --- Stopping ----------------------------------------------------------------------------

    def _stop(self) -> None:
        self._say("stopping")
        self._wait_while(lambda: any(s.is_starting for s in self._services.values()))
        self._signal(signal.SIGTERM)
        self._wait_while(self._running)
        self._signal(signal.SIGKILL)
        self._wait_while(self._running)

    def _wait_while(self, condition: Callable[[], object]) -> None:
        """STOP_TIMEOUT at most."""
        deadline = time.monotonic() + STOP_TIMEOUT
        while condition() and time.monotonic() < deadline:
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

    def _report(self) -> None:
        """Tell `/readyz/` which processes are down."""
        states = {
            service.name: ProcessState(service.is_up, service.deaths, service.last_stop)
            for service in self._services.values()
        }
        if states == self._reported and time.monotonic() < self._report_at:
            return
        self._reported = states
        self._report_at = time.monotonic() + process_report.WRITE_INTERVAL
        try:
            process_report.write(settings.DOORITO_DATA_DIR, states)
        except OSError as exc:
            self._say(f"cannot write to the data directory: {exc.strerror}")

    def _say(self, text: str) -> None:
        self._print(_event("line", "doorito", text))

    def _print(self, line: Message) -> None:
        """A terminal that is gone, or a log's disk that is full, is no reason to stop."""
        with suppress(OSError):
            self._printer.write(line)

    def _announce_when_ready(self) -> None:
        address = f"http://{startup.reachable_address()}/healthz/"
        with httpx.Client(timeout=5, trust_env=False) as client:
            while not self._stop_requested.is_set():
                if _answers(client, address):
                    self._events.put(_event("ready", "web"))
                    return
                time.sleep(0.1)


def _answers(client: httpx.Client, address: str) -> bool:
    """Whether the web server serves, its database included."""
    try:
        return client.get(address).status_code < 500
    except httpx.TransportError:
        return False


def _event(kind: str, name: str, data: Any = "") -> Message:
    return Message(type=kind, data=data, time=datetime.now(), name=name, colour=None)


def _delay(failures: int) -> float:
    """Seconds to wait after so many in a row."""
    return min(FIRST_DELAY * 2 ** min(failures - 1, 16), LONGEST_DELAY)


def _reason(returncode: int) -> str:
    return f"exit code {returncode}" if returncode >= 0 else signal.Signals(-returncode).name


def _ignore(_service: _Service, _returncode: int) -> None:
    """A process that stops while all are stopped needs nothing."""
