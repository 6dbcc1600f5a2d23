from datetime import timedelta

import pytest
from celery import current_app
from django.conf import settings as django_settings
from django.utils import timezone

from common import tasks
from common.models import KickLane, OutboxEvent, OutboxKick, WebhookDelivery
from common.outbox import kicks
from common.tests.factories import make_delivery, make_endpoint, make_event
from common.tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_event_is_delivered_after_its_commit_where_tasks_run_in_place():
    with Receiver() as receiver:
        make_endpoint(url=receiver.url)
        event = make_event()

        assert [each.headers["webhook-id"] for each in receiver.received] == [str(event.id)]
    assert OutboxEvent.objects.get().status == "delivered"
    assert not OutboxKick.objects.exists()


def test_a_retry_waits_for_the_sweep_where_tasks_run_in_place(settings):
    settings.PORTAL_RETRY_SCHEDULE = [0, 5, 5]
    with Receiver(Answer(status=500)) as receiver:
        make_endpoint(url=receiver.url)
        make_event()
        assert len(receiver.received) == 1

        WebhookDelivery.objects.update(due_at=timezone.now())
        tasks.sweep_outbox.delay()

        assert len(receiver.received) == 2
    assert OutboxEvent.objects.get().status == "delivered"


def test_the_kick_that_started_a_run_is_withdrawn_before_it():
    kicks.request(timezone.now() + timedelta(seconds=60))
    OutboxKick.objects.create(lane=KickLane.NOW, at=timezone.now())

    tasks.deliver_events.delay("now")

    assert [kick.lane for kick in OutboxKick.objects.all()] == ["later"]


@pytest.fixture
def queued():
    """Tasks are not run in place."""
    before = current_app.conf.task_always_eager
    current_app.conf.task_always_eager = False
    yield
    current_app.conf.task_always_eager = before


def test_a_kick_is_a_message_with_its_delay(monkeypatch, queued):
    sent = []
    monkeypatch.setattr(
        tasks.deliver_events, "apply_async", lambda args, countdown: sent.append((args, countdown))
    )

    kicks.request(timezone.now())
    kicks.request(timezone.now() + timedelta(seconds=60))

    assert sent[0] == (["now"], None)
    assert sent[1][0] == ["later"]
    assert 59 < sent[1][1] <= 60


def test_the_sweep_sends_what_a_lost_kick_left():
    with Receiver() as receiver:
        make_delivery(endpoint=make_endpoint(url=receiver.url))

        tasks.sweep_outbox.delay()

        assert len(receiver.received) == 1


def test_a_worker_that_comes_back_takes_up_the_work():
    with Receiver() as receiver:
        make_delivery(endpoint=make_endpoint(url=receiver.url))

        tasks.resume_work()

        assert len(receiver.received) == 1


def test_the_purge_deletes_old_events_and_consumed_messages(settings, monkeypatch, broker_table):
    monkeypatch.setattr(tasks, "PURGE_BATCH", 2)
    settings.OUTBOX_RETENTION_HOURS = -1  # as if it were later: an event's age is in its id
    for _ in range(5):
        make_event()
        broker_table(visible=False, age=timedelta(hours=2))

    tasks.purge_outbox.delay()

    assert not OutboxEvent.objects.exists()
    assert broker_table.count() == 0


def test_beat_knows_the_tasks_by_these_names():
    scheduled = {entry["task"] for entry in django_settings.CELERY_BEAT_SCHEDULE.values()}

    assert {tasks.sweep_outbox.name, tasks.purge_outbox.name} <= scheduled
