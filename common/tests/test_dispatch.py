import threading
from collections import Counter
from datetime import timedelta

import pytest
import standardwebhooks
from django.db import DataError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from common.ids import uuid7
from common.models import (
    DeliveryStatus,
    OutboxEvent,
    WebhookAttempt,
    WebhookDelivery,
)
from common.services import dispatch, endpoints, kicks, webhook
from common.tests.factories import make_delivery, make_endpoint, make_event
from common.tests.receiver import Answer, Close, Hang, Receiver
from common.tests.threads import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent_kicks")]

PENDING, SENDING = DeliveryStatus.PENDING, DeliveryStatus.SENDING
DELIVERED, FAILED = DeliveryStatus.DELIVERED, DeliveryStatus.FAILED


def claim(limit=100):
    return dispatch.claim(limit=limit, busy=Counter())


def result(status=200, **fields):
    return webhook.Result(started_at=timezone.now(), duration_ms=5, status=status, **fields)


def reloaded(row):
    return type(row).objects.get(pk=row.pk)


def make_due(delivery):
    """Let the wait, or the lease, of a delivery be over."""
    WebhookDelivery.objects.filter(id=delivery.id).update(
        due_at=timezone.now() - timedelta(seconds=1)
    )


# --- Claims ---------------------------------------------------------------------------------------


def test_a_claim_leases_what_is_due_and_counts_the_attempt(settings):
    settings.PORTAL_WEBHOOK_TIMEOUT_SECONDS = 7
    due = make_delivery()
    make_delivery(due_at=timezone.now() + timedelta(seconds=60))
    for status in (DELIVERED, FAILED):
        make_delivery(status=status)

    (claimed,) = claim()

    assert claimed.id == due.id
    assert claimed.status == SENDING
    assert (claimed.attempt_count, claimed.schedule_step) == (1, 1)
    lease = claimed.due_at - timezone.now()
    assert timedelta(seconds=7) < lease <= timedelta(seconds=7) + dispatch.LEASE_MARGIN
    assert claim() == []


def test_the_oldest_are_claimed_first():
    now = timezone.now()
    ages = {age: make_delivery(due_at=now - timedelta(seconds=age)) for age in (5, 50, 500)}

    assert [claimed.id for claimed in claim(2)] == [ages[500].id, ages[50].id]


def test_eight_workers_never_claim_one_delivery_twice():
    endpoint_list = [make_endpoint() for _ in range(8)]
    deliveries = [make_delivery(endpoint=endpoint_list[n % 8]) for n in range(64)]

    def claim_until_nothing_is_left():
        taken = []
        for _ in range(1000):
            taken += claim(5)
            if not dispatch.open_deliveries().filter(due_at__lte=timezone.now()).exists():
                return taken
        raise AssertionError("What was due could not be claimed.")

    claims = [each for taken in at_once([claim_until_nothing_is_left] * 8) for each in taken]

    assert sorted(each.id for each in claims) == sorted(each.id for each in deliveries)
    assert {each.attempt_count for each in claims} == {1}


def test_a_claim_does_not_wait_for_rows_that_another_holds():
    held, free = make_delivery(), make_delivery()
    with transaction.atomic():
        list(WebhookDelivery.objects.filter(id=held.id).select_for_update())
        ((claimed,),) = at_once([claim])

    assert claimed.id == free.id


def test_an_endpoint_gets_its_share_and_the_others_theirs():
    slow, other = make_endpoint(), make_endpoint()
    for _ in range(dispatch.SENDERS_PER_ENDPOINT + 3):
        make_delivery(endpoint=slow)
    last = make_delivery(endpoint=other)

    first = claim()
    busy = Counter(delivery.endpoint_id for delivery in first)
    WebhookDelivery.objects.filter(id=last.id).update(status=PENDING, lease_id=None)
    make_due(last)

    assert busy == {slow.id: dispatch.SENDERS_PER_ENDPOINT, other.id: 1}
    assert [each.id for each in dispatch.claim(limit=1, busy=busy)] == [last.id]


