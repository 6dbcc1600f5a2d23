"""The Celery application: `celery -A boot.celery worker`, `celery -A boot.celery beat`."""

import gc
import logging
import os
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
from common.db import DATABASE_GONE
from common.processes import end_with_parent

logger = logging.getLogger(__name__)

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


_started: dict[str, float] = {}  # monotonic, by the task's id


@signals.task_prerun.connect
def _note_start(task_id: str, **_: Any) -> None:
    _started[task_id] = monotonic()


@signals.task_postrun.connect
def _count_task(task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
    """For `/metrics`: also when each sweep was last done."""
    seconds = monotonic() - _started.pop(task_id, monotonic())
    if task.request.is_eager:
        return
    tallies = import_module("common.tallies")
    try:
        tallies.note_task(
            task.name, succeeded=state == "SUCCESS", milliseconds=round(seconds * 1e3)
        )
    except DATABASE_GONE as exc:
        logger.warning("The task %s was not counted: %s", task.name, exc)
