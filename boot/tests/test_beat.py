import pytest
from django.conf import settings as live_settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from boot.beat import OURS, Scheduler, sync_schedule
from boot.celery import app

pytestmark = pytest.mark.django_db


def names():
    return set(PeriodicTask.objects.values_list("name", flat=True))


def test_the_database_gets_the_schedule_of_the_settings():
    sync_schedule(app)
    assert names() == set(live_settings.CELERY_BEAT_SCHEDULE)
    task = PeriodicTask.objects.get(name="sweep-outbox")
    assert task.task == "common.tasks.sweep_outbox"
    assert task.interval.every == live_settings.OUTBOX_SWEEP_INTERVAL_MINUTES * 60


def test_a_changed_interval_is_taken_over(settings):
    sync_schedule(app)
    changed = {"task": "common.tasks.sweep_outbox", "schedule": 42.0}
    settings.CELERY_BEAT_SCHEDULE = {"sweep-outbox": changed}
    sync_schedule(app)
    assert PeriodicTask.objects.get(name="sweep-outbox").interval.every == 42


def test_an_entry_that_left_the_code_leaves_the_database(settings):
    sync_schedule(app)
    rest = dict(settings.CELERY_BEAT_SCHEDULE)
    del rest["sweep-outbox"]
    settings.CELERY_BEAT_SCHEDULE = rest
    sync_schedule(app)
    assert names() == set(rest)


def test_tasks_of_administrators_stay():
    every_hour = IntervalSchedule.objects.create(every=1, period="hours")
    PeriodicTask.objects.create(name="theirs", task="some.task", interval=every_hour)
    sync_schedule(app)
    assert "theirs" in names()
    assert PeriodicTask.objects.get(name="theirs").description != OURS


def test_a_task_that_was_switched_off_stays_off():
    sync_schedule(app)
    PeriodicTask.objects.filter(name="sweep-outbox").update(enabled=False)
    sync_schedule(app)
    assert not PeriodicTask.objects.get(name="sweep-outbox").enabled


@pytest.mark.django_db(transaction=True)
def test_the_scheduler_syncs_when_it_starts():
    assert live_settings.CELERY_BEAT_SCHEDULER == "boot.beat:Scheduler"
    scheduler = Scheduler(app=app)
    assert set(live_settings.CELERY_BEAT_SCHEDULE) == names() == set(scheduler.schedule)


def test_every_scheduled_task_exists():
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in live_settings.CELERY_BEAT_SCHEDULE.values()}
    assert scheduled <= set(app.tasks)
