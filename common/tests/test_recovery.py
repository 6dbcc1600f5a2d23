"""Recovery: an endpoint gets what it missed or did not take, each event once."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from common.errors import Conflict, NotFound
from common.ids import uuid7
from common.models import DeliveryStatus, OutboxEvent, WebhookDelivery, WebhookEndpoint
from common.outbox.events import Subject
from common.tests.factories import (
    make_delivery,
    make_earlier_endpoint,
    make_endpoint,
    make_event,
    make_older,
)
from common.tests.threads import at_once
from common.webhooks import endpoints, recovery

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent_kicks")]

PENDING, SENDING = DeliveryStatus.PENDING, DeliveryStatus.SENDING
DELIVERED, FAILED = DeliveryStatus.DELIVERED, DeliveryStatus.FAILED


def start(endpoint, *, hours=24):
    recovery.start(endpoint_id=endpoint.id, since=timezone.now() - timedelta(hours=hours))


def advance_to_the_end():
    """How many deliveries each chunk started."""
    chunks = []
    while (started := recovery.advance()) is not None:
        chunks.append(started)
    return chunks


def recover(endpoint, *, hours=24):
    start(endpoint, hours=hours)
    return sum(advance_to_the_end())


def received(endpoint):
    """The events that are on their way to it, or arrived."""
    own = WebhookDelivery.objects.filter(endpoint=endpoint).exclude(status=FAILED)
    return set(OutboxEvent.objects.filter(deliveries__in=own))


def test_what_was_missed_while_disabled_is_sent():
    endpoint = make_endpoint()
    endpoints.disable(endpoint_id=endpoint.id)
    missed = {make_event() for _ in range(3)}
    endpoints.enable(endpoint_id=endpoint.id)

    assert recover(endpoint) == 3  # that it was disabled is news for the others

    assert received(endpoint) == missed
    assert {event.status for event in received(endpoint)} == {PENDING}


def test_what_failed_is_sent_again_from_the_first_step():
    failed = make_delivery(status=FAILED, schedule_step=10, attempt_count=10)

    assert recover(failed.endpoint) == 1

    failed.refresh_from_db()
    assert (failed.status, failed.schedule_step, failed.attempt_count) == (PENDING, 0, 10)
    assert failed.due_at <= timezone.now()
    failed.event.refresh_from_db()
    assert failed.event.status == SENDING


def test_what_happened_before_the_endpoint_was_added_was_not_missed_by_it():
    before = make_older(make_event(), hours=2)
    endpoint = make_older(make_endpoint(), hours=1)
    missed = make_older(make_event(), hours=0.5)
    WebhookDelivery.objects.all().delete()

    assert recover(endpoint) == 1

    assert received(endpoint) == {missed}
    assert not before.deliveries.exists()


def test_what_failed_is_sent_again_although_it_is_older_than_the_endpoint():
    """It was sent there by hand."""
    failed = make_delivery(status=FAILED)
    make_older(failed.event, hours=1)

    assert recover(failed.endpoint) == 1


@pytest.mark.parametrize("status", [PENDING, SENDING, DELIVERED])
def test_what_arrived_or_is_on_its_way_stays_as_it_is(status):
    delivery = make_delivery(status=status, schedule_step=2, lease_id=uuid7())
    before = WebhookDelivery.objects.values().get()

    assert recover(delivery.endpoint) == 0

    assert WebhookDelivery.objects.values().get() == before


def test_only_events_since_the_time_are_sent():
    old = make_older(make_event(), hours=3)
    young = make_older(make_event(), hours=1)
    endpoint = make_earlier_endpoint()

    recover(endpoint, hours=2)

    assert received(endpoint) == {young}
    recover(endpoint, hours=4)
    assert received(endpoint) == {old, young}


def test_what_happens_after_the_start_is_delivered_by_itself():
    endpoint = make_endpoint()
    start(endpoint)
    event = make_event()

    assert advance_to_the_end() == [0]

    assert event.deliveries.count() == 1


def test_only_what_passes_the_filters_is_sent():
    user = uuid7()
    wanted = make_event(subject=Subject(user_id=user, content_type="image/png"))
    make_event(subject=Subject(user_id=user, content_type="text/plain"))
    make_event(subject=Subject(content_type="image/png"))
    make_event(event_type="file.deleted", subject=Subject(user_id=user, content_type="image/png"))
    endpoint = make_earlier_endpoint(
        event_types=["file.uploaded"], content_types=["image/*"], user_id=user
    )

    assert recover(endpoint) == 1

    assert received(endpoint) == {wanted}


def test_what_failed_is_sent_again_although_the_filters_have_changed():
    """It was meant for the endpoint when it happened."""
    failed = make_delivery(endpoint=make_endpoint(event_types=["batch.*"]), status=FAILED)

    assert recover(failed.endpoint) == 1


def test_tests_are_not_repeated_and_not_sent_to_others():
    failed = make_delivery(status=FAILED)
    OutboxEvent.objects.update(event_type="webhook.test")
    other = make_earlier_endpoint()

    assert recover(failed.endpoint) == 0
    assert recover(other) == 0

    failed.refresh_from_db()
    assert failed.status == FAILED
    assert not other.deliveries.exists()


def test_other_endpoints_get_nothing():
    other = make_delivery(status=FAILED)
    endpoint = make_earlier_endpoint()

    recover(endpoint)

    other.refresh_from_db()
    assert other.status == FAILED


def test_many_events_are_looked_at_in_chunks_and_each_is_sent_once(monkeypatch):
    events = {make_event() for _ in range(12)}
    endpoint = make_earlier_endpoint()
    monkeypatch.setattr(recovery, "CHUNK", 5)
    start(endpoint)

    assert advance_to_the_end() == [5, 5, 2]

    assert received(endpoint) == events
    assert endpoint.deliveries.count() == 12
    endpoint.refresh_from_db()
    assert (endpoint.recovery_after, endpoint.recovery_until) == (None, None)


def test_more_events_than_a_chunk_holds():
    events = [
        OutboxEvent(
            event_type="file.deleted",
            idempotency_key=str(number),
            aggregate_type="file",
            aggregate_id=uuid7(),
            payload={},
            status=DELIVERED,
        )
        for number in range(2 * recovery.CHUNK + 1)
    ]
    OutboxEvent.objects.bulk_create(events)
    endpoint = make_earlier_endpoint()

    assert recover(endpoint) == len(events)

    assert endpoint.deliveries.count() == len(events)


def test_a_chunk_that_is_just_full_is_not_taken_for_the_last(monkeypatch):
    for _ in range(4):
        make_event()
    endpoint = make_earlier_endpoint()
    monkeypatch.setattr(recovery, "CHUNK", 2)

    assert recover(endpoint) == 4


def test_a_worker_that_dies_in_a_chunk_leaves_it_to_the_next(monkeypatch):
    for _ in range(4):
        make_event()
    endpoint = make_earlier_endpoint()
    monkeypatch.setattr(recovery, "CHUNK", 2)
    start(endpoint)
    recovery.advance()

    with pytest.raises(KeyboardInterrupt), transaction.atomic():
        recovery.advance()
        raise KeyboardInterrupt

    assert endpoint.deliveries.count() == 2
    assert advance_to_the_end() == [2, 0]
    assert endpoint.deliveries.count() == 4


@pytest.mark.django_db(transaction=True)
def test_workers_at_the_same_time_send_everything_once(monkeypatch):
    monkeypatch.setattr(recovery, "CHUNK", 3)
    events = {make_event() for _ in range(30)}
    both = [make_earlier_endpoint(), make_earlier_endpoint()]
    for endpoint in both:
        start(endpoint)

    def work():
        started = 0
        while WebhookEndpoint.objects.filter(recovery_after__isnull=False).exists():
            started += recovery.advance() or 0
        return started

    assert sum(at_once([work] * 4)) == 60

    for endpoint in both:
        assert received(endpoint) == events
        assert endpoint.deliveries.count() == 30


@pytest.mark.django_db(transaction=True)
def test_a_recovery_that_another_worker_is_at_is_left_to_it():
    make_event()
    start(make_earlier_endpoint())

    def advance_without_waiting():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '10s'")
            return recovery.advance()

    with transaction.atomic():
        recovery.advance()  # not committed: it holds the endpoint
        assert at_once([advance_without_waiting]) == [None]


def test_an_endpoint_that_is_disabled_midway_gets_no_more(monkeypatch):
    for _ in range(4):
        make_event()
    endpoint = make_earlier_endpoint()
    monkeypatch.setattr(recovery, "CHUNK", 2)
    start(endpoint)
    recovery.advance()

    endpoints.disable(endpoint_id=endpoint.id)

    assert advance_to_the_end() == [0]
    assert set(endpoint.deliveries.values_list("status", flat=True)) == {FAILED}
    assert endpoint.deliveries.count() == 2
    endpoint.refresh_from_db()
    assert endpoint.recovery_after is None


def test_starting_again_looks_at_everything_again():
    failed = make_delivery(status=FAILED)
    recover(failed.endpoint)
    WebhookDelivery.objects.update(status=FAILED)

    assert recover(failed.endpoint) == 1


def test_one_endpoints_recovery_can_be_advanced_alone():
    make_event()
    one, other = make_earlier_endpoint(), make_earlier_endpoint()
    start(one)

    assert recovery.advance(endpoint_id=other.id) is None
    assert recovery.advance(endpoint_id=one.id) == 1


def test_an_endpoint_that_is_disabled_cannot_recover():
    endpoint = make_endpoint(is_active=False)

    with pytest.raises(Conflict) as refused:
        start(endpoint)

    assert refused.value.code == "webhook_disabled"
    assert recovery.advance() is None


def test_an_unknown_endpoint_is_not_found():
    with pytest.raises(NotFound) as missing:
        recovery.start(endpoint_id=uuid7(), since=timezone.now())
    assert missing.value.code == "webhook_not_found"


@pytest.mark.django_db(transaction=True)
def test_a_start_and_what_it_starts_wake_the_dispatcher(sent_kicks):
    make_event()
    endpoint = make_endpoint()

    start(endpoint)
    assert [lane for lane, _ in sent_kicks] == ["now"]

    from_start = len(sent_kicks)
    recovery.advance()
    assert len(sent_kicks) == from_start  # that kick is still under way
