from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.conf import settings as live_settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from boot.beat import OURS, Scheduler, sync_schedule
from boot.celery import app
from common.tests.outage import database_gone

pytestmark = pytest.mark.django_db


def names():
    return set(PeriodicTask.objects.values_list("name", flat=True))


def test_the_database_gets_the_schedule_of_the_settings():
    sync_schedule(app)
    assert names() == set(live_settings.CELERY_BEAT_SCHEDULE)
    task = PeriodicTask.objects.get(name="sweep-outbox")
    assert task.task == "common.tasks.sweep_outbox"
    assert task.interval.every == live_settings.OUTBOX_SWEEP_INTERVAL_MINUTES * 60


def test_what_takes_long_is_not_sent_again_and_again_while_nobody_takes_it():
    sync_schedule(app)
    assert PeriodicTask.objects.get(name="finalize-uploads").expires_ == 30


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
    scheduler.tick()
    assert set(live_settings.CELERY_BEAT_SCHEDULE) == names() == set(scheduler.schedule)


class Recorder(Scheduler):
    """Notes what it would send."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        super().__init__(app=app)

    def apply_entry(self, entry, producer=None) -> None:  # noqa: ARG002
        self.sent.append(entry.name)

    @property
    def producer(self) -> None:
        """None is needed."""

    def run(self) -> list[str]:
        """What is due now."""
        self.sent.clear()
        while self.tick() == 0:
            pass
        self.sync()  # else it would at the end of the process
        return self.sent


MINUTE = timedelta(minutes=1)


@pytest.fixture
def every_minute(settings):
    settings.CELERY_BEAT_SCHEDULE = {"mine": {"task": "a.task", "schedule": 60.0}}


@pytest.mark.django_db(transaction=True)
def test_a_clock_that_is_set_back_by_hours_delays_a_task_by_no_more_than_its_interval(every_minute):
    start = datetime(2030, 1, 1, 12, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        scheduler = Recorder()
        assert scheduler.run() == []
        clock.shift(MINUTE)
        assert scheduler.run() == ["mine"]
        clock.move_to(start - timedelta(hours=5))
        assert scheduler.run() == []
        clock.shift(MINUTE)
        assert scheduler.run() == ["mine"]


@pytest.mark.django_db(transaction=True)
def test_a_last_run_that_lies_ahead_counts_as_now_for_those_that_run_seldom(settings):
    """Although the schedule is read again, every few minutes, before they are due."""
    settings.CELERY_BEAT_SCHEDULE = {"mine": {"task": "a.task", "schedule": 3600.0}}
    sync_schedule(app)
    start = datetime(2030, 1, 1, 12, tzinfo=UTC)
    PeriodicTask.objects.update(last_run_at=start + timedelta(days=100))
    with time_machine.travel(start, tick=False) as clock:
        scheduler = Recorder()
        due = []
        for _ in range(7):
            due.append(list(scheduler.run()))
            clock.shift(10 * MINUTE)
    assert due == [[]] * 6 + [["mine"]]


@pytest.mark.django_db(transaction=True)
def test_a_new_task_of_an_administrator_whose_clock_runs_ahead_is_run(settings):
    settings.CELERY_BEAT_SCHEDULE = {}
    every_minute = IntervalSchedule.objects.create(every=1, period="minutes")
    PeriodicTask.objects.create(name="mine", task="a.task", interval=every_minute)
    start = datetime(2030, 1, 1, 12, tzinfo=UTC)
    PeriodicTask.objects.update(date_changed=start + timedelta(days=100))
    with time_machine.travel(start, tick=False) as clock:
        scheduler = Recorder()
        assert scheduler.run() == []
        clock.shift(MINUTE)
        assert scheduler.run() == ["mine"]


@pytest.mark.django_db(transaction=True)
def test_it_outlives_an_outage_of_the_database_from_its_first_moment_on(every_minute, caplog):
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        with database_gone():
            scheduler = Recorder()
            assert scheduler.tick() == 5
            assert scheduler.tick() == 5
        assert scheduler.run() == []
        clock.shift(10 * MINUTE)
        with database_gone():
            assert scheduler.tick() == 5
        assert scheduler.run() == ["mine"]
    assert "The database does not answer, next try in 5 s" in caplog.text


def test_every_scheduled_task_exists():
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in live_settings.CELERY_BEAT_SCHEDULE.values()}
    assert scheduled <= set(app.tasks)