def test_a_claim_is_never_part_of_another_transaction():
    with pytest.raises(RuntimeError), transaction.atomic():
        claim()


def insert_deliveries(endpoint, *, count, status, first_due_in, step):
    """Rows in one statement. The first is due in so many seconds, each other a step later."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH event AS (INSERT INTO outbox_event (id, created_at, updated_at, event_type,"
            " schema_version, aggregate_type, aggregate_id, idempotency_key, payload, status)"
            " SELECT gen_random_uuid(), now(), now(), 'file.uploaded', 1, 'file',"
            " gen_random_uuid(), gen_random_uuid(), '{}', 'pending'"
            " FROM generate_series(1, %s) RETURNING id)"
            " INSERT INTO webhook_delivery (id, created_at, updated_at, event_id, endpoint_id,"
            " status, due_at, attempt_count, schedule_step, last_error)"
            " SELECT gen_random_uuid(), now(), now(), id, %s, %s,"
            " now() + (%s + n * %s) * interval '1 s', 1, 1, ''"
            " FROM (SELECT id, row_number() OVER () AS n FROM event) AS numbered",
            [count, endpoint.id, status, first_due_in, step],
        )


def plan_nodes(plan):
    yield plan
    for inner in plan.get("Plans", []):
        yield from plan_nodes(inner)


def test_a_claim_reads_few_rows_whatever_waits_for_one_endpoint():
    hanging, idle, *others = [make_endpoint() for _ in range(5)]
    insert_deliveries(hanging, count=20_000, status=PENDING, first_due_in=0, step=-1)
    insert_deliveries(idle, count=20_000, status=DELIVERED, first_due_in=0, step=-1)
    for endpoint in others:
        insert_deliveries(endpoint, count=1000, status=PENDING, first_due_in=-5, step=1)
    full = Counter({hanging.id: dispatch.SENDERS_PER_ENDPOINT})
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE webhook_delivery, webhook_endpoint")
        for busy in (Counter(), full):
            with CaptureQueriesContext(connection) as queries:
                claimed = dispatch.claim(limit=32, busy=busy)
            (claim_query,) = [q["sql"] for q in queries if "LATERAL" in q["sql"]]
            WebhookDelivery.objects.filter(id__in=[each.id for each in claimed]).update(
                status=PENDING, due_at=timezone.now() - timedelta(hours=9)
            )
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {claim_query}")
            nodes = list(plan_nodes(cursor.fetchone()[0][0]["Plan"]))

            (scan,) = [node for node in nodes if node.get("Relation Name") == "webhook_delivery"]
            assert scan["Index Name"] == "webhook_delivery_due"
            assert scan["Actual Rows"] <= dispatch.SENDERS_PER_ENDPOINT
            assert scan["Rows Removed by Filter"] == 0
            assert scan["Actual Loops"] <= 5


def test_what_waits_for_a_full_endpoint_is_left():
    hanging, other = make_endpoint(), make_endpoint()
    insert_deliveries(hanging, count=100, status=PENDING, first_due_in=0, step=-1)
    last = make_delivery(endpoint=other)
    full = Counter({hanging.id: dispatch.SENDERS_PER_ENDPOINT})

    assert [each.id for each in dispatch.claim(limit=32, busy=full)] == [last.id]


def test_a_delivery_with_no_attempt_left_fails_without_another(settings):
    """Its worker died in the last one, or the schedule was shortened: it is not sent for ever."""
    settings.PORTAL_RETRY_SCHEDULE = [0, 5]
    died = make_delivery(status=SENDING, lease_id=uuid7(), attempt_count=2, schedule_step=2)
    shortened = make_delivery(attempt_count=7, schedule_step=7)
    last = make_delivery(attempt_count=1, schedule_step=1)

    assert [each.id for each in claim()] == [last.id]

    for row, attempts in ((reloaded(died), 2), (reloaded(shortened), 7)):
        assert (row.status, row.lease_id, row.event.status) == (FAILED, None, FAILED)
        assert (row.attempt_count, row.last_error) == (attempts, dispatch.EXHAUSTED)


# --- Results --------------------------------------------------------------------------------------


def test_success_ends_the_delivery_and_the_event():
    make_delivery()
    (delivery,) = claim()

    attempt = dispatch.record(delivery, result(status=204, body="thanks"))

    row = reloaded(delivery)
    assert (row.status, row.lease_id, row.last_error) == (DELIVERED, None, "")
    assert row.delivered_at is not None
    assert row.event.status == DELIVERED
    assert (attempt.number, attempt.response_status, attempt.response_body) == (1, 204, "thanks")


def test_a_worker_that_lost_its_lease_writes_nothing():
    make_delivery()
    (lost,) = claim()
    make_due(lost)
    (holder,) = claim()

    assert dispatch.record(lost, result()) is None
    row = reloaded(lost)
    assert (row.status, row.lease_id) == (SENDING, holder.lease_id)
    assert not WebhookAttempt.objects.exists()

    assert dispatch.record(holder, result(status=500)).number == 2
    assert dispatch.record(holder, result()) is None
    assert reloaded(lost).status == PENDING


def test_a_result_for_a_removed_endpoint_is_dropped():
    make_delivery()
    (delivery,) = claim()
    endpoints.remove_endpoint(endpoint_id=delivery.endpoint_id)

    assert dispatch.record(delivery, result(status=410)) is None


def test_failures_follow_the_schedule_and_then_end(settings):
    settings.PORTAL_RETRY_SCHEDULE = [0, 100, 1000]
    delivery = make_delivery()
    waits = []
    for _ in range(3):
        make_due(delivery)
        (claimed,) = claim()
        dispatch.record(claimed, result(status=500, error="The receiver answered 500."))
        waits.append((reloaded(delivery).due_at - timezone.now()).total_seconds())
        assert reloaded(delivery).last_error == "The receiver answered 500."

    assert 79 < waits[0] <= 120
    assert 799 < waits[1] <= 1200
    row = reloaded(delivery)
    assert (row.status, row.event.status) == (FAILED, FAILED)
    make_due(delivery)
    assert claim() == []


def test_the_jitter_is_a_fifth_to_either_side():
    waits = [dispatch.retry_pause(1000, result(status=500)).total_seconds() for _ in range(500)]

    assert 800 <= min(waits) < 850
    assert 1150 < max(waits) <= 1200


@pytest.mark.parametrize(
    ("status", "retry_after", "least", "most"),
    [
        (429, 600, 600, 600),
        (503, 600, 600, 600),
        (503, 1, 80, 120),  # never sooner than the schedule
        (429, 10**9, 86_400, 86_400),  # never later than a day
        (500, 600, 80, 120),  # means nothing there
        (429, None, 80, 120),
    ],
)
def test_retry_after_is_honoured_within_bounds(status, retry_after, least, most):
    pause = dispatch.retry_pause(100, result(status=status, retry_after=retry_after))

    assert least <= pause.total_seconds() <= most


def test_410_disables_the_endpoint_and_fails_what_waits_for_it():
    endpoint = make_endpoint()
    sent, waiting = make_delivery(endpoint=endpoint), make_delivery(endpoint=endpoint)
    other = make_delivery()
    WebhookDelivery.objects.filter(id__in=[waiting.id, other.id]).update(
        due_at=timezone.now() + timedelta(hours=1)
    )
    (claimed,) = claim()

    dispatch.record(claimed, result(status=410))

    assert not reloaded(endpoint).is_active
    assert [reloaded(row).status for row in (sent, waiting, other)] == [FAILED, FAILED, PENDING]
    assert reloaded(waiting.event).status == FAILED
    assert reloaded(waiting).last_error == endpoints.DISABLED


def test_deliveries_to_a_disabled_endpoint_fail_without_an_attempt():
    """Written by a transaction that was under way while the endpoint was disabled."""
    disabled = make_endpoint(is_active=False)
    deliveries = [make_delivery(endpoint=disabled) for _ in range(5)]
    good = make_delivery()
    WebhookDelivery.objects.filter(id=good.id).update(due_at=timezone.now())

    assert [claimed.id for claimed in claim(2)] == [good.id]

    for row in map(reloaded, deliveries):
        assert (row.status, row.attempt_count, row.event.status) == (FAILED, 0, FAILED)


# --- Runs -----------------------------------------------------------------------------------------


def test_a_run_delivers_everything_once_each_verifiable():
    with Receiver() as receiver:
        endpoint = make_endpoint(url=receiver.url)
        events = [make_event(payload={"n": n}) for n in range(50)]

        assert dispatch.run() == 50

    verifier = standardwebhooks.Webhook(endpoint.secret)
    bodies = [verifier.verify(each.body, each.headers) for each in receiver.received]
    assert sorted(body["id"] for body in bodies) == sorted(str(event.id) for event in events)
    assert sorted(body["data"]["n"] for body in bodies) == list(range(50))
    assert set(OutboxEvent.objects.values_list("status", flat=True)) == {DELIVERED}
    assert WebhookAttempt.objects.count() == 50


def test_every_attempt_has_the_same_id_and_body_and_its_own_time(settings):
    settings.PORTAL_RETRY_SCHEDULE = [0, 0, 0]
    with Receiver(Answer(status=500), Close()) as receiver:
        make_endpoint(url=receiver.url)
        event = make_event()

        dispatch.run()

    first, *others = receiver.received
    assert len(others) == 2
    for other in others:
        assert other.body == first.body
        assert other.headers["webhook-id"] == str(event.id)
        assert other.headers["x-webhook-delivery"] == first.headers["x-webhook-delivery"]
    attempts = WebhookAttempt.objects.order_by("number")
    assert [each.number for each in attempts] == [1, 2, 3]
    assert [each.response_status for each in attempts] == [500, None, 200]
    assert reloaded(event).status == DELIVERED


def test_one_endpoint_that_hangs_does_not_delay_another(settings):
    settings.PORTAL_WEBHOOK_TIMEOUT_SECONDS = 5
    with Receiver(default=Hang()) as hanging, Receiver() as healthy:
        make_endpoint(url=hanging.url)
        make_endpoint(url=healthy.url)
        for _ in range(20):
            make_event()
        thread = threading.Thread(target=at_once, args=([dispatch.run],))
        thread.start()

        assert len(healthy.wait_for(20)) == 20
        arrived_before_any_timeout = not WebhookAttempt.objects.filter(
            response_status=None
        ).exists()
        # One that comes while the run waits for the hanging ones is sent by the same run.
        make_event()
        healthy.wait_for(21)
        hanging.release()
        thread.join()

    assert arrived_before_any_timeout
    assert len(hanging.received) >= dispatch.SENDERS_PER_ENDPOINT


def test_a_delivery_whose_worker_was_killed_is_sent_again_after_the_lease():
    with Receiver() as receiver:
        make_endpoint(url=receiver.url)
        event = make_event()
        (claimed,) = claim()  # and the worker is gone

        assert dispatch.run() == 0
        assert receiver.received == []
        make_due(claimed)
        assert dispatch.run() == 1

    assert [each.headers["webhook-id"] for each in receiver.received] == [str(event.id)]
    assert WebhookAttempt.objects.get().number == 2


def test_four_runs_at_once_send_nothing_twice():
    with Receiver() as receiver:
        for _ in range(4):
            make_endpoint(url=receiver.url)
        for _ in range(25):
            make_event()

        assert sum(at_once([dispatch.run] * 4)) == 100

    ids = [each.headers["x-webhook-delivery"] for each in receiver.received]
    assert len(ids) == len(set(ids)) == 100
    assert not dispatch.open_deliveries().exists()


def test_a_run_that_is_told_to_stop_records_what_it_sent(monkeypatch):
    """As Celery's soft time limit does: an exception from outside, anywhere in the run."""

    class Stop(Exception):
        pass

    record = dispatch.record
    calls = []

    def record_until_stopped(delivery, outcome):
        calls.append(delivery)
        if len(calls) == 2:
            raise Stop
        return record(delivery, outcome)

    monkeypatch.setattr(dispatch, "record", record_until_stopped)
    with Receiver(default=Answer(delay=0.2)) as receiver:
        make_endpoint(url=receiver.url)
        for _ in range(4):
            make_event()

        with pytest.raises(Stop):
            dispatch.run()

    assert len(receiver.received) == 4
    assert WebhookDelivery.objects.filter(status=DELIVERED).count() == 4


