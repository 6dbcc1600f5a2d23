"""One delivery: what was sent, what came back, and sending it again."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from common.ids import uuid7
from common.models import DeliveryStatus, WebhookDelivery
from common.outbox import kicks
from common.tests.factories import make_attempt, make_delivery, make_endpoint

HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch):
    """Nothing sends in the background."""
    monkeypatch.setattr(kicks, "_senders", [lambda *_: None])


def page_of(delivery: WebhookDelivery, part: str = "") -> str:
    return f"/app/webhooks/deliveries/{delivery.id}/{part}"


def test_others_see_nothing_and_viewers_send_nothing(
    ada: Client, viewer: Client, client: Client, db
):
    delivery = make_delivery(status=DeliveryStatus.FAILED)
    assert client.get(page_of(delivery)).status_code == 302
    assert ada.get(page_of(delivery)).status_code == 403
    content = viewer.get(page_of(delivery)).content
    assert b"Send again" not in content
    for other in (ada, viewer):
        assert other.post(page_of(delivery, "resend/")).status_code == 403
    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.FAILED


def test_attempts_show_what_was_sent_and_what_came_back(grace: Client):
    delivery = make_delivery(
        status=DeliveryStatus.PENDING, due_at=timezone.now() + timedelta(hours=2), attempt_count=1
    )
    make_attempt(
        delivery=delivery,
        error="The receiver answered 500.",
        request_headers={"webhook-id": "evt", "X-Team": "(hidden)"},
        response_headers={"x-powered-by": "<b>curiosity</b>"},
        response_body="<script>alert('x')</script>",
    )
    content = grace.get(page_of(delivery)).content.decode()
    for shown in ("HTTP 500", "12 ms", "The receiver answered 500.", "webhook-id: evt"):
        assert shown in content
    assert "in 2 hours" in content
    assert "&quot;type&quot;: &quot;file.uploaded&quot;" in content
    assert "&lt;script&gt;alert(" in content
    assert "x-powered-by: &lt;b&gt;curiosity" in content
    assert "alert('x')" not in content


def test_an_attempt_without_an_answer_says_why(grace: Client):
    delivery = make_delivery(attempt_count=1)
    make_attempt(
        delivery=delivery,
        error="Connection refused",
        response_status=None,
        response_headers=None,
        response_body="",
    )
    content = grace.get(page_of(delivery)).content.decode()
    assert "No answer" in content
    assert "Connection refused" in content


def test_details_that_were_purged_are_said_to_be_gone(grace: Client):
    delivery = make_delivery(attempt_count=1)
    make_attempt(delivery=delivery, request_headers=None, response_headers=None, response_body="")
    assert b"Those of this attempt are gone" in grace.get(page_of(delivery)).content


def test_the_page_follows_a_delivery_until_it_is_over(grace: Client):
    delivery = make_delivery()
    fragment = grace.get(page_of(delivery), headers=HTMX).content.decode()
    assert "<html" not in fragment
    assert f'hx-get="{page_of(delivery)}" hx-trigger="every 2s"' in fragment
    WebhookDelivery.objects.update(status=DeliveryStatus.DELIVERED, delivered_at=timezone.now())
    fragment = grace.get(page_of(delivery), headers=HTMX).content.decode()
    assert "hx-get" not in fragment
    assert "Delivered" in fragment


def test_it_is_sent_again_and_one_comes_back_to_where_one_was(grace: Client):
    delivery = make_delivery(status=DeliveryStatus.FAILED)
    response = grace.post(page_of(delivery, "resend/"))
    assert response.headers["Location"] == page_of(delivery)
    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.PENDING
    response = grace.post(page_of(delivery, "resend/"), {"next": "/app/events/"})
    assert response.headers["Location"] == "/app/events/"
    for elsewhere in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        response = grace.post(page_of(delivery, "resend/"), {"next": elsewhere})
        assert response.headers["Location"] == page_of(delivery)


def test_what_cannot_be_sent_again_says_why(grace: Client):
    disabled = make_delivery(endpoint=make_endpoint(is_active=False), status=DeliveryStatus.FAILED)
    assert b"Send again" not in grace.get(page_of(disabled)).content
    response = grace.post(page_of(disabled, "resend/"), follow=True)
    assert b"enable it first" in response.content
    busy = make_delivery(status=DeliveryStatus.SENDING)
    response = grace.post(page_of(busy, "resend/"), follow=True)
    assert b"being sent at this moment" in response.content


def test_a_delivery_that_is_gone_is_a_404(grace: Client):
    address = f"/app/webhooks/deliveries/{uuid7()}/"
    assert grace.get(address).status_code == 404
    assert grace.post(f"{address}resend/").status_code == 404


def test_the_page_costs_the_same_with_many_attempts(grace: Client, count_queries):
    delivery = make_delivery()

    def cost() -> int:
        with count_queries() as queries:
            grace.get(page_of(delivery))
        return len(queries)

    make_attempt(delivery=delivery)
    few = cost()
    for number in range(2, 30):
        make_attempt(delivery=delivery, number=number)
    assert cost() == few
