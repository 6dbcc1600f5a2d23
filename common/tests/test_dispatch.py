import asyncio
import signal
import threading
import time
from collections import Counter
from datetime import timedelta
from functools import partial

import psycopg
import pytest
import standardwebhooks
from django.db import DataError, OperationalError, connection, transaction
from django.utils import timezone

from common.ids import uuid7
from common.models import (
    DeliveryStatus,
    OutboxEvent,
    RetiredSecret,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from common.outbox import events as outbox
from common.outbox import kicks
from common.tests.factories import make_delivery, make_endpoint, make_event
from common.tests.receiver import Answer, Close, Hang, Receiver
from common.tests.threads import at_once, blocked_by_us
from common.webhooks import claims, dispatch, endpoints, results, sending
from common.webhooks.event_loop_db import connected

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent_kicks")]

PENDING, SENDING = DeliveryStatus.PENDING, DeliveryStatus.SENDING
DELIVERED, FAILED = DeliveryStatus.DELIVERED, DeliveryStatus.FAILED


def claim(limit=100, flows=None, receivers=None, **options):
    async def in_a_loop():
        async with connected() as database:
            return await claims.claim(
                database,
                limit=limit,
                flows=flows or {},
                receivers=receivers or claims.Receivers(),
                **options,
            )

    return asyncio.run(in_a_loop())


def record(*finished):
    results.disable_gone(finished)
    return results.write_each(finished)


SHARE = claims.FIRST_SHARE


def full(endpoint):
    """What a run knows when all that an endpoint may have under way is."""
    return {endpoint.id: claims.Flow(under_way=SHARE)}


def result(status=200, **fields):
    return sending.Result(started_at=timezone.now(), duration_ms=5, status=status, **fields)


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

    row = reloaded(due)
    assert (claimed.delivery_id, claimed.lease_id, claimed.attempt) == (due.id, row.lease_id, 1)
    assert (row.status, row.attempt_count, row.schedule_step) == (SENDING, 1, 1)
    lease = row.due_at - timezone.now()
    assert timedelta(seconds=7) < lease <= timedelta(seconds=7) + claims.LEASE_MARGIN
    assert claim() == []


def test_the_oldest_are_claimed_first():
    now = timezone.now()
    ages = {age: make_delivery(due_at=now - timedelta(seconds=age)) for age in (5, 50, 500)}

    assert {each.delivery_id for each in claim(2)} == {ages[500].id, ages[50].id}


def test_eight_workers_never_claim_one_delivery_twice():
    endpoint_list = [make_endpoint() for _ in range(8)]
    deliveries = [make_delivery(endpoint=endpoint_list[n % 8]) for n in range(64)]

    def claim_until_nothing_is_left():
        taken = []
        for _ in range(1000):
            taken += claim(5)
            if not claims.open_deliveries().filter(due_at__lte=timezone.now()).exists():
                return taken
        raise AssertionError("What was due could not be claimed.")

    taken = [each for some in at_once([claim_until_nothing_is_left] * 8) for each in some]

    assert sorted(each.delivery_id for each in taken) == sorted(each.id for each in deliveries)
    assert {each.attempt for each in taken} == {1}


def test_a_claim_does_not_wait_for_rows_that_another_holds():
    held, free = make_delivery(), make_delivery()
    with transaction.atomic():
        list(WebhookDelivery.objects.filter(id=held.id).select_for_update())
        ((claimed,),) = at_once([claim])

    assert claimed.delivery_id == free.id


def test_an_endpoint_gets_its_share_and_the_others_theirs():
    slow, other = make_endpoint(), make_endpoint()
    for _ in range(SHARE + 3):
        make_delivery(endpoint=slow)
    last = make_delivery(endpoint=other)

    first = claim()
    busy = Counter(delivery.endpoint_id for delivery in first)
    WebhookDelivery.objects.filter(id=last.id).update(status=PENDING, lease_id=None)
    make_due(last)

    assert busy == {slow.id: SHARE, other.id: 1}
    assert [each.delivery_id for each in claim(flows=full(slow))] == [last.id]


def test_an_endpoint_that_fails_gets_a_few_attempts_at_a_time():
    failing = make_endpoint(consecutive_failures=1)
    for _ in range(claims.FAILING_SHARE + 3):
        make_delivery(endpoint=failing)

    assert len(claim()) == claims.FAILING_SHARE


def test_an_endpoint_that_fails_can_be_left_out():
    make_delivery(endpoint=make_endpoint(consecutive_failures=1))
    known = make_endpoint()
    make_delivery(endpoint=known)

    assert claim(failing_share=0, flows={known.id: claims.Flow(is_failing=True)}) == []
    recovered = claim(failing_share=0, flows={known.id: claims.Flow(is_failing=False)})
    assert [each.endpoint_id for each in recovered] == [known.id]


def test_a_flow_grows_with_success_up_to_the_setting_and_shrinks_with_a_failure(settings):
    settings.PORTAL_WEBHOOK_CONCURRENCY_PER_ENDPOINT = claims.FIRST_SHARE + 2
    flow = claims.Flow(under_way=5)
    for _ in range(4):
        flow.record(is_delivered=True)
    assert (flow.under_way, flow.allowance) == (1, claims.FIRST_SHARE + 2)
    assert not flow.is_failing
    flow.record(is_delivered=False)
    assert (flow.under_way, flow.allowance, flow.is_failing) == (0, claims.FIRST_SHARE, True)


def test_an_endpoint_has_its_own_timeout_and_schedule(settings):
    settings.PORTAL_RETRY_SCHEDULE = [0, 5]
    endpoint = make_endpoint(timeout_seconds=3, retry_schedule=[0, 1000, 10])
    delivery = make_delivery(endpoint=endpoint)

    (claimed,) = claim()
    lease = reloaded(delivery).due_at - timezone.now()
    record((claimed, result(status=500)))

    assert claimed.message.timeout == 3
    assert lease <= timedelta(seconds=3) + claims.LEASE_MARGIN
    pause = reloaded(delivery).due_at - timezone.now()
    assert timedelta(seconds=790) < pause <= timedelta(seconds=1200)


def test_the_message_has_the_secrets_that_sign_and_the_headers_of_the_endpoint():
    endpoint = make_endpoint(headers={"Authorization": "Bearer runner"})
    old = endpoint.secret
    now = timezone.now()
    receivers = claims.Receivers()
    make_delivery(endpoint=endpoint)
    claim(receivers=receivers)
    new = endpoints.rotate_secret(endpoint_id=endpoint.id).secret
    RetiredSecret.objects.create(endpoint=endpoint, secret="whsec_b2xk", expires_at=now)
    make_delivery(endpoint=endpoint)

    (claimed,) = claim(receivers=receivers)

    assert list(claimed.message.secrets) == [new, old]
    assert claimed.message.own_headers == {"Authorization": "Bearer runner"}

    endpoints.revoke_old_secrets(endpoint_id=endpoint.id)
    make_delivery(endpoint=endpoint)
    (claimed,) = claim(receivers=receivers)
    assert list(claimed.message.secrets) == [new]


def insert_deliveries(endpoint, *, count, status, first_due_in, step):
    """Rows in one statement. The first is due in so many seconds, each other a step later."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH event AS (INSERT INTO outbox_event (id, created_at, updated_at, event_type,"
            " schema_version, aggregate_type, aggregate_id, idempotency_key, payload, status,"
            " content_type)"
            " SELECT gen_random_uuid(), now(), now(), 'file.uploaded', 1, 'file',"
            " gen_random_uuid(), gen_random_uuid(), '{}', 'pending', '' "
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
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE webhook_delivery, webhook_endpoint, outbox_event")
        for flows in ({}, full(hanging)):
            statement, values = claims.claiming(
                limit=32, flows=flows, failing_share=claims.FAILING_SHARE, lease_id=uuid7()
            )
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
            nodes = list(plan_nodes(cursor.fetchone()[0][0]["Plan"]))

            big = [
                node
                for node in nodes
                if node.get("Relation Name") in ("webhook_delivery", "outbox_event")
                and node["Node Type"] != "ModifyTable"
            ]
            assert {node["Node Type"] for node in big} == {"Index Scan"}
            (scan,) = [node for node in big if node["Index Name"] == "webhook_delivery_due"]
            assert scan["Actual Rows"] <= SHARE
            assert scan["Rows Removed by Filter"] == 0
            assert scan["Actual Loops"] <= 5


def test_what_waits_for_a_full_endpoint_is_left():
    hanging, other = make_endpoint(), make_endpoint()
    insert_deliveries(hanging, count=100, status=PENDING, first_due_in=0, step=-1)
    last = make_delivery(endpoint=other)

    assert [each.delivery_id for each in claim(32, full(hanging))] == [last.id]


def test_a_delivery_with_no_attempt_left_fails_without_another(settings):
    """Its worker died in the last one, or the schedule was shortened: it is not sent for ever."""
    settings.PORTAL_RETRY_SCHEDULE = [0, 5]
    died = make_delivery(status=SENDING, lease_id=uuid7(), attempt_count=2, schedule_step=2)
    shortened = make_delivery(attempt_count=7, schedule_step=7)
    last = make_delivery(attempt_count=1, schedule_step=1)

    assert [each.delivery_id for each in claim()] == [last.id]
    claims.fail_undeliverable()

    for row, attempts in ((reloaded(died), 2), (reloaded(shortened), 7)):
        assert (row.status, row.lease_id, row.event.status) == (FAILED, None, FAILED)
        assert (row.attempt_count, row.last_error) == (attempts, claims.EXHAUSTED)


# --- Results --------------------------------------------------------------------------------------


def test_success_ends_the_delivery_and_the_event():
    row = make_delivery()
    (claimed,) = claim()

    assert record((claimed, result(status=204, body="thanks"))) == 1

    row, attempt = reloaded(row), row.attempts.get()
    assert (row.status, row.lease_id, row.last_error) == (DELIVERED, None, "")
    assert row.delivered_at is not None
    assert row.event.status == DELIVERED
    assert (attempt.number, attempt.response_status, attempt.response_body) == (1, 204, "thanks")


def test_a_worker_that_lost_its_lease_writes_nothing():
    row = make_delivery()
    (lost,) = claim()
    make_due(row)
    (holder,) = claim()

    assert record((lost, result())) == 0
    row = reloaded(row)
    assert (row.status, row.lease_id) == (SENDING, holder.lease_id)
    assert not WebhookAttempt.objects.exists()

    assert record((holder, result(status=500))) == 1
    assert row.attempts.get().number == 2
    assert record((holder, result())) == 0
    assert reloaded(row).status == PENDING


def test_a_result_for_a_removed_endpoint_is_dropped():
    make_delivery()
    (claimed,) = claim()
    endpoints.remove_endpoint(endpoint_id=claimed.endpoint_id)

    assert record((claimed, result(status=410))) == 0


def test_failures_follow_the_schedule_and_then_end(settings):
    settings.PORTAL_RETRY_SCHEDULE = [0, 100, 1000]
    delivery = make_delivery()
    waits = []
    for _ in range(3):
        make_due(delivery)
        (claimed,) = claim()
        record((claimed, result(status=500, error="The receiver answered 500.")))
        waits.append((reloaded(delivery).due_at - timezone.now()).total_seconds())
        assert reloaded(delivery).last_error == "The receiver answered 500."

    assert 79 < waits[0] <= 120
    assert 799 < waits[1] <= 1200
    row = reloaded(delivery)
    assert (row.status, row.event.status) == (FAILED, FAILED)
    make_due(delivery)
    assert claim() == []


def test_the_jitter_is_a_fifth_to_either_side():
    waits = [results.retry_pause(1000, result(status=500)).total_seconds() for _ in range(500)]

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
    pause = results.retry_pause(100, result(status=status, retry_after=retry_after))

    assert least <= pause.total_seconds() <= most


def test_410_disables_the_endpoint_and_fails_what_waits_for_it():
    endpoint = make_endpoint()
    sent, waiting = make_delivery(endpoint=endpoint), make_delivery(endpoint=endpoint)
    other = make_delivery()
    WebhookDelivery.objects.filter(id__in=[waiting.id, other.id]).update(
        due_at=timezone.now() + timedelta(hours=1)
    )
    (claimed,) = claim()

    record((claimed, result(status=410)))

    assert not reloaded(endpoint).is_active
    assert [reloaded(row).status for row in (sent, waiting, other)] == [FAILED, FAILED, PENDING]
    assert reloaded(waiting.event).status == FAILED
    assert reloaded(waiting).last_error == endpoints.DISABLED


@pytest.mark.parametrize("schedule", [None, [0]], ids=["first attempt", "last attempt"])
def test_410_of_an_address_that_was_changed_meanwhile_counts_for_nothing(schedule):
    with Receiver(Answer(status=410, delay=0.5)) as old, Receiver() as new:
        endpoint = make_endpoint(url=old.url, retry_schedule=schedule)
        delivery = make_delivery(endpoint=endpoint)

        def move():
            old.wait_for(1)
            WebhookEndpoint.objects.update(url=new.url)

        at_once([partial(dispatch.run, seconds=5), move])

        assert reloaded(endpoint).is_active
        assert [request.headers["webhook-id"] for request in new.received] == [
            str(delivery.event_id)
        ]
    row = reloaded(delivery)
    assert (row.status, row.attempt_count, row.schedule_step) == (DELIVERED, 2, 1)
    assert row.event.status == DELIVERED
    statuses = WebhookAttempt.objects.order_by("number").values_list("response_status", flat=True)
    assert list(statuses) == [410, 200]


def test_410_of_a_former_address_after_the_endpoint_was_disabled_fails_soon():
    endpoint = make_endpoint()
    delivery = make_delivery(endpoint=endpoint)
    (claimed,) = claim()
    WebhookEndpoint.objects.update(url="http://127.0.0.1:9/new")
    endpoints.disable(endpoint_id=endpoint.id)

    record((claimed, result(status=410)))
    claims.fail_undeliverable()

    assert reloaded(delivery).status == FAILED
    assert reloaded(endpoint).disabled_reason == "manual"


def test_a_test_is_sent_once_though_its_address_was_gone_and_changed_meanwhile():
    with Receiver(Answer(status=410, delay=0.5)) as old, Receiver() as new:
        endpoint = make_endpoint(url=old.url)

        def move():
            old.wait_for(1)
            WebhookEndpoint.objects.update(url=new.url)

        at_once([partial(dispatch.send_test, endpoint_id=endpoint.id), move])
        dispatch.run()

        assert new.received == []
    assert reloaded(endpoint).is_active
    assert WebhookDelivery.objects.get().status == FAILED


def test_what_was_being_sent_when_its_endpoint_was_disabled_fails_soon():
    delivery = make_delivery()
    (claimed,) = claim()
    endpoints.disable(endpoint_id=delivery.endpoint_id)

    record((claimed, result(status=500)))
    claims.fail_undeliverable()

    row = reloaded(delivery)
    assert (row.status, row.attempt_count, row.event.status) == (FAILED, 1, FAILED)


def test_deliveries_to_a_disabled_endpoint_fail_without_an_attempt():
    """Written by a transaction that was under way while the endpoint was disabled."""
    disabled = make_endpoint(is_active=False)
    deliveries = [make_delivery(endpoint=disabled) for _ in range(5)]
    good = make_delivery()
    WebhookDelivery.objects.filter(id=good.id).update(due_at=timezone.now())

    assert [each.delivery_id for each in claim()] == [good.id]
    claims.fail_undeliverable()

    for row in map(reloaded, deliveries):
        assert (row.status, row.attempt_count, row.event.status) == (FAILED, 0, FAILED)


def test_deliveries_to_an_endpoint_that_is_enabled_by_then_are_not_given_up():
    delivery = make_delivery(endpoint=make_endpoint(is_active=False))

    with transaction.atomic():
        outbox.lock([delivery.event_id])
        giving_up = blocked_by_us(claims.fail_undeliverable)
        endpoints.enable(endpoint_id=delivery.endpoint_id)
    giving_up.result(timeout=20)

    assert reloaded(delivery).status == PENDING


# --- Runs -----------------------------------------------------------------------------------------


def test_a_run_delivers_everything_once_each_verifiable():
    with Receiver() as receiver:
        endpoint = make_endpoint(url=receiver.url)
        events = [make_event() for _ in range(50)]

        assert dispatch.run() == 50

    verifier = standardwebhooks.Webhook(endpoint.secret)
    bodies = [verifier.verify(each.body, each.headers) for each in receiver.received]
    assert sorted(body["id"] for body in bodies) == sorted(str(event.id) for event in events)
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
    assert len(hanging.received) >= SHARE


def test_a_delivery_whose_worker_was_killed_is_sent_again_after_the_lease():
    with Receiver() as receiver:
        make_endpoint(url=receiver.url)
        event = make_event()
        claim()  # and the worker is gone

        assert dispatch.run() == 0
        assert receiver.received == []
        make_due(event.deliveries.get())
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
    assert not claims.open_deliveries().exists()


def test_a_run_that_is_told_to_stop_gives_up_what_hangs_and_records_the_rest(settings):
    """As Celery's soft time limit does: a signal's exception in the thread that waits."""

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    settings.PORTAL_RETRY_SCHEDULE = [0, 600]
    previous = signal.signal(signal.SIGUSR1, stop)
    with Receiver(default=Hang()) as hanging, Receiver() as healthy:
        make_endpoint(url=hanging.url)
        make_endpoint(url=healthy.url)
        for _ in range(4):
            make_event()

        def interrupt():
            hanging.wait_for(4)
            healthy.wait_for(4)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        try:
            with pytest.raises(Stop):
                dispatch.run()
        finally:
            signal.signal(signal.SIGUSR1, previous)
            interrupter.join()

    assert WebhookDelivery.objects.filter(status=DELIVERED).count() == 4
    given_up = WebhookDelivery.objects.filter(status=PENDING)
    assert {delivery.last_error for delivery in given_up} == {dispatch.STOPPED}
    assert given_up.count() == WebhookAttempt.objects.filter(error=dispatch.STOPPED).count() == 4
    # That was not the receiver's fault: it is tried again at once, with all of its schedule.
    assert {delivery.schedule_step for delivery in given_up} == {0}
    assert all(delivery.due_at <= timezone.now() for delivery in given_up)
    assert set(WebhookEndpoint.objects.values_list("consecutive_failures", flat=True)) == {0}


@pytest.mark.parametrize("fault", [DataError, OverflowError])
def test_a_result_that_cannot_be_recorded_costs_no_other(monkeypatch, caplog, fault):
    statements = results.statements

    def poisoned(finished):
        if any(outcome.status == 429 for _, outcome in finished):
            raise fault("poison")
        return statements(finished)

    monkeypatch.setattr(results, "statements", poisoned)
    with Receiver(Answer(status=429)) as receiver:
        make_endpoint(url=receiver.url)
        for _ in range(4):
            make_event()

        assert dispatch.run() == 4

    pending = WebhookDelivery.objects.get(status=PENDING)
    assert pending.last_error == f"Internal error: {fault.__name__}"
    assert pending.attempts.get().error == pending.last_error
    assert WebhookDelivery.objects.filter(status=DELIVERED).count() == 3
    assert "poison" in caplog.text


def test_results_that_the_database_does_not_take_are_left_to_the_lease(monkeypatch):
    statements, refused = results.statements, []

    def refused_once(finished):
        refused.append(finished[0][0].delivery_id)
        if any(claim.delivery_id == refused[0] for claim, _ in finished):
            raise OperationalError("gone")
        return statements(finished)

    monkeypatch.setattr(results, "statements", refused_once)
    with Receiver() as receiver:
        make_endpoint(url=receiver.url)
        for _ in range(3):
            make_event()

        dispatch.run()

    assert WebhookDelivery.objects.get(status=SENDING).id == refused[0]
    assert WebhookDelivery.objects.filter(status=DELIVERED).count() == 2


def test_a_database_that_cannot_be_asked_ends_the_run_with_its_results_written(monkeypatch):
    claim_now, asked = dispatch.claim, []

    async def claim_once(*args, **kwargs):
        asked.append(kwargs)
        if len(asked) > 1:
            raise psycopg.OperationalError("gone")
        return await claim_now(*args, **kwargs)

    monkeypatch.setattr(dispatch, "claim", claim_once)
    with Receiver(default=Answer(delay=0.2)) as receiver:
        make_endpoint(url=receiver.url)
        for _ in range(3):
            make_event()

        with pytest.raises(psycopg.OperationalError):
            dispatch.run()

    assert WebhookDelivery.objects.filter(status=DELIVERED).count() == 3


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


def test_a_run_ends_after_its_time_and_asks_for_another(settings, sent_kicks):
    settings.PORTAL_WEBHOOK_CONCURRENCY = 1
    with Receiver(default=Answer(delay=1)) as receiver:
        make_endpoint(url=receiver.url)
        for _ in range(3):
            make_event()
        sent_kicks.clear()
        kicks.withdraw("now")

        recorded = dispatch.run(seconds=0.5)

    assert recorded == 1
    assert [lane for lane, _ in sent_kicks] == ["now"]


def test_what_hangs_does_not_keep_the_others_waiting_once_a_run_is_over():
    """There may be no other worker: the run goes on to serve those that do not fail."""
    with Receiver(default=Hang()) as hanging, Receiver() as healthy:
        make_endpoint(url=hanging.url)
        make_event()
        thread = threading.Thread(target=at_once, args=([lambda: dispatch.run(seconds=0.1)],))
        thread.start()
        hanging.wait_for(1)
        time.sleep(0.5)

        make_endpoint(url=healthy.url)
        make_event()
        healthy.wait_for(1)
        hanging.release()
        thread.join()

    assert WebhookAttempt.objects.count() >= 2


def test_more_than_may_be_under_way_waits_for_its_turn(settings):
    settings.PORTAL_WEBHOOK_CONCURRENCY = 2
    with Receiver(default=Answer(delay=0.05)) as receiver:
        for _ in range(3):
            make_endpoint(url=receiver.url)
        for _ in range(4):
            make_event()

        assert dispatch.run() == 12


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


def no_transaction_is_open():
    """A claim's may be, for a moment; one that lasts as long as the send always is."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state LIKE 'idle in transaction%'"
        )
        return cursor.fetchone()[0] == 0


def test_no_transaction_is_open_while_sending():
    """What is sent is claimed for others to see, and nothing waits for the receiver."""
    with Receiver(default=Hang()) as receiver:
        make_endpoint(url=receiver.url)
        event = make_event()
        thread = threading.Thread(target=at_once, args=([dispatch.run],))
        thread.start()
        receiver.wait_for(1)

        assert any(no_transaction_is_open() for _ in range(100))
        assert reloaded(event.deliveries.get()).status == SENDING
        receiver.release()
        thread.join()


# --- By hand --------------------------------------------------------------------------------------


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