@pytest.mark.parametrize("fault", [DataError, OverflowError])
def test_a_result_that_cannot_be_recorded_costs_no_other(monkeypatch, caplog, fault):
    record = dispatch.record

    def record_unless_poisoned(delivery, outcome):
        if outcome.status == 429:
            raise fault("poison")
        return record(delivery, outcome)

    monkeypatch.setattr(dispatch, "record", record_unless_poisoned)
    with Receiver(Answer(status=429)) as receiver:
        make_endpoint(url=receiver.url)
        for _ in range(4):
            make_event()

        assert dispatch.run() == 4

    poisoned = WebhookDelivery.objects.get(status=PENDING)
    assert poisoned.last_error == f"Internal error: {fault.__name__}"
    assert poisoned.attempts.get().error == poisoned.last_error
    assert WebhookDelivery.objects.filter(status=DELIVERED).count() == 3
    assert "poison" in caplog.text


def test_an_attempt_that_raises_is_a_failed_one(monkeypatch, caplog):
    send, first = webhook.send, []

    def send_unless_first(message):
        first.append(message)
        if len(first) == 1:
            raise RuntimeError("poison")
        return send(message)

    monkeypatch.setattr(webhook, "send", send_unless_first)
    with Receiver() as receiver:
        make_endpoint(url=receiver.url)
        for _ in range(3):
            make_event()

        assert dispatch.run() == 3

    failed = WebhookAttempt.objects.exclude(error="").get()
    assert failed.error == "Internal error: RuntimeError"
    assert WebhookDelivery.objects.filter(status=DELIVERED).count() == 2
    assert "poison" in caplog.text


