"""The web server's configuration: `gunicorn --config python:boot.gunicorn boot.wsgi`."""

import ctypes
from pathlib import Path
from typing import Any

import configurations

from boot import configuration, metrics_files
from boot.errors import told_in_one_line

configuration.choose("Production")
metrics_files.set_up()
with told_in_one_line():
    configuration.refuse_unknown()
    configurations.setup()

from django.conf import settings  # noqa: E402

from boot import gunicorn_worker, lifeline, startup  # noqa: E402
from common.processes import allow_descriptors, end_with_parent  # noqa: E402

from prometheus_client import multiprocess  # noqa: E402  isort:skip

with told_in_one_line():  # here, before gunicorn loads what may complain at length
    startup.refuse_bad_settings()
    startup.refuse_unprepared()
    startup.refuse_uncollected()

bind = startup.listening_address()
worker_class = "boot.gunicorn_worker.ThreadWorker"
workers = settings.WEB_WORKERS
# An upload holds a thread for as long as it takes, however slow; see boot.places.
threads = settings.WEB_THREADS
# The rest wait for a thread, say nothing yet, or are kept alive.
worker_connections = gunicorn_worker.most_connections(
    threads=settings.WEB_THREADS, descriptors=allow_descriptors()
)
preload_app = True

timeout = 60  # seconds without a sign of life from a worker's main loop, whatever its threads do
graceful_timeout = 8  # seconds that requests under way may take when the server stops
keepalive = 20  # seconds

errorlog = "-"
logger_class = "boot.gunicorn_worker.Logger"
loglevel = "warning"
control_socket_disable = True
if Path("/dev/shm").is_dir():  # noqa: S108  (heartbeat files: on a slow disk they could block)
    worker_tmp_dir = "/dev/shm"  # noqa: S108


# glibc would give each 1 MiB block of a body back to the kernel and fault it in anew (a quarter of
# the speed): mallopt(3) with M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, and M_ARENA_MAX to bound memory.
if hasattr(ctypes.CDLL(None), "mallopt"):
    for option, value in ((-1, 8 * 2**20), (-3, 8 * 2**20), (-8, 4)):
        ctypes.CDLL(None).mallopt(option, value)


def on_starting(_server: Any) -> None:
    lifeline.end_with_supervisor()


def post_fork(_server: Any, _worker: Any) -> None:
    end_with_parent()


def child_exit(_server: Any, worker: Any) -> None:
    """What a process had at the moment is gone with it; what it counted stays."""
    multiprocess.mark_process_dead(worker.pid, path=str(metrics_files.folder))


def on_exit(_server: Any) -> None:
    metrics_files.remove()
