"""The Celery application: `celery -A boot.celery worker`, `celery -A boot.celery beat`."""

import gc
import logging
import os
from contextlib import ExitStack
from dataclasses import asdict
from importlib import import_module
from time import monotonic
from typing import Any

import django
from celery import Celery, signals
from configurations import importer
from django.apps import apps
from django.conf import settings
from kombu.transport import TRANSPORT_ALIASES

from boot import configuration, lifeline
from boot.errors import told_in_one_line
from common import journal
from common.db import DATABASE_GONE
from common.processes import end_with_parent

logger = logging.getLogger(__name__)

SLOW_MILLISECONDS = 1000  # a sweep that took longer is worth a line

configuration.choose("Production")
with told_in_one_line():
    configuration.refuse_unknown()
    importer.install()
    settings.DEBUG  # noqa: B018  (reads them all, before Celery does and hides why it cannot)

TRANSPORT_ALIASES["sqla"] = "boot.broker:Transport"
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")  # Celery's own run, whose outcome it ignores


@signals.import_modules.connect
def _refuse_bad_settings(**_: Any) -> None:
    """Of workers and beat, once; connected before the app, whose own receiver sets Django up.

    The web server imports tasks too, for a page of the admin, and must not end there.
    """
    if apps.ready:
        return
    with told_in_one_line():
        django.setup()
        startup = import_module("boot.startup")
        startup.refuse_bad_settings()
        startup.refuse_unprepared()


app = Celery("doorito")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# The current app is known per thread; without this a web thread would fall back to Celery's own
# default app, whose broker is not ours.
app.set_default()


@signals.worker_init.connect
@signals.beat_init.connect
def _end_with_supervisor(**_: Any) -> None:
    lifeline.end_with_supervisor()


_pulse: Any = None  # of this worker, from when it takes messages


@signals.worker_ready.connect
def _begin_heartbeat(sender: Any, **_: Any) -> None:
    """Once: a worker that found its broker again is ready once more."""
    global _pulse  # noqa: PLW0603
    if _pulse is None:
        queues = sorted(sender.app.amqp.queues.consume_from)
        name = f"{sender.hostname} {','.join(queues)}"
        _pulse = import_module("boot.heartbeats").Pulse(name, queues)
        _pulse.start()


@signals.worker_shutdown.connect
def _end_heartbeat(**_: Any) -> None:
    if _pulse is not None:
        _pulse.stop()


@signals.worker_process_init.connect
def _end_with_worker(**_: Any) -> None:
    end_with_parent()


@signals.worker_process_init.connect
def _spare_the_garbage_collector(**_: Any) -> None:
    """Exempt loaded objects from collection: scanning them costs the dispatcher a third."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@signals.before_task_publish.connect
def _send_origin_along(headers: dict[str, Any], **_: Any) -> None:
    headers.update(asdict(journal.origin()))


# By the task's id: when it was started (monotonic), and what ends with it.
_started: dict[str, tuple[float, ExitStack]] = {}


@signals.task_prerun.connect
def _begin_task(task_id: str, task: Any, **_: Any) -> None:
    stack = ExitStack()
    if not task.request.is_eager:  # else it is a part of the request
        origin = journal.Origin(
            getattr(task.request, "request_id", ""), getattr(task.request, "traceparent", "")
        )
        stack.enter_context(journal.coming_from(origin, task=task.name, task_id=task_id))
    _started[task_id] = (monotonic(), stack)


@signals.task_postrun.connect
def _end_task(
    task_id: str, task: Any, retval: Any = None, state: str | None = None, **_: Any
) -> None:
    """Tell of it, and count it for `/metrics`: also when each sweep was last done."""
    started, stack = _started.pop(task_id, (monotonic(), ExitStack()))
    if task.request.is_eager:
        return
    milliseconds = round((monotonic() - started) * 1000)
    with stack:
        _tell_of_task(task.name, retval, state=str(state), milliseconds=milliseconds)
        try:
            import_module("common.tallies").note_task(
                task.name, succeeded=state == "SUCCESS", milliseconds=milliseconds
            )
        except DATABASE_GONE as exc:
            logger.warning("The task %s was not counted: %s", task.name, exc)


def _tell_of_task(name: str, result: Any, *, state: str, milliseconds: int) -> None:
    """Sweeps come every few seconds; those that found nothing are told of quietly."""
    is_sweep = name in {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    found = result if isinstance(result, int) else None
    is_idle = is_sweep and state == "SUCCESS" and not found and milliseconds < SLOW_MILLISECONDS
    tell = journal.tell_quietly if is_idle else journal.tell
    event = "sweep_done" if is_sweep else "task_done"
    tell(event, outcome=state.lower(), found=found, milliseconds=milliseconds)