def test_results_that_the_database_does_not_take_are_left_to_the_lease(monkeypatch):
    record, refused = dispatch.record, []

    def record_unless_refused(delivery, outcome):
        refused.append(delivery.id)
        if delivery.id == refused[0]:
            raise OperationalError("gone")
        return record(delivery, outcome)

    monkeypatch.setattr(dispatch, "record", record_unless_refused)
    with Receiver() as receiver:
        make_endpoint(url=receiver.url)
        for _ in range(3):
            make_event()

        dispatch.run()

    assert WebhookDelivery.objects.get(status=SENDING).id == refused[0]
    assert WebhookDelivery.objects.filter(status=DELIVERED).count() == 2


def test_a_secret_that_cannot_be_read_fails_its_own_deliveries_only(settings):
    key = settings.SECRET_KEY
    with Receiver() as receiver:
        settings.SECRET_KEY = "lost"
        unreadable = make_endpoint(url=receiver.url)
        settings.SECRET_KEY = key
        readable = make_endpoint(url=receiver.url)
        event = make_event()

        assert dispatch.run() == 2
        attempt = dispatch.send_test(endpoint_id=unreadable.id)

    failed = event.deliveries.get(endpoint=unreadable)
    assert failed.status == PENDING
    assert "DJANGO_SECRET_KEY" in failed.last_error
    assert "DJANGO_SECRET_KEY" in failed.attempts.get().error
    assert "DJANGO_SECRET_KEY" in attempt.error
    assert event.deliveries.get(endpoint=readable).status == DELIVERED
    assert len(receiver.received) == 1


