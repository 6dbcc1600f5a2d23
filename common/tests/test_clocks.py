"""Events and deliveries go by one clock, the database's, whatever a machine's own says."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from common.models import DeliveryStatus, KickLane, OutboxKick, RetiredSecret, WebhookDelivery
from common.outbox import events, kicks
from common.tests.factories import make_delivery, make_endpoint, make_event
from common.tests.receiver import Answer, Receiver
from common.webhooks import claims, dispatch, endpoints, replay
from common.webhooks.health import in_trouble

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent_kicks")]

AHEAD, BEHIND = timedelta(hours=5), timedelta(hours=-5)


@contextmanager
def clock_off(by):
    """A machine whose clock is wrong, while the database's is not."""
    with time_machine.travel(timezone.now() + by):
        yield


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_an_event_of_such_a_machine_is_sent_at_once_by_another(by):
    with Receiver() as receiver:
        make_endpoint(url=receiver.url)
        with clock_off(by):
            event = make_event()
        assert dispatch.run() == 1
        assert receiver.received[0].headers["webhook-id"] == str(event.id)
    assert abs(event.created_at - timezone.now()) < timedelta(minutes=1)


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_a_worker_with_such_a_clock_sends_too_and_tries_again_in_time(by):
    with Receiver(Answer(status=500)) as receiver:
        make_endpoint(url=receiver.url, retry_schedule=[0, 60])
        make_event()
        with clock_off(by):
            assert dispatch.run() == 1
    delivery = WebhookDelivery.objects.get()
    wait = delivery.due_at - timezone.now()
    assert delivery.status == DeliveryStatus.PENDING
    assert timedelta(seconds=45) < wait < timedelta(seconds=75)
    assert abs(delivery.updated_at - timezone.now()) < timedelta(minutes=1)


def test_a_clock_ahead_takes_no_delivery_from_the_worker_that_holds_it():
    held = make_delivery(
        status=DeliveryStatus.SENDING, due_at=timezone.now() + timedelta(minutes=1)
    )
    with clock_off(AHEAD):
        assert dispatch.run() == 0
        claims.fail_undeliverable()
    held.refresh_from_db()
    assert held.status == DeliveryStatus.SENDING


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_what_is_sent_again_by_hand_is_due_at_once(by):
    delivery = make_delivery(endpoint=make_endpoint(), status=DeliveryStatus.FAILED)
    with clock_off(by):
        replay.resend(delivery_id=delivery.id)
    delivery.refresh_from_db()
    assert abs(delivery.due_at - timezone.now()) < timedelta(minutes=1)


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_a_kick_that_such_a_machine_announced_holds_no_other_back(by, sent_kicks):
    with clock_off(by):
        assert kicks.request()
        assert not kicks.renew_lost()
    OutboxKick.objects.update(at=timezone.now() - kicks.LOST_AFTER)
    assert kicks.renew_lost()
    assert [lane for lane, _ in sent_kicks] == [KickLane.NOW] * 2


def test_the_wait_of_a_kick_for_later_is_by_the_clock_of_the_database(sent_kicks):
    at = timezone.now() + timedelta(minutes=1)
    with clock_off(AHEAD):
        kicks.request(at)
    ((lane, delay),) = sent_kicks
    assert (lane, 50 < delay <= 60) == (KickLane.LATER, True)


def test_a_kick_from_before_the_clock_was_set_back_is_replaced(sent_kicks):
    for lane in KickLane:
        OutboxKick.objects.create(lane=lane, at=timezone.now() + timedelta(hours=5))
    assert kicks.request()
    assert kicks.request(timezone.now() + timedelta(minutes=1))
    assert not kicks.request()


def test_a_clock_ahead_purges_nothing_before_its_time():
    make_event()
    with clock_off(timedelta(days=400)):
        assert events.purge_events(10) == 0
        endpoint = endpoints.rotate_secret(endpoint_id=make_endpoint().id)
        endpoints.purge_secrets()
    assert RetiredSecret.objects.filter(endpoint=endpoint).exists()


def test_a_listener_whose_clock_is_behind_keeps_its_endpoint(settings):
    with clock_off(BEHIND):
        endpoint = endpoints.add_endpoint(
            endpoints.EndpointSettings(url="http://127.0.0.1:9/hook"), lifetime=timedelta(minutes=2)
        )
    endpoints.remove_expired()
    endpoint.refresh_from_db()
    assert endpoint.is_active


def test_an_endpoint_is_not_given_up_because_a_clock_is_ahead():
    endpoint = make_endpoint(
        consecutive_failures=10_000, failing_since=timezone.now() - timedelta(minutes=1)
    )
    with clock_off(timedelta(days=400)):
        assert endpoint not in in_trouble()
