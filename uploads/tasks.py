"""Celery tasks of uploads: each repeats one bounded service until there is nothing left."""

from collections.abc import Callable

from celery import shared_task

from uploads.services import retention

_MOST_ROUNDS = 500  # a run ends; the next tick goes on


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
    return _drain(retention.remove_leftover_spools) + retention.remove_orphan_spools()


def _drain(step: Callable[[], int]) -> int:
    total = 0
    for _ in range(_MOST_ROUNDS):
        done = step()
        total += done
        if done == 0:
            break
    return total
