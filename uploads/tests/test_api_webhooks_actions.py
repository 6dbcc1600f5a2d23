"""What can be done with a webhook: test, disable, enable, recover."""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from accounts.tests.factories import make_user
from common.models import DeliveryStatus, OutboxEvent, WebhookDelivery, WebhookEndpoint
from common.tests.factories import (
    make_delivery,
    make_earlier_endpoint,
    make_endpoint,
    make_event,
)
from common.tests.receiver import Answer, Receiver
from common.tests.threads import at_once
from common.webhooks import recovery
from uploads.tests.factories import Api, assert_problem

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_kicks")]


def at(endpoint, action: str) -> str:
    return f"/api/v1/webhooks/{endpoint.id}/{action}"


def hour_ago(hours: float = 1) -> str:
    return (timezone.now() - timedelta(hours=hours)).isoformat()


def statuses() -> set[str]:
    return set(WebhookDelivery.objects.values_list("status", flat=True))


def advance_to_end(endpoint) -> None:
    while recovery.advance(endpoint_id=endpoint.id) is not None:
        pass


def test_a_test_answers_what_came_of_it(staff):
    answer = Answer(status=202, headers={"X-Seen": "yes"}, body=b"thanks")
    with Receiver(answer) as receiver:
        endpoint = make_endpoint(url=receiver.url, headers={"X-Key": "hush"})
        reply = staff.post(at(endpoint, "test"))

    came = reply.json()
    (received,) = receiver.received
    assert reply.status_code == 200
    assert received.headers["x-key"] == "hush"
    assert "hush" not in reply.content.decode()
    assert (came["succeeded"], came["error"], came["number"]) == (True, "", 1)
    assert (came["response_status"], came["response_body"]) == (202, "thanks")
    assert {name.lower(): value for name, value in came["response_headers"].items()}[
        "x-seen"
    ] == "yes"
    sent = {name.lower(): value for name, value in came["request_headers"].items()}
    assert sent["webhook-signature"] == received.headers["webhook-signature"]
    assert came["delivery_id"] == str(WebhookDelivery.objects.get().id)


def test_a_test_that_fails_is_an_answer_too(staff):
    with Receiver(Answer(status=500, body=b"broken")) as receiver:
        endpoint = make_endpoint(url=receiver.url)
        reply = staff.post(at(endpoint, "test"))

    came = reply.json()
    assert (reply.status_code, came["succeeded"], came["response_status"]) == (200, False, 500)
    assert came["response_body"] == "broken"
    assert "500" in came["error"]


def test_a_test_without_any_response_says_why(staff):
    with Receiver() as receiver:
        closed = receiver.url
    came = staff.post(at(make_endpoint(url=closed), "test")).json()

    assert came["succeeded"] is False
    assert came["response_status"] is None
    assert came["error"]


def test_disabling_fails_what_waits_and_enabling_starts_anew(staff):
    endpoint = make_endpoint(consecutive_failures=3, failing_since=timezone.now())
    make_delivery(endpoint=endpoint)

    disabled = staff.post(at(endpoint, "disable")).json()
    assert (disabled["is_active"], disabled["disabled_reason"]) == (False, "manual")
    assert disabled["disabled_at"] is not None
    assert statuses() == {"failed"}

    enabled = staff.post(at(endpoint, "enable")).json()
    assert (enabled["is_active"], enabled["disabled_reason"]) == (True, "")
    assert enabled["disabled_at"] is enabled["failing_since"] is None
    assert enabled["consecutive_failures"] == 0


def test_a_webhook_that_is_disabled_many_times_at_once_is_announced_once():
    endpoint = make_endpoint()
    for _ in range(10):
        make_delivery(endpoint=endpoint)
    user = make_user(is_staff=True)

    replies = at_once([partial(Api(user).post, at(endpoint, "disable")) for _ in range(6)])

    assert {reply.status_code for reply in replies} == {200}
    assert OutboxEvent.objects.filter(event_type="webhook.disabled").count() == 1
    assert statuses() == {"failed"}