def test_a_run_ends_after_its_time_and_asks_for_another(sent_kicks):
    with Receiver(default=Answer(delay=0.3)) as receiver:
        make_endpoint(url=receiver.url)
        for _ in range(3):
            make_event()
        sent_kicks.clear()
        kicks.withdraw("now")

        recorded = dispatch.run(seconds=0.1, senders=1)

    assert recorded == 1
    assert [lane for lane, _ in sent_kicks] == ["now"]


def test_a_run_asks_for_the_next_at_the_time_of_the_next_retry(settings, sent_kicks):
    settings.PORTAL_RETRY_SCHEDULE = [0, 5, 300]
    with Receiver(default=Answer(status=500)) as receiver:
        make_endpoint(url=receiver.url)
        make_event()
        sent_kicks.clear()
        dispatch.run()

    ((lane, delay),) = sent_kicks
    assert lane == "later"
    assert 2 < delay <= 6


def test_a_run_leaves_what_is_due_after_the_sweep_to_the_sweep(settings, sent_kicks):
    settings.OUTBOX_SWEEP_INTERVAL_MINUTES = 5
    make_delivery(due_at=timezone.now() + timedelta(minutes=6))

    dispatch.run()

    assert sent_kicks == []


def test_no_transaction_is_open_while_sending(monkeypatch):
    seen = []
    monkeypatch.setattr(
        dispatch,
        "wait",
        lambda *args, wait=dispatch.wait, **kwargs: (
            seen.append(connection.in_atomic_block) or wait(*args, **kwargs)
        ),
    )
    with Receiver() as receiver:
        make_endpoint(url=receiver.url)
        make_event()
        dispatch.run()

    assert seen
    assert not any(seen)


