"""Reads of announcing: bounded, and complete within their bounds."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from common.errors import InvalidInput, NotFound
from common.ids import first_id, uuid7
from common.models import DeliveryStatus, WebhookAttempt, WebhookDelivery
from common.tests.factories import (
    make_attempt,
    make_delivery,
    make_endpoint,
    make_event,
    make_older,
)
from common.webhooks import selectors
from common.webhooks.selectors import Health, health_of

pytestmark = pytest.mark.django_db


# --- Health ----------------------------------------------------------------------------------


def attempt(endpoint, *, hours=0.0, **fields):
    made = make_attempt(
        delivery=make_delivery(endpoint=endpoint, status=DeliveryStatus.DELIVERED),
        started_at=timezone.now() - timedelta(hours=hours),
        **fields,
    )
    return make_older(made, hours=hours) if hours else made


def test_an_endpoint_that_nothing_was_sent_to_has_no_rate():
    endpoint = make_endpoint()

    assert health_of([endpoint.id]) == {endpoint.id: Health()}


def test_health_is_told_from_the_attempts_of_a_day():
    endpoint = make_endpoint()
    attempt(endpoint, hours=25, error="too old to count")
    failed = attempt(endpoint, hours=3, error="The receiver answered 500.")
    later = attempt(endpoint, hours=2, error="No answer within 30 s.")
    for milliseconds in range(1, 19):
        latest = attempt(endpoint, duration_ms=milliseconds * 10)

    health = health_of([endpoint.id])[endpoint.id]

    assert health.attempts == 20
    assert health.success_rate == pytest.approx(0.9)
    assert 160 <= health.p95_ms <= 180
    assert health.last_attempt_at == latest.started_at
    assert (health.last_failure_at, health.last_error) == (later.started_at, later.error)
    assert failed.started_at < later.started_at


def test_endpoints_do_not_share_their_health_nor_double_it():
    one, other, untouched = make_endpoint(), make_endpoint(), make_endpoint()
    attempt(one)
    attempt(other, error="refused")
    for _ in range(3):
        make_delivery(endpoint=other)

    health = health_of([one.id, other.id, untouched.id])

    assert {key: (each.attempts, each.success_rate) for key, each in health.items()} == {
        one.id: (1, 1.0),
        other.id: (1, 0.0),
        untouched.id: (0, None),
    }
    assert [health[each.id].backlog for each in (one, other, untouched)] == [0, 3, 0]


def test_the_backlog_is_what_waits_or_is_being_sent(monkeypatch):
    endpoint = make_endpoint()
    for status in DeliveryStatus:
        make_delivery(endpoint=endpoint, status=status)

    assert health_of([endpoint.id])[endpoint.id].backlog == 2
    monkeypatch.setattr(selectors, "BACKLOG_CAP", 1)
    assert health_of([endpoint.id])[endpoint.id].backlog == 1


def test_only_the_latest_attempts_count(monkeypatch):
    monkeypatch.setattr(selectors, "HEALTH_ATTEMPTS", 2)
    endpoint = make_endpoint()
    for error in ("old", "", ""):
        attempt(endpoint, error=error)

    health = health_of([endpoint.id])[endpoint.id]

    assert (health.attempts, health.success_rate, health.last_error) == (2, 1.0, "")


def test_unknown_endpoints_and_none_at_all_are_left_out():
    assert health_of([uuid7()]) == {}
    assert health_of([]) == {}


def test_health_costs_one_query_however_many_endpoints(django_assert_num_queries):
    ids = [make_endpoint().id for _ in range(5)]

    with django_assert_num_queries(1):
        assert len(health_of(ids)) == 5


def nodes(plan):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def test_the_cost_of_health_does_not_grow_with_the_attempts_that_are_kept():
    endpoints = [make_endpoint() for _ in range(3)]
    delivery = make_delivery(endpoint=endpoints[0])
    with connection.cursor() as cursor:
        for endpoint in endpoints:
            cursor.execute(
                "INSERT INTO webhook_attempt (id, created_at, updated_at, delivery_id, endpoint_id,"
                " number, started_at, duration_ms, response_body, error)"
                " SELECT (lpad(to_hex(%s + number), 12, '0') || '7000' || '8000' ||"
                " substr(md5(random()::text), 1, 12))::uuid, now(), now(), %s, %s,"
                " %s + number, now(), 5, '', '' FROM generate_series(1, 20000) AS number",
                [
                    int((timezone.now() - timedelta(minutes=1)).timestamp() * 1000),
                    delivery.id,
                    endpoint.id,
                    20_000 * endpoints.index(endpoint),
                ],
            )
        cursor.execute("ANALYZE webhook_attempt, webhook_delivery, webhook_endpoint")
        plans = []

        def explained(execute, sql, params, many, context):
            cursor = context["cursor"]
            plans.append(execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params, many, context))
            plans[-1] = cursor.fetchall()[0][0][0]["Plan"]
            return execute(sql, params, many, context)

        with connection.execute_wrapper(explained):
            health = health_of([endpoint.id for endpoint in endpoints])

    assert [each.attempts for each in health.values()] == [selectors.HEALTH_ATTEMPTS] * 3
    (plan,) = plans
    scans = [node for node in nodes(plan) if node.get("Relation Name") == "webhook_attempt"]
    assert {node.get("Index Name") for node in scans} == {"webhook_attempt_health"}
    assert max(node["Actual Rows"] for node in scans) <= selectors.HEALTH_ATTEMPTS
    assert WebhookAttempt.objects.count() == 60_000


# --- Events ----------------------------------------------------------------------------------


def test_events_come_newest_first_and_by_type_and_status():
    make_endpoint(event_types=["file.*"])
    first, second = make_event(), make_event(event_type="batch.completed")
    third = make_event()

    def ids(**chosen):
        return [event.id for event in selectors.events_page(**chosen).items]

    assert ids() == [third.id, second.id, first.id]
    assert ids(event_type="batch.completed") == [second.id]
    assert ids(status="pending") == [third.id, first.id]
    assert ids(status="delivered", event_type="file.uploaded") == []
    assert ids(limit=1) == [third.id]


def test_events_after_a_moment_or_another_come_oldest_first():
    old, *young = [make_older(make_event(), hours=hours) for hours in (3, 1, 0.5)]
    moment = timezone.now() - timedelta(hours=2)

    assert selectors.events_after(first_id(moment)) == young
    assert selectors.events_after(old.id) == young
    assert selectors.events_after(old.id, limit=1) == young[:1]
    assert selectors.events_after(young[-1].id) == []


def test_an_event_is_read_with_its_deliveries_and_their_endpoints(django_assert_num_queries):
    endpoints = [make_endpoint() for _ in range(3)]
    event = make_event()

    with django_assert_num_queries(2):
        found = selectors.get_event(event_id=event.id)
        assert [delivery.endpoint for delivery in found.deliveries.all()] == endpoints


# --- Deliveries ------------------------------------------------------------------------------


def test_deliveries_come_newest_first_and_by_endpoint_and_status(django_assert_num_queries):
    failed, waiting = make_delivery(status=DeliveryStatus.FAILED), make_delivery()
    again = make_delivery(endpoint=failed.endpoint)

    def found(**chosen):
        return selectors.deliveries_page(**chosen).items

    assert found() == [again, waiting, failed]
    assert found(endpoint_id=failed.endpoint_id) == [again, failed]
    assert found(status="failed") == [failed]
    assert found(endpoint_id=failed.endpoint_id, status="pending") == [again]
    assert found(endpoint_id=uuid7()) == []
    with django_assert_num_queries(1):
        assert {(each.event.event_type, each.endpoint.url) for each in found()}


@pytest.mark.parametrize("page", [selectors.events_page, selectors.deliveries_page])
def test_wrong_filters_are_refused(page):
    for chosen, code in (
        ({"status": "lost"}, "invalid_status"),
        ({"status": "\x00"}, "invalid_status"),
        ({"cursor": "x"}, "invalid_cursor"),
    ):
        with pytest.raises(InvalidInput) as refused:
            page(**chosen)
        assert refused.value.code == code


def test_attempts_of_a_delivery_come_newest_first_and_bounded(monkeypatch):
    delivery = make_delivery()
    attempts = [make_attempt(delivery=delivery, number=number) for number in (1, 2, 3)]
    make_attempt()

    assert selectors.attempts_of(delivery) == attempts[::-1]
    monkeypatch.setattr(selectors, "ATTEMPTS_SHOWN", 2)
    assert selectors.attempts_of(delivery) == attempts[:0:-1]


def test_what_is_unknown_is_not_found():
    with pytest.raises(NotFound) as missing:
        selectors.get_event(event_id=uuid7())
    assert missing.value.code == "event_not_found"
    with pytest.raises(NotFound) as missing:
        selectors.get_delivery(delivery_id=uuid7())
    assert missing.value.code == "delivery_not_found"


def test_a_delivery_is_read_with_event_and_endpoint(django_assert_num_queries):
    delivery = make_delivery()

    with django_assert_num_queries(1):
        found = selectors.get_delivery(delivery_id=delivery.id)
        assert (found.event.id, found.endpoint.id) == (delivery.event_id, delivery.endpoint_id)
    assert WebhookDelivery.objects.count() == 1
