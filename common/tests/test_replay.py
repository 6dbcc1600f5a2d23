"""Sending again by hand: the same delivery of the same event, from the first step."""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from common.errors import Conflict, NotFound
from common.ids import uuid7
from common.models import DeliveryStatus, WebhookDelivery, WebhookEndpoint
from common.outbox import events
from common.tests.factories import make_delivery, make_endpoint, make_event, make_older
from common.tests.receiver import Answer, Receiver
from common.tests.threads import at_once, results_and_errors
from common.webhooks import dispatch, endpoints, replay

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent_kicks")]

PENDING, SENDING = DeliveryStatus.PENDING, DeliveryStatus.SENDING
DELIVERED, FAILED = DeliveryStatus.DELIVERED, DeliveryStatus.FAILED
ALL = WebhookDelivery.objects.all()


def make_finished(status, **fields):
    """A delivery whose event is rolled up."""
    delivery = make_delivery(status=status, schedule_step=10, attempt_count=10, **fields)
    events.roll_up([delivery.event_id])
    return delivery


def state(delivery):
    delivery.refresh_from_db()
    delivery.event.refresh_from_db()
    return delivery.status, delivery.schedule_step, delivery.event.status


# --- What failed -----------------------------------------------------------------------------


def test_failed_deliveries_start_again_and_others_do_not():
    failed = [make_finished(FAILED) for _ in range(3)]
    others = [make_finished(status) for status in (DELIVERED, PENDING, SENDING)]

    assert replay.retry_failed(ALL.all()) == 3

    for delivery in failed:
        assert state(delivery) == (PENDING, 0, SENDING)
        assert delivery.attempt_count == 10
        assert delivery.due_at <= timezone.now()
    assert [state(each)[:2] for each in others] == [(DELIVERED, 10), (PENDING, 10), (SENDING, 10)]


def test_only_the_chosen_ones_start_again():
    chosen, other = make_finished(FAILED), make_finished(FAILED)

    assert replay.retry_failed(ALL.filter(id=chosen.id)) == 1

    assert state(other) == (FAILED, 10, FAILED)


def test_what_failed_at_a_disabled_endpoint_stays():
    delivery = make_finished(FAILED, endpoint=make_endpoint(is_active=False))

    assert replay.retry_failed(ALL.all()) == 0

    assert state(delivery) == (FAILED, 10, FAILED)


def test_more_than_a_batch_start_again(monkeypatch):
    monkeypatch.setattr(replay, "LOCK_BATCH", 2)
    for _ in range(5):
        make_finished(FAILED)

    assert replay.retry_failed(ALL.all()) == 5

    assert set(ALL.values_list("status", flat=True)) == {PENDING}


@pytest.mark.django_db(transaction=True)
def test_eight_that_retry_at_once_start_each_delivery_once():
    for _ in range(20):
        make_finished(FAILED)

    started = at_once([partial(replay.retry_failed, ALL.all())] * 8)

    assert sum(started) == 20


@pytest.mark.django_db(transaction=True)
def test_what_fails_again_meanwhile_is_not_started_once_more(monkeypatch):
    """A receiver that refuses at once would be asked on and on while others are still started."""
    monkeypatch.setattr(replay, "LOCK_BATCH", 1)
    with Receiver(default=Answer(status=500)) as receiver:
        endpoint = make_endpoint(url=receiver.url, retry_schedule=[0])
        for _ in range(40):
            make_finished(FAILED, endpoint=endpoint)
        retry = partial(replay.retry_failed, ALL.filter(endpoint=endpoint))

        _, started = at_once([partial(dispatch.run, seconds=5), retry])
        dispatch.run(seconds=5)

        assert started == 40
        assert len(receiver.received) == 40


# --- One delivery ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [FAILED, DELIVERED, PENDING])
def test_a_delivery_is_sent_again_whatever_became_of_it(status):
    delivery = make_finished(status, delivered_at=timezone.now())
    WebhookDelivery.objects.update(due_at=timezone.now() + timedelta(hours=1))

    resent = replay.resend(delivery_id=delivery.id)

    assert resent.id == delivery.id
    assert state(delivery) == (PENDING, 0, SENDING)
    assert delivery.due_at <= timezone.now()
    assert delivery.delivered_at is None


def test_a_delivery_that_is_being_sent_is_let_alone():
    delivery = make_finished(SENDING, lease_id=uuid7())

    with pytest.raises(Conflict) as refused:
        replay.resend(delivery_id=delivery.id)

    assert refused.value.code == "delivery_in_progress"
    assert state(delivery) == (SENDING, 10, SENDING)


def test_nothing_is_sent_again_to_a_disabled_endpoint():
    delivery = make_finished(FAILED, endpoint=make_endpoint(is_active=False))

    with pytest.raises(Conflict) as refused:
        replay.resend(delivery_id=delivery.id)

    assert refused.value.code == "webhook_disabled"
    assert state(delivery) == (FAILED, 10, FAILED)


def test_an_unknown_delivery_is_not_found():
    with pytest.raises(NotFound) as missing:
        replay.resend(delivery_id=uuid7())
    assert missing.value.code == "delivery_not_found"


# --- One event -------------------------------------------------------------------------------


def test_an_event_goes_again_to_all_active_endpoints_that_it_was_meant_for():
    active = [make_endpoint(), make_endpoint()]
    disabled = make_endpoint()
    event = make_event()
    WebhookDelivery.objects.update(status=DELIVERED, schedule_step=1)
    WebhookEndpoint.objects.filter(id=disabled.id).update(is_active=False)
    make_endpoint()  # it was not there

    again = replay.redeliver(event_id=event.id)

    assert [each.endpoint for each in again] == active
    assert {each.status for each in again} == {PENDING}
    assert event.deliveries.get(endpoint=disabled).status == DELIVERED
    assert event.deliveries.count() == 3


