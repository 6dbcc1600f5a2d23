from datetime import timedelta

import pytest
from celery import current_app
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

from accounts import services, tasks, throttle
from accounts.models import Throttle
from common.ids import uuid7

pytestmark = pytest.mark.django_db


def make_session(*, age: timedelta = timedelta()) -> str:
    store = SessionStore()
    store["key"] = "value"
    store.create()
    row = Session.objects.filter(session_key=store.session_key)
    row.update(expire_date=timezone.now() + timedelta(minutes=1) - age)
    return store.session_key


def test_expired_sessions_are_deleted_in_batches_and_others_stay(monkeypatch):
    monkeypatch.setattr(services, "SESSION_BATCH", 2)
    kept = make_session()
    for _ in range(5):
        make_session(age=timedelta(hours=1))

    assert tasks.purge_sessions() == 5
    assert [each.session_key for each in Session.objects.all()] == [kept]


def test_a_batch_of_sessions_is_bounded(monkeypatch):
    monkeypatch.setattr(services, "SESSION_BATCH", 2)
    for _ in range(3):
        make_session(age=timedelta(hours=1))

    assert [services.purge_sessions() for _ in range(3)] == [2, 1, 0]


def test_counts_whose_window_is_over_are_deleted_in_batches(monkeypatch):
    monkeypatch.setattr(throttle, "PURGE_BATCH", 2)
    for number in range(5):
        throttle.count_registration(address=f"198.51.100.{number}")
    Throttle.objects.update(window_start=timezone.now() - timedelta(minutes=61))
    throttle.count_registration(address="203.0.113.9")

    assert tasks.purge_throttle() == 5
    assert Throttle.objects.count() == 1


def test_a_link_for_an_account_that_is_gone_is_sent_to_nobody(mailoutbox):
    assert tasks.send_reset_link(str(uuid7())) is False
    assert not mailoutbox


@pytest.mark.parametrize("task", [tasks.purge_sessions, tasks.purge_throttle])
def test_beat_knows_the_tasks_by_these_names(settings, task):
    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert task.name in scheduled
    assert task.name in current_app.tasks
