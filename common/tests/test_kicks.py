from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from common.models import KickLane, OutboxEvent, OutboxKick
from common.outbox import kicks
from common.tests.factories import make_endpoint, make_event

pytestmark = pytest.mark.django_db(transaction=True)


def soon(seconds):
    return timezone.now() + timedelta(seconds=seconds)


def test_a_kick_for_later_is_sent_with_its_delay(sent_kicks):
    kicks.request(soon(60))

    ((lane, delay),) = sent_kicks
    assert lane == KickLane.LATER
    assert 59 < delay <= 60


def test_a_kick_for_later_is_not_repeated_for_the_same_time_or_a_later_one(sent_kicks):
    at = soon(60)

    assert [kicks.request(at), kicks.request(at), kicks.request(soon(90))] == [True, False, False]


def test_an_earlier_retry_gets_a_kick_of_its_own(sent_kicks):
    kicks.request(soon(60))
    kicks.request(soon(5))

    assert len(sent_kicks) == 2


def test_what_is_due_now_does_not_wait_for_a_kick_for_later(sent_kicks):
    kicks.request(soon(60))
    kicks.request(timezone.now())

    assert [lane for lane, _ in sent_kicks] == [KickLane.LATER, KickLane.NOW]


def test_a_kick_that_was_lost_is_sent_again(sent_kicks):
    kicks.request(timezone.now())
    assert not kicks.request(timezone.now())

    OutboxKick.objects.update(at=timezone.now() - kicks.LOST_AFTER - timedelta(seconds=1))

    assert kicks.request(timezone.now())


def test_a_kick_that_could_not_be_sent_blocks_no_other(monkeypatch, sent_kicks):
    def fail(lane, delay):
        raise ConnectionError("no broker")

    with monkeypatch.context() as broken:
        broken.setattr(kicks, "_senders", [fail])
        with pytest.raises(ConnectionError):
            kicks.request(timezone.now())

    assert kicks.request(timezone.now())


def test_a_broker_that_is_down_does_not_fail_the_change(monkeypatch, caplog):
    def fail(lane, delay):
        raise ConnectionError("no broker")

    monkeypatch.setattr(kicks, "_senders", [fail])
    make_endpoint()

    with transaction.atomic():
        make_event()

    assert OutboxEvent.objects.count() == 1
    assert "no broker" in caplog.text


def test_a_kick_whose_sender_was_killed_is_renewed(sent_kicks):
    OutboxKick.objects.create(lane=KickLane.NOW, at=timezone.now())
    assert not kicks.renew_lost()  # it may be on its way
    OutboxKick.objects.update(at=timezone.now() - kicks.LOST_AFTER - timedelta(seconds=1))
    assert kicks.renew_lost()
    assert not kicks.renew_lost()
    assert [lane for lane, _ in sent_kicks] == [KickLane.NOW]


@pytest.mark.parametrize("lane", KickLane)
def test_a_kill_while_a_kick_is_renewed_does_not_hide_that_it_was_lost(
    sent_kicks, monkeypatch, lane
):
    OutboxKick.objects.create(lane=lane, at=timezone.now() - timedelta(minutes=1))
    with monkeypatch.context() as patch:
        patch.setattr(kicks, "_announce", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            kicks.renew_lost()
    assert kicks.renew_lost()
    assert not kicks.renew_lost()
    assert len(sent_kicks) == 1