def test_enabling_and_disabling_at_once_end_in_one_state_or_the_other():
    endpoint = make_endpoint()
    user = make_user(is_staff=True)
    actions = ["enable", "disable"] * 4

    replies = at_once([partial(Api(user).post, at(endpoint, action)) for action in actions])

    assert {reply.status_code for reply in replies} == {200}
    now = WebhookEndpoint.objects.get()
    whole = {True: ("", False), False: ("manual", True)}
    assert (now.disabled_reason, now.disabled_at is not None) == whole[now.is_active]


def test_recovery_goes_on_in_the_background(staff):
    endpoint = make_endpoint()
    make_delivery(endpoint=endpoint, status=DeliveryStatus.FAILED)
    make_delivery(endpoint=endpoint, status=DeliveryStatus.DELIVERED)

    reply = staff.post(at(endpoint, "recover"), {"since": hour_ago()})

    assert (reply.status_code, reply.json()["recovering"]) == (202, True)
    advance_to_end(endpoint)
    assert sorted(WebhookDelivery.objects.values_list("status", flat=True)) == [
        "delivered",
        "pending",
    ]
    assert staff.get(f"/api/v1/webhooks/{endpoint.id}").json()["recovering"] is False


def test_recovery_reaches_back_to_before_all_time(staff):
    endpoint = make_endpoint()
    make_delivery(endpoint=endpoint, status=DeliveryStatus.FAILED)

    reply = staff.post(at(endpoint, "recover"), {"since": "0001-01-01T00:00:00Z"})

    assert reply.status_code == 202
    advance_to_end(endpoint)
    assert statuses() == {"pending"}


def test_a_recovery_since_a_time_that_is_yet_to_come_is_refused(staff):
    tomorrow = (timezone.now() + timedelta(days=1)).isoformat()

    reply = staff.post(at(make_endpoint(), "recover"), {"since": tomorrow})

    assert_problem(reply, 400, "invalid_since")


@pytest.mark.parametrize(
    "body",
    [
        {},
        *({"since": each} for each in ("yesterday", "2026-11-20T10:00:00", "2026-11-20", 0, "0")),
        *({"since": each} for each in (1_795_000_000, "1795000000", 0.5, None, [])),
    ],
)
def test_recovery_needs_a_moment_with_its_time_zone(staff, body):
    reply = staff.post(at(make_endpoint(), "recover"), body)

    assert_problem(reply, 400, "invalid_request")


def test_a_disabled_webhook_is_enabled_first(staff):
    endpoint = make_endpoint(is_active=False)

    reply = staff.post(at(endpoint, "recover"), {"since": hour_ago()})

    assert_problem(reply, 409, "webhook_disabled")


def test_recoveries_asked_for_at_once_reach_back_to_the_earliest():
    events = [make_event() for _ in range(3)]
    endpoint = make_earlier_endpoint()
    user = make_user(is_staff=True)
    moments = [hour_ago(hours) for hours in (1, 48, 0.5, 2, 0.1)]

    replies = at_once(
        [partial(Api(user).post, at(endpoint, "recover"), {"since": each}) for each in moments]
    )

    assert {reply.status_code for reply in replies} == {202}
    position = WebhookEndpoint.objects.get().recovery_after
    begin = position.int >> 80
    assert abs(begin - (timezone.now() - timedelta(hours=48)).timestamp() * 1000) < 600_000
    advance_to_end(endpoint)
    recovered = WebhookDelivery.objects.filter(endpoint=endpoint)
    assert set(recovered.values_list("event_id", flat=True)) == {event.id for event in events}


def test_a_recovery_that_two_workers_advance_starts_each_delivery_once():
    events = [make_event() for _ in range(30)]
    endpoint = make_earlier_endpoint()
    recovery.start(endpoint_id=endpoint.id, since=timezone.now() - timedelta(hours=1))

    started = at_once([partial(recovery.advance, endpoint_id=endpoint.id)] * 4)

    assert sum(each or 0 for each in started) == len(events)
    assert WebhookDelivery.objects.filter(endpoint=endpoint).count() == len(events)
