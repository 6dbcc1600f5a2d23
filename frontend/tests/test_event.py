"""One event: what receivers get, who got it, and telling them again."""

import pytest
from django.test import Client

from accounts.models import User
from common.ids import uuid7
from common.models import DeliveryStatus, OutboxEvent, WebhookDelivery
from common.outbox import kicks
from common.tests.factories import make_delivery, make_endpoint, make_event
from uploads.tests.factories import make_stored

HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch):
    """Nothing sends in the background."""
    monkeypatch.setattr(kicks, "_senders", [lambda *_: None])


def page_of(event: OutboxEvent, part: str = "") -> str:
    return f"/app/events/{event.id}/{part}"


def test_others_see_nothing_and_viewers_send_nothing(
    ada: Client, viewer: Client, client: Client, db
):
    event = make_delivery(status=DeliveryStatus.DELIVERED).event
    assert client.get(page_of(event)).status_code == 302
    assert ada.get(page_of(event)).status_code == 403
    assert b"Send again" not in viewer.get(page_of(event)).content
    for other in (ada, viewer):
        assert other.post(page_of(event, "resend/")).status_code == 403
    assert WebhookDelivery.objects.get().status == DeliveryStatus.DELIVERED


def test_the_envelope_and_the_deliveries_are_shown(grace: Client):
    make_endpoint(url="https://runner.example/hook?key=hidden-key")
    make_endpoint(description="Transcriber")
    event = make_event(payload=None)
    content = grace.get(page_of(event)).content.decode()
    assert f"&quot;id&quot;: &quot;{event.id}&quot;" in content
    for name in ("runner.example", "Transcriber"):
        assert name in content
    assert "hidden-key" not in content


def test_what_an_event_says_is_text(grace: Client):
    event = make_event()
    OutboxEvent.objects.update(payload={"file": {"original_filename": "<script>alert(1)</script>"}})
    for page in (page_of(event), "/app/events/"):
        content = grace.get(page).content.decode()
        assert "&lt;script&gt;alert(1)" in content
        assert "<script>alert" not in content


def test_an_event_nobody_is_subscribed_to_says_so(grace: Client):
    assert b"Nobody is subscribed" in grace.get(page_of(make_event())).content


def test_the_page_follows_the_deliveries_until_all_are_over(grace: Client):
    delivery = make_delivery()
    fragment = grace.get(page_of(delivery.event), headers=HTMX).content.decode()
    assert "<html" not in fragment
    assert f'hx-get="{page_of(delivery.event)}" hx-trigger="every 2s"' in fragment
    WebhookDelivery.objects.update(status=DeliveryStatus.FAILED)
    assert b"hx-get" not in grace.get(page_of(delivery.event), headers=HTMX).content


def test_a_files_event_leads_to_the_file_for_who_may_open_it(
    grace: Client, viewer: Client, user: User
):
    make_endpoint()
    file = make_stored(user=user)
    event = OutboxEvent.objects.get()
    link = f'href="/app/uploads/{file.id}/"'
    assert link in grace.get(page_of(event)).content.decode()
    assert link not in viewer.get(page_of(event)).content.decode()


def test_an_event_is_sent_again_to_all_that_it_was_meant_for(grace: Client):
    make_endpoint(), make_endpoint()
    event = make_event()
    WebhookDelivery.objects.update(status=DeliveryStatus.DELIVERED)
    make_endpoint()
    response = grace.post(page_of(event, "resend/"), {"endpoint": ""}, follow=True)
    assert b"sent again to 2 endpoints" in response.content
    assert WebhookDelivery.objects.filter(status=DeliveryStatus.PENDING).count() == 2


def test_an_event_is_sent_to_one_endpoint_that_never_got_it(grace: Client):
    event = make_event()
    endpoint = make_endpoint()
    response = grace.post(page_of(event, "resend/"), {"endpoint": str(endpoint.id)}, follow=True)
    assert b"sent again to 1 endpoint." in response.content
    assert WebhookDelivery.objects.get().endpoint == endpoint


def test_an_event_for_nobody_is_not_sent_and_said_so(grace: Client):
    response = grace.post(page_of(make_event(), "resend/"), follow=True)
    assert b"No active endpoint was meant to get this event." in response.content


@pytest.mark.parametrize("endpoint", ["x", "0198f000-0000-7000-8000-000000000000"])
def test_an_endpoint_that_is_not_on_offer_is_refused(grace: Client, endpoint: str):
    make_endpoint(is_active=False)
    response = grace.post(page_of(make_event(), "resend/"), {"endpoint": endpoint}, follow=True)
    assert b"Choose an endpoint from the list." in response.content
    assert not WebhookDelivery.objects.exists()


def test_an_event_that_is_gone_is_a_404(grace: Client):
    assert grace.get(f"/app/events/{uuid7()}/").status_code == 404
    assert grace.post(f"/app/events/{uuid7()}/resend/").status_code == 404


def test_the_link_to_a_file_is_shown_to_those_who_may_read_it(grace: Client, viewer: Client):
    endpoint = make_endpoint()
    event = OutboxEvent.objects.get(aggregate_id=make_stored().id)
    delivery = WebhookDelivery.objects.get(event=event, endpoint=endpoint)
    for page in (page_of(event), f"/app/webhooks/deliveries/{delivery.id}/"):
        assert event.payload["file"]["url"] in grace.get(page).content.decode()
        content = viewer.get(page).content.decode()
        assert event.payload["file"]["url"] not in content
        assert "(hidden)" in content
