"""Celery tasks of uploads: each repeats one bounded service until there is nothing left."""

import threading
import time
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from common.drain import drain
from uploads.checking import rounds
from uploads.files import moving, notices, retention
from uploads.receiving import abandoned, reading, slots
from uploads.workflows import claims, engine, leftovers, queue, waiting

# Seconds. The sweep has sent others long before; workers' clocks may differ by hours.
_KICK_EXPIRES = 24 * 3600
_FINALIZE_SECONDS = 60.0  # after which no further upload is begun with
_stopping = threading.Event()


@shared_task
def notify_expiring_files() -> int:
    return drain(retention.notify_expiring_files)


@shared_task
def expire_files() -> int:
    expired = drain(retention.expire_files)
    drain(retention.purge_files)
    return expired


@shared_task
def abort_idle_sessions() -> int:
    aborted = drain(abandoned.abort_idle_sessions)
    drain(abandoned.purge_parts)
    return aborted


@shared_task
def close_idle_batches() -> int:
    return drain(retention.close_idle_batches)


@shared_task
def tell_of_guests_files() -> int:
    return drain(notices.send_due)


@shared_task
def clean_up_uploads() -> int:
    """Clean up what killed processes left behind."""
    return (
        drain(abandoned.remove_leftover_spools)
        + abandoned.remove_orphan_spools()
        + drain(leftovers.remove_leftover_results)
        + engine.remove_leftover_folders()
        + drain(moving.remove_left_objects)
    )


@shared_task
def check_storage() -> int:
    """One slice: the next comes in a few minutes."""
    return rounds.check_slice()


@shared_task
def finalize_uploads() -> int:
    """Read through what was uploaded in another order than the file's, have checked what waits for
    it, and store both. What is left after a while is another message's, and all of it that of those
    who do so already, where they are enough.
    """
    until = time.monotonic() + _FINALIZE_SECONDS
    done = more = 0
    with slots.slot() as has_slot:
        while has_slot and (more := reading.finalize_next()) and time.monotonic() < until:
            done += more
    if more:
        kick_finalizing()
    return done + more


def kick_finalizing() -> None:
    finalize_uploads.apply_async(expires=_KICK_EXPIRES)


def kick(delay: float) -> None:
    """Send the message that makes a worker look for due runs in `delay` seconds."""
    run_workflows.apply_async(countdown=delay or None, expires=delay + _KICK_EXPIRES)


@shared_task
def run_workflows() -> int:
    return engine.run_due(must_stop=_stopping.is_set)


@shared_task
def sweep_runs() -> None:
    """Take up what a killed worker, a silent runner or a lost kick left; end what waits long."""
    drain(claims.sweep)
    drain(waiting.give_up_waiting)
    if claims.is_any_due():
        queue.kick()


@shared_task
def purge_runs() -> int:
    return drain(leftovers.purge_runs)


@shared_task
def purge_tombstones() -> int:
    return drain(retention.purge_tombstones)


@worker_shutting_down.connect
def stop_runs(**_: Any) -> None:
    """Give back the attempts that are under way, so that another worker can take them."""
    _stopping.set()


@worker_ready.connect
def resume_work(**_: Any) -> None:
    """A worker that comes back after a kill need not wait for the sweep."""
    sweep_runs.delay()
