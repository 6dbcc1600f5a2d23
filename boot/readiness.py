"""What has to work for the portal to do its work, looked at for `/readyz/` and `doorito doctor`."""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from django.conf import settings
from django.db import Error, connection
from django.db.migrations.recorder import MigrationRecorder
from sqlalchemy import text

from boot import heartbeats, startup
from boot.broker import Channel
from boot.celery import app
from common.errors import DooritoError, InsufficientStorage
from common.ids import uuid7
from uploads.files.acceptance import viruses
from uploads.files.acceptance.clamd import ScannerUnavailable
from uploads.storage import storage_for_new
from uploads.storage.base import TellsTrouble

PATIENCE = 5.0  # seconds for one look at what may hang: a disk, a server
FRESH = 2.0  # seconds that what such a look found stands: looking costs more than asking
_SAMPLE = b"doorito"

logger = logging.getLogger(__name__)


class NotReadyError(Exception):
    """`said` is for everybody, `detail` for the operator: what was seen, and what to do."""

    def __init__(self, *said: str, detail: str = "") -> None:
        super().__init__(" ".join(said))
        self.said = said
        self.detail = detail or " ".join(said)


@dataclass(frozen=True)
class Outcome:
    """What came of a check: `problems` are sentences for everybody, none if all is well."""

    name: str
    milliseconds: float
    problems: tuple[str, ...] = ()
    detail: str = ""


type Check = Callable[[], None]  # raises NotReadyError


def look(name: str, check: Check) -> Outcome:
    """Make a check and take its time. What it raises unforeseen is a problem too."""
    started = time.perf_counter()
    problems: tuple[str, ...] = ()
    detail = ""
    try:
        check()
    except NotReadyError as exc:
        problems, detail = exc.said, exc.detail
    except Exception as exc:
        logger.exception("The check %s failed", name)
        problems, detail = (f"The check of {name} failed.",), first_line(exc)
    return Outcome(name, round((time.perf_counter() - started) * 1000, 1), problems, detail)


class Watched:
    """A check that may hang. One look is under way at a time, and its outcome serves for a while.

    So neither many requests nor a disk that never answers tie up threads.
    """

    def __init__(self, name: str, check: Check) -> None:
        self._name = name
        self._check = check
        self._lock = threading.Lock()
        self._looking: Future[Outcome] | None = None
        self._began_at = 0.0  # monotonic, as the next
        self._fresh_until = 0.0

    def outcome(self) -> Outcome:
        looking = self._current()
        try:
            return looking.result(timeout=PATIENCE)
        except TimeoutError:
            waited = time.monotonic() - self._began_at
            said = f"The check of {self._name} has been without an answer for {waited:.0f} s."
            return Outcome(self._name, round(waited * 1000, 1), (said,), said)

    def _current(self) -> Future[Outcome]:
        with self._lock:
            looking = self._looking
            is_over = looking is not None and looking.done()
            if looking is None or (is_over and time.monotonic() >= self._fresh_until):
                looking = self._looking = Future()
                self._began_at = time.monotonic()
                threading.Thread(target=self._look, args=(looking,), daemon=True).start()
        return looking

    def _look(self, looking: Future[Outcome]) -> None:
        outcome = look(self._name, self._check)
        connection.close()  # this thread's own, if it needed one
        self._fresh_until = time.monotonic() + FRESH
        looking.set_result(outcome)


# --- The checks ---------------------------------------------------------------------------------


def _silent_database(exc: Exception) -> NotReadyError:
    said = "The database does not answer"
    return NotReadyError(f"{said}.", detail=f"{said}: {first_line(exc)}")


def database() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as exc:
        raise _silent_database(exc) from exc


class Migrations:
    """Remembers which applied ones were complete: reading all of ours takes a tenth of a second."""

    def __init__(self) -> None:
        self._complete: set[tuple[str, str]] | None = None

    def check(self) -> None:
        try:
            applied = set(MigrationRecorder(connection).applied_migrations())
            if applied != self._complete and not startup.pending_migrations():
                self._complete = applied
        except Error as exc:
            raise _silent_database(exc) from exc
        if applied != self._complete:
            raise NotReadyError(
                "The database lacks migrations.",
                detail=f"The database lacks migrations: {startup.PREPARE}.",
            )


def storage() -> None:
    """Write a few bytes as a file, read them back, delete them; a sweep finds what a kill leaves.

    A full disk is the check `disk`'s to tell.
    """
    store = storage_for_new()
    if isinstance(store.objects, TellsTrouble):
        _ask(store.objects)
    try:
        with store.uploads.put(uuid7().hex, size_bytes=len(_SAMPLE)) as writer:
            writer.write(memoryview(_SAMPLE))
            stored = writer.commit()
            try:
                with store.objects.open(stored) as content:
                    given_back = content.read()
            finally:
                store.objects.delete(stored)
    except InsufficientStorage:
        return
    except (DooritoError, OSError) as exc:
        raise NotReadyError(
            "The storage does not take a file.", detail=f"It takes no upload: {first_line(exc)}"
        ) from exc
    if given_back != _SAMPLE:
        raise NotReadyError("The storage gives back other bytes than it took.")


def scanner() -> None:
    """Whether files can be scanned, where that is asked for: else they wait."""
    try:
        viruses.scanner().ping()
    except ScannerUnavailable as exc:
        raise NotReadyError(
            f"{exc.message} Files wait to be checked.",
            detail=f"{exc.detail}. Files wait to be checked: look at clamd and PORTAL_SCANNER.",
        ) from exc


# Asked by `/readyz/` and `/metrics`.
watched_scanner = Watched("scanner", scanner)


def _ask(objects: TellsTrouble) -> None:
    try:
        objects.check()
    except DooritoError as exc:
        raise NotReadyError(exc.message) from exc


def disk() -> None:
    free = shutil.disk_usage(settings.DOORITO_DATA_DIR).free
    if free <= settings.PORTAL_DISK_RESERVE:
        raise NotReadyError(
            "The disk is full: uploads are refused.",
            detail=f"{gib(free)} are free at {settings.DOORITO_DATA_DIR}, and PORTAL_DISK_RESERVE "
            f"keeps {gib(settings.PORTAL_DISK_RESERVE)}: uploads are refused. Make room.",
        )


def broker() -> None:
    """What Celery's messages go through; it may be another database than the portal's."""
    try:
        with app.connection_for_read() as opened:
            channel: Channel = opened.channel()
            try:
                channel.session.execute(text("SELECT 1"))
            finally:
                channel.session.close()  # or its connection is given back whenever it is collected
                channel.close()
    except Exception as exc:
        raise NotReadyError(
            "The broker does not answer.",
            detail=f"It does not answer, look at CELERY_BROKER_URL: {first_line(exc)}",
        ) from exc


def workers() -> None:
    if not heartbeats.are_expected():
        return
    try:
        missed = heartbeats.problems(heartbeats.read())
    except Error as exc:
        raise _silent_database(exc) from exc
    if missed:
        raise NotReadyError(*missed)


def gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"


def first_line(exc: Exception) -> str:
    return (str(exc) or type(exc).__name__).splitlines()[0]
