"""Celery tasks of uploads: each repeats one bounded service until there is nothing left."""

import threading
from collections.abc import Callable
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from uploads.services import retention, run_claims, run_queue
from uploads.workflows import engine

_MOST_ROUNDS = 500  # a run ends; the next tick goes on
_KICK_EXPIRES = 60  # seconds; the sweep has sent others by then
_stopping = threading.Event()


@shared_task
def notify_expiring_files() -> int:
    return _drain(retention.notify_expiring_files)


@shared_task
def expire_files() -> int:
    expired = _drain(retention.expire_files)
    _drain(retention.purge_files)
    return expired


@shared_task
def abort_idle_sessions() -> int:
    return _drain(retention.abort_idle_sessions)


@shared_task
def clean_up_uploads() -> int:
    """What kills left behind."""
    return (
        _drain(retention.remove_leftover_spools)
        + _drain(retention.purge_parts)
        + retention.remove_orphan_spools()
        + _drain(retention.remove_leftover_results)
        + engine.remove_leftover_folders()
    )


def kick(delay: float) -> None:
    """Send the message that makes a worker look for due runs in `delay` seconds."""
    run_workflows.apply_async(countdown=delay or None, expires=delay + _KICK_EXPIRES)


@shared_task
def run_workflows() -> int:
    return engine.run_due(must_stop=_stopping.is_set)


@shared_task
def sweep_runs() -> None:
    """Take up what a killed worker, a silent runner or a lost kick left."""
    _drain(run_claims.sweep)
    if run_claims.is_any_due():
        run_queue.kick()


@shared_task
def purge_runs() -> int:
    return _drain(retention.purge_runs)


@worker_shutting_down.connect
def end_the_runs(**_: Any) -> None:
    """Attempts that are under way are given back, for another worker."""
    _stopping.set()


@worker_ready.connect
def take_up_the_work(**_: Any) -> None:
    """A worker that comes back after a kill need not wait for the sweep."""
    sweep_runs.delay()


def _drain(step: Callable[[], int]) -> int:
    total = 0
    for _ in range(_MOST_ROUNDS):
        done = step()
        total += done
        if done == 0:
            break
    return total
