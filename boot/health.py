"""Whether the portal works, for load balancers, monitors and people.

`/healthz/` asks whether requests can be served, `/readyz/` whether everything does its work. The
details of a failure are in the log only.
"""

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.db import Error, connection
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from boot import lifeline, process_report, startup
from boot.process_report import ProcessState
from common.errors import DooritoError
from common.version import VERSION
from uploads.storage import storage_for_new
from uploads.storage.base import TellsTrouble

logger = logging.getLogger(__name__)


class HealthMiddleware:
    """Answers before the host name is looked at: load balancers probe by address, not by name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return _VIEWS.get(request.path_info, self._get_response)(request)


@never_cache
@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """200 when requests can be served, else 503."""
    is_up = _database_answers()
    return JsonResponse(
        {
            "status": "ok" if is_up else "unavailable",
            "database": "ok" if is_up else "unreachable",
            "version": VERSION,
        },
        status=200 if is_up else 503,
    )


@never_cache
@require_safe
def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when nothing is known to be wrong, else 503 with `problems`, a sentence each."""
    is_up = _database_answers()
    migrations = _migrations.state() if is_up else "unknown"
    supervisor = lifeline.supervisor()
    states = _process_states(supervisor)
    problems = [_DATABASE_PROBLEMS[migrations]] if migrations in _DATABASE_PROBLEMS else []
    if supervisor is not None and not states:
        problems.append("The supervisor does not tell which processes run.")
    problems += _store.problems()
    problems += [_process_problem(name, state) for name, state in states.items() if not state.is_up]
    return JsonResponse(
        {
            "status": "unavailable" if problems else "ok",
            "database": "ok" if is_up else "unreachable",
            "migrations": migrations,
            "processes": {name: "up" if state.is_up else "down" for name, state in states.items()},
            "problems": problems,
            "version": VERSION,
        },
        status=503 if problems else 200,
    )


_DATABASE_PROBLEMS = {
    "unknown": "The database does not answer.",
    "missing": "The database lacks migrations.",
}


def _process_problem(name: str, state: ProcessState) -> str:
    if not state.last_stop:
        return f"{name} has not started yet."
    times = "once" if state.stops_in_a_row == 1 else f"{state.stops_in_a_row} times in a row"
    return f"{name} is down. It has stopped {times}, at last with {state.last_stop}."


_VIEWS: dict[str, Callable[[HttpRequest], HttpResponseBase]] = {
    "/healthz/": healthz,
    "/healthz": healthz,
    "/readyz/": readyz,
    "/readyz": readyz,
}


def _process_states(supervisor: int | None) -> dict[str, ProcessState]:
    """By name; none when the processes are looked after by somebody else."""
    if supervisor is None:
        return {}
    return process_report.read(settings.DOORITO_DATA_DIR, supervisor=supervisor) or {}


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as exc:
        logger.error("The database does not answer: %s", exc)
        return False
    return True


class _Store:
    """Asks the store of new uploads, if it can tell, and remembers its answer for a while."""

    _SECONDS = 10.0

    def __init__(self) -> None:
        self._asked_at = -self._SECONDS
        self._problems: list[str] = []

    def problems(self) -> list[str]:
        objects = storage_for_new().objects
        if not isinstance(objects, TellsTrouble):
            return []
        if time.monotonic() - self._asked_at >= self._SECONDS:
            self._problems = _trouble_of(objects)
            self._asked_at = time.monotonic()
        return self._problems


def _trouble_of(objects: TellsTrouble) -> list[str]:
    try:
        objects.check()
    except DooritoError as exc:
        return [exc.message]
    return []


_store = _Store()


class _Migrations:
    """Remembers which applied ones were complete: reading all of ours takes a tenth of a second."""

    def __init__(self) -> None:
        self._complete: set[tuple[str, str]] | None = None

    def state(self) -> str:
        try:
            applied = set(MigrationRecorder(connection).applied_migrations())
            if applied != self._complete and not startup.pending_migrations():
                self._complete = applied
        except Error as exc:
            logger.error("The database does not answer: %s", exc)
            return "unknown"
        return "ok" if applied == self._complete else "missing"


_migrations = _Migrations()
