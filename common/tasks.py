"""The Celery tasks that send events: thin, and started by kicks or by beat."""

import multiprocessing
from collections.abc import Callable
from typing import Any

from celery import current_app, shared_task
from celery.signals import worker_ready, worker_shutting_down

from common import audit, broker, tallies
from common.drain import drain
from common.models import KickLane
from common.outbox import events, kicks
from common.webhooks import dispatch, endpoints, health

PURGE_BATCH = 1000
_stopping = multiprocessing.get_context("fork").Event()  # shared with the worker's processes


def kick(lane: KickLane, delay: float) -> None:
    """Send the message that starts a dispatcher run in `delay` seconds."""
    if delay and current_app.conf.task_always_eager:
        return  # tasks that run in place would block: the sweep does this retry
    deliver_events.apply_async(args=[str(lane)], countdown=delay or None)


@shared_task(name="common.tasks.deliver_events")
def deliver_events(lane: str) -> None:
    kicks.withdraw(KickLane(lane))
    dispatch.run(must_stop=_stopping.is_set)


@shared_task(name="common.tasks.sweep_outbox")
def sweep_outbox() -> None:
    """Send what a lost kick or a killed worker left; check failing and expired endpoints."""
    endpoints.remove_expired()
    health.review()
    dispatch.run(must_stop=_stopping.is_set)


@shared_task(name="common.tasks.renew_kicks")
def renew_kicks() -> None:
    kicks.renew_lost()


@shared_task(name="common.tasks.fold_tallies")
def fold_tallies() -> None:
    """Keep what is read for `/metrics` small."""
    drain(tallies.fold)


@worker_shutting_down.connect
def stop_runs(**_: Any) -> None:
    """The worker waits for its processes, which hear of the stop by this alone."""
    _stopping.set()


@worker_ready.connect
def resume_work(**_: Any) -> None:
    """A worker that comes back after a kill need not wait for the sweep: kicks died with it."""
    for lane in KickLane:
        kicks.withdraw(lane)
    sweep_outbox.delay()


@shared_task(name="common.tasks.purge_outbox")
def purge_outbox() -> None:
    """Delete old events, and consumed messages in the broker's table."""
    endpoints.purge_secrets()
    _purge(events.purge_details)
    _purge(events.purge_events)
    _purge(broker.purge_consumed)
    _purge(audit.purge)


def _purge(purge: Callable[[int], int]) -> None:
    while purge(PURGE_BATCH) == PURGE_BATCH:
        pass