# --- By hand --------------------------------------------------------------------------------------


def test_a_failed_delivery_starts_again_from_the_first_step(settings, sent_kicks):
    settings.PORTAL_RETRY_SCHEDULE = [0]
    with Receiver(Answer(status=500)) as receiver:
        make_endpoint(url=receiver.url)
        event = make_event()
        dispatch.run()
        assert reloaded(event).status == FAILED
        sent_kicks.clear()
        kicks.withdraw("now")

        assert dispatch.retry_failed(WebhookDelivery.objects.all()) == 1
        assert reloaded(event).status == SENDING
        assert [lane for lane, _ in sent_kicks] == ["now"]
        dispatch.run()

    assert reloaded(event).status == DELIVERED
    assert list(WebhookAttempt.objects.order_by("number").values_list("number", flat=True)) == [
        1,
        2,
    ]


def test_only_failed_deliveries_to_active_endpoints_are_retried():
    failed = make_delivery(status=FAILED)
    make_delivery(status=DELIVERED)
    make_delivery()
    make_delivery(status=FAILED, endpoint=make_endpoint(is_active=False))

    assert dispatch.retry_failed(WebhookDelivery.objects.all()) == 1

    assert reloaded(failed).status == PENDING


def test_a_test_event_goes_to_its_endpoint_only_and_once(settings):
    settings.PORTAL_RETRY_SCHEDULE = [0, 0, 0]
    with Receiver(default=Answer(status=500)) as receiver:
        endpoint = make_endpoint(url=receiver.url)
        make_endpoint(url=receiver.url)

        attempt = dispatch.send_test(endpoint_id=endpoint.id)
        dispatch.run()

    (received,) = receiver.received
    assert received.headers["x-webhook-event"] == "webhook.test"
    assert received.json["data"]["webhook"]["id"] == str(endpoint.id)
    assert attempt.response_status == 500
    assert reloaded(attempt.delivery).status == FAILED
    assert OutboxEvent.objects.get().status == FAILED


def test_a_test_of_an_endpoint_that_works_is_delivered():
    with Receiver() as receiver:
        endpoint = make_endpoint(url=receiver.url)
        attempt = dispatch.send_test(endpoint_id=endpoint.id)

    assert attempt.response_body == "ok"
    assert OutboxEvent.objects.get().status == DELIVERED
