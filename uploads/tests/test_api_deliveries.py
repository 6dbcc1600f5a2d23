"""/api/v1/deliveries, and the deliveries of a webhook."""

from functools import partial

import pytest
from django.utils import timezone

from accounts.tests.factories import make_user
from common.models import DeliveryStatus, WebhookDelivery
from common.tests.factories import make_attempt, make_delivery, make_endpoint
from common.tests.threads import at_once
from uploads.tests.factories import Api, assert_problem

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_kicks")]

DELIVERIES = "/api/v1/deliveries"


def of(endpoint) -> str:
    return f"/api/v1/webhooks/{endpoint.id}/deliveries"


def test_a_webhooks_deliveries_come_in_pages_newest_first(staff):
    endpoint = make_endpoint()
    ids = [str(make_delivery(endpoint=endpoint).id) for _ in range(5)]
    make_delivery()

    first = staff.get(of(endpoint), limit=3).json()
    rest = staff.get(of(endpoint), limit=3, cursor=first["next_cursor"]).json()

    assert [each["id"] for each in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert_problem(staff.get(of(endpoint), cursor="x"), 400, "invalid_cursor")


def test_deliveries_can_be_chosen_by_status(staff):
    endpoint = make_endpoint()
    made = {status: make_delivery(endpoint=endpoint, status=status) for status in DeliveryStatus}

    for status, delivery in made.items():
        (only,) = staff.get(of(endpoint), status=status).json()["items"]
        assert (only["id"], only["status"]) == (str(delivery.id), status)
    assert_problem(staff.get(of(endpoint), status="lost"), 400, "invalid_status")


def test_a_delivery_tells_what_goes_where(staff):
    delivery = make_delivery(attempt_count=1, last_error="The receiver answered 500.")

    (shown,) = staff.get(of(delivery.endpoint)).json()["items"]

    assert shown["event_id"] == str(delivery.event_id)
    assert shown["event_type"] == "file.uploaded"
    assert shown["webhook_id"] == str(delivery.endpoint_id)
    assert shown["webhook_url"] == delivery.endpoint.url
    assert (shown["attempt_count"], shown["last_error"]) == (1, "The receiver answered 500.")
    assert shown["next_attempt_at"] is not None
    assert shown["delivered_at"] is None


def test_only_a_pending_delivery_has_a_next_attempt(staff):
    delivery = make_delivery(status=DeliveryStatus.SENDING)

    assert staff.get(f"{DELIVERIES}/{delivery.id}").json()["next_attempt_at"] is None


def test_a_delivery_is_shown_with_its_attempts_newest_first(staff):
    delivery = make_delivery()
    failed = {"error": "No response.", "response_status": None, "response_headers": None}
    make_attempt(delivery=delivery, number=1, **failed)
    make_attempt(delivery=delivery, number=2)

    second, first = staff.get(f"{DELIVERIES}/{delivery.id}").json()["attempts"]

    assert (first["number"], first["succeeded"], first["error"]) == (1, False, "No response.")
    assert first["response_status"] is first["response_headers"] is None
    assert (second["number"], second["succeeded"], second["duration_ms"]) == (2, True, 12)
    assert second["request_headers"] == {"webhook-id": str(delivery.event_id)}
    assert (second["response_status"], second["response_body"]) == (200, "ok")
    assert second["response_headers"] == {"content-type": "text/plain"}


@pytest.mark.parametrize("status", ["pending", "delivered", "failed"])
def test_a_delivery_can_be_sent_again_whatever_became_of_it(staff, status):
    delivery = make_delivery(status=status, schedule_step=3, attempt_count=3)

    reply = staff.post(f"{DELIVERIES}/{delivery.id}/resend")

    assert reply.status_code == 202
    assert (reply.json()["id"], reply.json()["status"]) == (str(delivery.id), "pending")
    delivery.refresh_from_db()
    assert (delivery.schedule_step, delivery.attempt_count) == (0, 3)
    assert delivery.due_at <= timezone.now()


def test_a_delivery_that_is_being_sent_is_left_alone(staff):
    delivery = make_delivery(status=DeliveryStatus.SENDING)

    reply = staff.post(f"{DELIVERIES}/{delivery.id}/resend")

    assert_problem(reply, 409, "delivery_in_progress")


def test_nothing_is_resent_to_a_disabled_webhook(staff):
    delivery = make_delivery(endpoint=make_endpoint(is_active=False), status=DeliveryStatus.FAILED)

    reply = staff.post(f"{DELIVERIES}/{delivery.id}/resend")

    assert_problem(reply, 409, "webhook_disabled")


def test_resending_many_times_at_once_leaves_one_delivery_to_send():
    delivery = make_delivery(status=DeliveryStatus.FAILED)
    user = make_user(is_staff=True)
    path = f"{DELIVERIES}/{delivery.id}/resend"

    replies = at_once([partial(Api(user).post, path) for _ in range(8)])

    assert {reply.status_code for reply in replies} == {202}
    only = WebhookDelivery.objects.get()
    assert (only.status, only.schedule_step) == ("pending", 0)
    assert only.event.status == "pending"
