"""Celery beat's schedule: written in the settings, kept in step in the database.

The database holds it so that administrators can add tasks of their own and switch ours off.

This file alone touches members of django-celery-beat's scheduler that are not documented
(`_initial_read`, `_heap`): its tests fail where an upgrade changes them.
"""

import logging
import socket
import time
from typing import Any

from celery import Celery
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from boot import heartbeats
from common.db import DATABASE_GONE

# The description of the rows that the code owns: those that it no longer names are deleted.
OURS = "Part of Doorito. Its schedule is set by the code; it can be switched off here."

RETRY_SECONDS = 5.0  # while the database does not answer
_SLACK_SECONDS = 1.0  # that the system may correct its clock by, all the time

logger = logging.getLogger(__name__)


class Scheduler(DatabaseScheduler):
    """django-celery-beat's, which outlives an outage of the database and a clock set back."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._is_set_up = False
        self._clock_offset = _clock_offset()
        self._next_heartbeat = 0.0  # monotonic
        self._name = f"beat@{socket.gethostname()}"
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Nothing yet: the database may not answer, and beat would end. See `tick`."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due; the seconds until the next call."""
        if self._clock_was_set_back():
            logger.warning("The clock was set back: what is due is reckoned anew.")
            self._read_again()
        try:
            if not self._is_set_up:
                sync_schedule(self.app)
                self._is_set_up = True
            self._live()
            return float(super().tick(*args, **kwargs))
        except DATABASE_GONE as exc:
            logger.warning("The database does not answer, next try in %g s: %s", RETRY_SECONDS, exc)
            self._read_again()
            return RETRY_SECONDS

    def close(self) -> None:
        """Beat stops in order."""
        super().close()
        try:
            heartbeats.end(self._name)
        except DATABASE_GONE as exc:
            logger.warning("The heartbeat of %s was not ended: %s", self._name, exc)

    def all_as_schedule(self) -> dict[str, ModelEntry]:
        """The schedule from the database. Its times are compared with this machine's clock."""
        _admit_no_future_runs()
        entries: dict[str, ModelEntry] = super().all_as_schedule()
        return entries

    def _live(self) -> None:
        if time.monotonic() < self._next_heartbeat:
            return
        self._next_heartbeat = time.monotonic() + heartbeats.INTERVAL
        heartbeats.note(self._name, [heartbeats.BEAT])
        heartbeats.forget()

    def _clock_was_set_back(self) -> bool:
        before, self._clock_offset = self._clock_offset, _clock_offset()
        return self._clock_offset < before - _SLACK_SECONDS

    def _read_again(self) -> None:
        self._initial_read = True
        self._heap = None


def sync_schedule(app: Celery) -> None:
    """Make the database's tasks of ours those of the settings; others are left alone."""
    schedule = settings.CELERY_BEAT_SCHEDULE
    with transaction.atomic():
        for name, entry in schedule.items():
            ModelEntry.from_entry(name, app=app, description=OURS, **entry)
        PeriodicTask.objects.filter(description=OURS).exclude(name__in=schedule).delete()


def _admit_no_future_runs() -> None:
    """A last run that lies ahead counts as now: its clock was wrong, or ours was set back.

    Otherwise a task would rest until that time has come again. A task that never ran is reckoned
    from its last change.
    """
    now = timezone.now()
    never_ran = Q(last_run_at=None, start_time=None, date_changed__gt=now)
    PeriodicTask.objects.filter(Q(last_run_at__gt=now) | never_ran).update(last_run_at=now)


def _clock_offset() -> float:
    """Seconds from the start of the monotonic clock to the epoch; less once a clock is set back."""
    return time.time() - time.monotonic()
