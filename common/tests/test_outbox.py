import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import transaction
from django.utils import timezone

from common.ids import uuid7
from common.models import (
    DeliveryStatus,
    OutboxEvent,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from common.outbox import envelopes, kicks
from common.outbox import events as outbox
from common.outbox.events import Subject
from common.tests.factories import (
    make_attempt,
    make_delivery,
    make_endpoint,
    make_event,
    make_older,
    make_payload,
)
from common.tests.threads import at_once
from common.webhooks import endpoints

PENDING, SENDING = DeliveryStatus.PENDING, DeliveryStatus.SENDING
DELIVERED, FAILED = DeliveryStatus.DELIVERED, DeliveryStatus.FAILED


@pytest.mark.django_db(transaction=True)
def test_emitting_outside_a_transaction_is_an_error():
    with pytest.raises(RuntimeError):
        outbox.emit_event(
            event_type="file.uploaded",
            idempotency_key="k",
            aggregate_type="file",
            aggregate_id=uuid7(),
            payload={},
        )


@pytest.mark.django_db
def test_an_unknown_event_type_is_an_error():
    with pytest.raises(ValueError, match=r"file\.upload"):
        make_event(event_type="file.upload", payload={})


@pytest.mark.django_db(transaction=True)
def test_an_event_and_its_deliveries_share_the_fate_of_the_change(sent_kicks):
    make_endpoint()

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        make_event()
        raise ZeroDivisionError

    assert not OutboxEvent.objects.exists()
    assert not WebhookDelivery.objects.exists()
    assert sent_kicks == []


@pytest.mark.django_db
def test_each_active_matching_endpoint_gets_one_delivery():
    takers = [
        make_endpoint(),
        make_endpoint(event_types=["file.*"]),
        make_endpoint(event_types=["batch.completed", "file.uploaded"]),
        make_endpoint(event_types=["*"]),
    ]
    make_endpoint(event_types=["batch.*"])
    make_endpoint(event_types=["file.deleted"])
    make_endpoint(is_active=False)

    event = make_event()

    assert {each.endpoint for each in event.deliveries.all()} == set(takers)
    assert {each.status for each in event.deliveries.all()} == {PENDING}
    assert event.status == PENDING


@pytest.mark.parametrize(
    ("patterns", "event_type", "expected"),
    [
        ([], "file.uploaded", True),
        (["file.uploaded"], "file.uploaded", True),
        (["file.*"], "file.uploaded", True),
        (["file.*"], "workflow_run.failed", False),
        (["fil*"], "file.uploaded", False),
        (["file"], "file.uploaded", False),
        ([".*"], "file.uploaded", False),
    ],
)
def test_filters_match_whole_types_or_a_kind(patterns, event_type, expected):
    assert outbox.subscribes(patterns, event_type) is expected


USER, BATCH = uuid7(), uuid7()


@pytest.mark.parametrize(
    ("chosen", "subject", "expected"),
    [
        ({}, Subject(), True),
        ({}, Subject(user_id=USER, batch_id=BATCH, content_type="text/plain"), True),
        ({"user_id": USER}, Subject(user_id=USER), True),
        ({"user_id": USER}, Subject(user_id=uuid7()), False),
        ({"user_id": USER}, Subject(), False),
        ({"batch_id": BATCH}, Subject(batch_id=BATCH), True),
        ({"batch_id": BATCH}, Subject(user_id=USER), False),
        ({"user_id": USER, "batch_id": BATCH}, Subject(user_id=USER, batch_id=BATCH), True),
        ({"user_id": USER, "batch_id": BATCH}, Subject(user_id=USER), False),
        ({"content_types": ["application/pdf"]}, Subject(content_type="application/pdf"), True),
        ({"content_types": ["application/pdf"]}, Subject(content_type="application/json"), False),
        ({"content_types": ["a/b", "image/*"]}, Subject(content_type="image/png"), True),
        ({"content_types": ["image/*"]}, Subject(content_type="imagery/png"), False),
        ({"content_types": ["*/*"]}, Subject(content_type="image/png"), True),
        ({"content_types": ["image/*"]}, Subject(), True),  # it is about no file
        ({"content_types": ["image/*"], "user_id": USER}, Subject(content_type="image/a"), False),
        ({"event_types": ["batch.*"], "user_id": USER}, Subject(user_id=USER), False),
    ],
)
@pytest.mark.django_db
def test_an_endpoint_gets_what_passes_all_of_its_filters(chosen, subject, expected):
    endpoint = make_endpoint(**chosen)

    event = make_event(subject=subject)

    assert outbox.takes(endpoint, event) is expected
    assert event.deliveries.exists() is expected


@pytest.mark.django_db
def test_a_temporary_endpoint_gets_events_until_its_end():
    living = make_endpoint(expires_at=timezone.now() + timedelta(minutes=1))
    make_endpoint(expires_at=timezone.now() - timedelta(seconds=1))

    assert [delivery.endpoint for delivery in make_event().deliveries.all()] == [living]


@pytest.mark.django_db
def test_the_first_attempt_waits_as_the_schedule_of_the_endpoint_says(settings):
    settings.PORTAL_RETRY_SCHEDULE = [60, 120]
    usual, patient = make_endpoint(), make_endpoint(retry_schedule=[3600])

    event = make_event()

    for endpoint, seconds in ((usual, 60), (patient, 3600)):
        due_at = event.deliveries.get(endpoint=endpoint).due_at
        assert abs(due_at - event.created_at - timedelta(seconds=seconds)) < timedelta(seconds=30)


@pytest.mark.django_db
def test_an_event_that_nobody_subscribes_to_is_delivered_at_once():
    make_endpoint(event_types=["batch.completed"])

    event = make_event()

    event.refresh_from_db()
    assert event.status == DELIVERED
    assert not event.deliveries.exists()


@pytest.mark.django_db
def test_a_repeated_fact_is_the_event_that_stands():
    make_endpoint()
    first = make_event(idempotency_key="same", payload=make_payload() | {"n": 1})
    make_endpoint()

    second = make_event(idempotency_key="same", payload=make_payload() | {"n": 2})

    assert second.id == first.id
    assert second.payload["n"] == 1
    assert WebhookDelivery.objects.count() == 1


@pytest.mark.django_db
def test_the_same_key_with_another_type_is_another_fact():
    first = make_event(event_type="file.uploaded", idempotency_key="same")
    second = make_event(event_type="file.deleted", idempotency_key="same")

    assert first.id != second.id


@pytest.mark.django_db(transaction=True)
def test_eight_emitters_of_one_fact_write_one_event(sent_kicks):
    make_endpoint()

    events = at_once([partial(make_event, idempotency_key="same")] * 8)

    assert len({event.id for event in events}) == 1
    assert WebhookDelivery.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_removing_an_endpoint_never_fails_a_change_that_announces(sent_kicks):
    for _ in range(5):
        endpoint = make_endpoint()
        at_once([make_event] * 4 + [partial(endpoints.remove_endpoint, endpoint_id=endpoint.id)])

    assert OutboxEvent.objects.count() == 20
    assert not WebhookEndpoint.objects.exists()
    assert set(OutboxEvent.objects.values_list("status", flat=True)) == {DELIVERED}


@pytest.mark.django_db
def test_the_body_is_the_standard_envelope_and_the_same_before_and_after_the_database():
    payload = make_payload()
    payload["file"] |= {"z": 1, "id": uuid7(), "original_filename": "słońce.txt"}
    event = make_event(payload=payload)

    body = envelopes.body(event)

    assert envelopes.body(OutboxEvent.objects.get()) == body
    assert "słońce".encode() in body
    content = json.loads(body)
    assert content["id"] == str(event.id)
    assert content["type"] == "file.uploaded"
    assert content["schema_version"] == 1
    assert content["data"]["file"]["z"] == 1
    assert content["timestamp"].endswith("Z")
    assert datetime.fromisoformat(content["timestamp"]) == event.created_at


@pytest.mark.django_db
def test_the_timestamp_of_the_envelope_is_utc_whatever_the_zone():
    event = OutboxEvent(payload={}, created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

    with timezone.override("Asia/Tokyo"):
        assert envelopes.envelope(event)["timestamp"] == "2026-01-02T03:04:05Z"


@pytest.mark.django_db
def test_events_of_an_object_come_newest_first_with_everything_loaded(django_assert_num_queries):
    make_endpoint()
    aggregate_id = uuid7()
    events = [make_event(aggregate_id=aggregate_id) for _ in range(3)]
    make_event()
    for number in (2, 1):
        make_attempt(delivery=events[0].deliveries.get(), number=number)

    with django_assert_num_queries(3):
        found = outbox.events_of(aggregate_type="file", aggregate_id=aggregate_id)
        loaded = [
            (d.endpoint.url, list(d.attempts.all())) for e in found for d in e.deliveries.all()
        ]

    assert [event.id for event in found] == [event.id for event in reversed(events)]
    assert [attempt.number for attempt in loaded[2][1]] == [1, 2]
    assert len(outbox.events_of(aggregate_type="file", aggregate_id=aggregate_id, limit=2)) == 2


@pytest.mark.django_db
def test_events_are_shown_without_reading_secrets(settings):
    endpoint = make_endpoint()
    event = make_event()
    settings.SECRET_KEY = "another"

    (found,) = outbox.events_of(aggregate_type="file", aggregate_id=event.aggregate_id)

    assert [each.endpoint.url for each in found.deliveries.all()] == [endpoint.url]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("deliveries", "expected"),
    [
        ([], DELIVERED),
        ([(PENDING, 0), (PENDING, 0)], PENDING),
        ([(PENDING, 1)], SENDING),
        ([(SENDING, 1), (PENDING, 0)], SENDING),
        ([(DELIVERED, 1), (PENDING, 0)], SENDING),
        ([(FAILED, 9), (PENDING, 2)], SENDING),
        ([(FAILED, 9), (DELIVERED, 1)], FAILED),
        ([(DELIVERED, 1), (DELIVERED, 3)], DELIVERED),
    ],
)
def test_an_events_status_is_the_roll_up_of_its_deliveries(deliveries, expected):
    event = make_event()
    OutboxEvent.objects.update(status=FAILED if expected == DELIVERED else DELIVERED)
    for status, attempts in deliveries:
        WebhookDelivery.objects.create(
            event=event,
            endpoint=make_endpoint(),
            status=status,
            attempt_count=attempts,
            due_at=timezone.now(),
        )

    outbox.roll_up([event.id])

    event.refresh_from_db()
    assert event.status == expected


@pytest.mark.django_db(transaction=True)
def test_an_event_whose_deliveries_end_at_the_same_time_ends():
    def finish(delivery):
        with transaction.atomic():
            WebhookDelivery.objects.filter(id=delivery.id).update(status=DELIVERED)
            outbox.roll_up([delivery.event_id])

    for _ in range(5):
        delivery = make_delivery()
        others = [
            WebhookDelivery.objects.create(
                event=delivery.event, endpoint=make_endpoint(), due_at=timezone.now()
            )
            for _ in range(5)
        ]
        at_once([partial(finish, each) for each in [delivery, *others]])

        delivery.event.refresh_from_db()
        assert delivery.event.status == DELIVERED


@pytest.mark.django_db
def test_the_purge_deletes_old_finished_events_in_batches(settings):
    settings.OUTBOX_RETENTION_HOURS = 10
    for _ in range(5):
        make_older(make_event(), hours=11)
    young = make_older(make_event(), hours=9)

    assert [outbox.purge_events(2) for _ in range(4)] == [2, 2, 1, 0]
    assert list(OutboxEvent.objects.all()) == [young]


@pytest.mark.django_db
def test_the_purge_takes_deliveries_and_attempts_along_but_nothing_that_is_open(settings):
    settings.OUTBOX_RETENTION_HOURS = 10
    done, waiting = make_delivery(status=FAILED), make_delivery()
    for delivery in (done, waiting):
        make_attempt(delivery=delivery)
        outbox.roll_up([delivery.event_id])
        make_older(delivery.event, hours=1000)

    assert outbox.purge_events(100) == 1

    assert list(WebhookDelivery.objects.all()) == [waiting]
    assert [attempt.delivery for attempt in WebhookAttempt.objects.all()] == [waiting]
    assert OutboxEvent.objects.get().deliveries.get() == waiting


@pytest.mark.django_db
def test_old_attempts_lose_their_details_in_batches_and_keep_what_they_showed(settings):
    settings.PORTAL_WEBHOOK_DETAIL_HOURS = 10
    old = [make_older(make_attempt(error="The receiver answered 500."), hours=11) for _ in range(5)]
    young = make_older(make_attempt(), hours=9)

    assert [outbox.purge_details(2) for _ in range(4)] == [2, 2, 1, 0]

    for attempt in old:
        attempt.refresh_from_db()
        assert (attempt.request_headers, attempt.response_headers) == (None, None)
        assert (attempt.response_body, attempt.response_status) == ("", 500)
        assert attempt.error == "The receiver answered 500."
    kept = WebhookAttempt.objects.get(id=young.id)
    assert kept.request_headers == young.request_headers
    assert kept.response_body == "ok"


@pytest.mark.django_db(transaction=True)
def test_many_events_send_one_kick_until_its_run_starts(sent_kicks):
    make_endpoint()

    for _ in range(20):
        make_event()
    assert [lane for lane, _ in sent_kicks] == ["now"]

    kicks.withdraw("now")
    make_event()
    assert [lane for lane, _ in sent_kicks] == ["now", "now"]


@pytest.mark.django_db(transaction=True)
def test_eight_emitters_at_once_send_one_kick(sent_kicks):
    make_endpoint()

    at_once([make_event] * 8)

    assert len(sent_kicks) == 1


@pytest.mark.django_db(transaction=True)
def test_an_event_without_subscribers_sends_no_kick(sent_kicks):
    make_event()

    assert sent_kicks == []
