"""The Celery application: `celery -A boot.celery worker`, `celery -A boot.celery beat`."""

import gc
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "boot.settings")
os.environ.setdefault("DJANGO_CONFIGURATION", "Production")

from celery import Celery, signals
from configurations import importer
from kombu.transport import TRANSPORT_ALIASES

from boot import lifeline
from common.processes import end_with_parent

# Celery sets Django up itself, once the settings can be found.
importer.install()

TRANSPORT_ALIASES["sqla"] = "boot.broker:Transport"

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


@signals.worker_process_init.connect
def _end_with_worker(**_: Any) -> None:
    end_with_parent()


@signals.worker_process_init.connect
def _spare_the_garbage_collector(**_: Any) -> None:
    """What was loaded stays: looking through it again and again costs the dispatcher a third."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
