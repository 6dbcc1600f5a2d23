"""Celery beat's schedule: written in the settings, kept in step in the database.

The database holds it so that administrators can add tasks of their own and switch ours off.
"""

from celery import Celery
from django.conf import settings
from django.db import transaction
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

# The description of the rows that the code owns: those that it no longer names are deleted.
OURS = "Part of Doorito. Its schedule is set by the code; it can be switched off here."


class Scheduler(DatabaseScheduler):
    def setup_schedule(self) -> None:
        sync_schedule(self.app)


def sync_schedule(app: Celery) -> None:
    """Make the database's tasks of ours those of the settings; others are left alone."""
    schedule = settings.CELERY_BEAT_SCHEDULE
    with transaction.atomic():
        for name, entry in schedule.items():
            ModelEntry.from_entry(name, app=app, description=OURS, **entry)
        PeriodicTask.objects.filter(description=OURS).exclude(name__in=schedule).delete()