def test_an_event_goes_to_one_endpoint_even_when_it_was_not_meant_for_it():
    first = make_endpoint()
    event = make_event()
    other = make_endpoint(event_types=["batch.*"])
    WebhookDelivery.objects.update(status=DELIVERED)

    (delivery,) = replay.redeliver(event_id=event.id, endpoint_id=other.id)

    assert (delivery.endpoint, delivery.status) == (other, PENDING)
    assert event.deliveries.get(endpoint=first).status == DELIVERED


def test_an_event_that_goes_again_is_the_same_delivery():
    delivery = make_finished(DELIVERED)

    for _ in range(2):
        (again,) = replay.redeliver(event_id=delivery.event_id, endpoint_id=delivery.endpoint_id)

    assert again.id == delivery.id
    assert ALL.count() == 1


def test_what_is_being_sent_is_not_started_a_second_time():
    delivery = make_finished(SENDING, lease_id=uuid7())

    (again,) = replay.redeliver(event_id=delivery.event_id)

    assert again.status == SENDING


def test_an_event_does_not_go_to_a_disabled_or_unknown_endpoint():
    event = make_event()
    disabled = make_endpoint(is_active=False)

    with pytest.raises(Conflict) as refused:
        replay.redeliver(event_id=event.id, endpoint_id=disabled.id)
    assert refused.value.code == "webhook_disabled"
    with pytest.raises(NotFound) as missing:
        replay.redeliver(event_id=event.id, endpoint_id=uuid7())
    assert missing.value.code == "webhook_not_found"
    assert not event.deliveries.exists()


def test_an_unknown_event_is_not_found():
    with pytest.raises(NotFound) as missing:
        replay.redeliver(event_id=uuid7())
    assert missing.value.code == "event_not_found"


@pytest.mark.django_db(transaction=True)
def test_an_event_that_an_endpoint_had_not_is_sent_to_it_once_under_a_running_dispatcher():
    """The delivery is made and started in one transaction: no dispatcher comes in between."""
    events = [make_event() for _ in range(200)]
    with Receiver() as receiver:
        endpoint = make_endpoint(url=receiver.url)

        def redeliver(some):
            for event in some:
                replay.redeliver(event_id=event.id, endpoint_id=endpoint.id)

        shares = [partial(redeliver, events[first::4]) for first in range(4)]
        at_once([*shares, *[partial(dispatch.run, seconds=8)] * 2])
        dispatch.run(seconds=8)

        sent = [request.headers["webhook-id"] for request in receiver.received]
        assert sorted(sent) == sorted(str(event.id) for event in events)


@pytest.mark.django_db(transaction=True)
def test_an_event_goes_to_an_endpoint_that_is_removed_meanwhile_or_it_is_not_found():
    for _ in range(10):
        event, endpoint = make_event(), make_endpoint()
        again = partial(replay.redeliver, event_id=event.id, endpoint_id=endpoint.id)
        remove = partial(endpoints.remove_endpoint, endpoint_id=endpoint.id)

        outcomes = results_and_errors([again, remove, again])

        codes = {getattr(each, "code", each) for each in outcomes if isinstance(each, Exception)}
        assert codes <= {"webhook_not_found", "webhook_disabled"}
        assert not event.deliveries.exists()


# --- Together --------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_what_is_started_wakes_the_dispatcher(sent_kicks):
    delivery = make_finished(FAILED)

    replay.resend(delivery_id=delivery.id)

    assert [lane for lane, _ in sent_kicks] == ["now"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", [endpoints.disable, endpoints.remove_endpoint])
def test_sending_again_and_the_endpoints_end_do_not_lock_each_other_out(end):
    """Both change the same deliveries and events: in one order, or one of them would fail."""
    for _ in range(5):
        endpoint = make_endpoint()
        waiting = [make_delivery(endpoint=endpoint) for _ in range(40)]
        again = [partial(replay.redeliver, event_id=delivery.event_id) for delivery in waiting[:10]]
        retry = partial(replay.retry_failed, ALL.filter(endpoint=endpoint))

        outcomes = results_and_errors(
            [partial(end, endpoint_id=endpoint.id), retry, retry, retry, *again]
        )

        assert [each for each in outcomes if isinstance(each, Exception)] == []


@pytest.mark.django_db(transaction=True)
def test_dispatchers_and_sending_again_do_not_lock_each_other_out():
    """A claim gives up what has no attempt left: it locks deliveries, then events."""
    for _ in range(5):
        endpoint = make_endpoint()
        ids = [make_delivery(endpoint=endpoint, schedule_step=99).id for _ in range(30)]
        again = [partial(replay.resend, delivery_id=each) for each in ids[::3]]

        outcomes = results_and_errors([dispatch.run, *again, dispatch.run])

        errors = [each for each in outcomes if isinstance(each, Exception)]
        assert {getattr(each, "code", each) for each in errors} <= {"delivery_in_progress"}


@pytest.mark.django_db(transaction=True)
def test_the_purge_and_what_changes_old_deliveries_do_not_lock_each_other_out(settings):
    """The purge locks events and then their deliveries."""
    settings.OUTBOX_RETENTION_HOURS = 1
    for _ in range(5):
        endpoint = make_endpoint()
        for _ in range(30):
            make_older(make_finished(FAILED, endpoint=endpoint).event, hours=2)

        outcomes = results_and_errors(
            [
                partial(events.purge_events, 20),
                partial(events.purge_events, 20),
                partial(replay.retry_failed, ALL.filter(endpoint=endpoint)),
                partial(endpoints.remove_endpoint, endpoint_id=endpoint.id),
            ]
        )

        assert [each for each in outcomes if isinstance(each, Exception)] == []
