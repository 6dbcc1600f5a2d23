"""One endpoint: how it fares, and what can be done to it."""

from datetime import timedelta
from urllib.parse import quote

import pytest
from django.test import Client
from django.utils import timezone

from common.ids import uuid7
from common.models import DeliveryStatus, DisabledReason, WebhookDelivery, WebhookEndpoint
from common.outbox import kicks
from common.tests.factories import make_attempt, make_delivery, make_endpoint
from common.tests.receiver import Answer, Receiver

ACTS = (
    "test",
    "secret",
    "secret/rotate",
    "secret/replace",
    "secret/revoke",
    "enable",
    "disable",
    "remove",
    "recover",
)
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch):
    """Nothing sends in the background."""
    monkeypatch.setattr(kicks, "_senders", [lambda *_: None])


def page_of(endpoint: WebhookEndpoint, part: str = "") -> str:
    return f"/app/webhooks/{endpoint.id}/{part}"


def test_others_see_nothing_and_viewers_change_nothing(
    ada: Client, viewer: Client, client: Client, db
):
    endpoint = make_endpoint()
    assert client.get(page_of(endpoint)).status_code == 302
    for part in ("", "state/"):
        assert ada.get(page_of(endpoint, part)).status_code == 403
        assert viewer.get(page_of(endpoint, part)).status_code == 200
    for act in ACTS:
        for other in (ada, viewer):
            assert other.post(page_of(endpoint, f"{act}/")).status_code == 403
        assert client.post(page_of(endpoint, f"{act}/")).status_code == 302
    assert WebhookEndpoint.objects.get(is_active=True).secret == endpoint.secret


def test_a_viewer_is_offered_nothing_to_do(viewer: Client):
    content = viewer.get(page_of(make_endpoint())).content.decode()
    acts = content.split("<main")[1].split("</main>")[0]
    assert "<form" in acts  # the filter
    assert 'method="post"' not in acts
    assert "Signing secret" not in acts


def test_the_page_shows_settings_and_health(grace: Client):
    endpoint = make_endpoint(
        url="https://runner.example/hook?key=1",
        description="Transcriber",
        event_types=["file.*"],
        content_types=["audio/*"],
        headers={"X-Team": "hidden-value"},
        retry_schedule=[0, 300],
    )
    delivery = make_delivery(endpoint=endpoint)
    make_attempt(delivery=delivery, error="The receiver answered 500.")
    content = grace.get(page_of(endpoint)).content.decode()
    for shown in ("https://runner.example/hook?key=1", "Transcriber", "file.*", "audio/*"):
        assert shown in content
    for shown in ("X-Team", "0s, 5m", "0 %", "The receiver answered 500."):
        assert shown in content
    assert "hidden-value" not in content
    assert endpoint.secret not in content


def test_an_endpoint_that_is_gone_is_a_404(grace: Client):
    for part in ("", "state/"):
        assert grace.get(f"/app/webhooks/{uuid7()}/{part}").status_code == 404
    for act in ACTS:
        assert grace.post(f"/app/webhooks/{uuid7()}/{act}/").status_code == 404, act


@pytest.mark.parametrize("act", [act for act in ACTS if act != "secret"])
def test_a_link_changes_nothing(grace: Client, act: str):
    assert grace.get(page_of(make_endpoint(), f"{act}/")).status_code == 405


# --- Deliveries ------------------------------------------------------------------------------


def test_deliveries_are_filtered_and_loaded_page_by_page(grace: Client):
    endpoint = make_endpoint()
    for _ in range(52):
        make_delivery(endpoint=endpoint, status=DeliveryStatus.FAILED, last_error="It was down.")
    make_delivery(endpoint=endpoint, status=DeliveryStatus.DELIVERED)
    make_delivery()  # of another endpoint
    first = grace.get(page_of(endpoint), {"status": "failed"}, headers=HTMX)
    assert b"<html" not in first.content
    assert b"It was down." in first.content
    cursor = first.context["page"].next_cursor
    rest = grace.get(page_of(endpoint), {"status": "failed", "cursor": cursor}, headers=HTMX)
    assert b"<table" not in rest.content
    assert len(first.context["page"].items + rest.context["page"].items) == 52
    assert grace.get(page_of(endpoint), {"cursor": "x"}).status_code == 404


def test_an_empty_list_of_deliveries_explains_itself(grace: Client):
    endpoint = make_endpoint()
    assert b"Nothing was sent yet" in grace.get(page_of(endpoint)).content
    assert (
        b"No delivery is in this state" in grace.get(f"{page_of(endpoint)}?status=failed").content
    )


def test_the_page_looks_again_only_while_something_is_on_its_way(grace: Client):
    delivery = make_delivery()
    page = page_of(delivery.endpoint)
    response = grace.get(f"{page}state/")
    assert "every 2s" in response.content.decode()
    assert response.headers["HX-Trigger"] == "deliveries-moved"
    WebhookDelivery.objects.update(due_at=timezone.now() + timedelta(hours=5))
    assert "every 30s" in grace.get(f"{page}state/").content.decode()
    WebhookDelivery.objects.update(status=DeliveryStatus.FAILED)
    assert "every" not in grace.get(f"{page}state/").content.decode()


def test_the_list_looks_again_unless_more_of_it_was_loaded(grace: Client):
    endpoint = make_endpoint()
    listens = 'hx-trigger="deliveries-moved from:body"'
    assert listens in grace.get(page_of(endpoint), headers=HTMX).content.decode()  # empty
    for _ in range(51):
        make_delivery(endpoint=endpoint)
    first = grace.get(page_of(endpoint), headers=HTMX)
    assert listens in first.content.decode()
    cursor = first.context["page"].next_cursor
    rest = grace.get(page_of(endpoint), {"cursor": cursor}, headers=HTMX)
    assert listens not in rest.content.decode()


def test_the_page_costs_the_same_with_many_deliveries(grace: Client, count_queries):
    endpoint = make_endpoint()

    def cost() -> int:
        with count_queries() as queries:
            grace.get(page_of(endpoint))
        return len(queries)

    make_attempt(delivery=make_delivery(endpoint=endpoint))
    few = cost()
    for _ in range(20):
        make_attempt(delivery=make_delivery(endpoint=endpoint))
    assert cost() == few


# --- Test ------------------------------------------------------------------------------------


def test_a_test_shows_the_real_answer(grace: Client):
    answer = Answer(503, {"X-Reason": "asleep"}, b"<script>alert(1)</script>")
    with Receiver(answer) as receiver:
        endpoint = make_endpoint(url=receiver.url, headers={"X-Team": "hidden-value"})
        response = grace.post(page_of(endpoint, "test/"), headers=HTMX)
    content = response.content.decode()
    assert b"<html" not in response.content
    assert response.headers["HX-Trigger"] == "deliveries-changed"
    assert receiver.received[0].json["type"] == "webhook.test"
    assert receiver.received[0].headers["x-team"] == "hidden-value"
    for shown in ("The test failed", "HTTP 503", "X-Reason: asleep", "webhook-signature"):
        assert shown.lower() in content.lower()
    assert "&lt;script&gt;alert(1)" in content
    assert "<script" not in content
    assert "hidden-value" not in content
    assert f"/app/webhooks/deliveries/{WebhookDelivery.objects.get().id}/" in content


def test_a_test_works_without_a_script(grace: Client):
    with Receiver() as receiver:
        endpoint = make_endpoint(url=receiver.url)
        response = grace.post(page_of(endpoint, "test/"))
    assert b"</html>" in response.content
    assert b"The receiver answered 200" in response.content


def test_a_receiver_that_is_not_there_is_said_so(grace: Client):
    with Receiver() as receiver:
        url = receiver.url
    content = grace.post(page_of(make_endpoint(url=url), "test/"), headers=HTMX).content
    assert b"The test failed" in content
    assert b"No answer" in content


# --- Secret ----------------------------------------------------------------------------------


def test_the_secret_is_shown_on_demand_and_never_cached(grace: Client):
    endpoint = make_endpoint()
    assert endpoint.secret not in grace.get(page_of(endpoint)).content.decode()
    response = grace.post(page_of(endpoint, "secret/"), headers=HTMX)
    assert endpoint.secret in response.content.decode()
    assert "no-store" in response.headers["Cache-Control"]
    hidden = grace.get(page_of(endpoint, "secret/"), headers=HTMX)
    assert endpoint.secret not in hidden.content.decode()
    assert endpoint.secret in grace.post(page_of(endpoint, "secret/")).content.decode()


def test_a_rotation_shows_the_new_secret_and_when_the_old_one_ends(grace: Client):
    endpoint = make_endpoint()
    content = grace.post(page_of(endpoint, "secret/rotate/"), headers=HTMX).content.decode()
    now = WebhookEndpoint.objects.get()
    assert now.secret in content
    assert endpoint.secret not in content
    assert "Old secrets still sign" in content
    assert "in 24 hours" in content

    content = grace.post(page_of(endpoint, "secret/revoke/"), headers=HTMX).content.decode()
    assert "Only the current secret signs now" in content
    assert "Old secrets still sign" not in content
    assert now.secret not in content
    assert WebhookEndpoint.objects.get().secret == now.secret


def test_a_secret_that_cannot_be_read_is_replaced(grace: Client, settings):
    key = settings.SECRET_KEY
    settings.SECRET_KEY = "another one, that is lost"
    endpoint = make_endpoint(headers={"X-A": "1"})
    settings.SECRET_KEY = key
    assert b"cannot be decrypted" in grace.get(page_of(endpoint)).content
    for act in ("secret/", "secret/rotate/"):
        content = grace.post(page_of(endpoint, act), headers=HTMX).content
        assert b"cannot be decrypted" in content
        assert b"Make a new secret" in content
    page = grace.post(page_of(endpoint, "secret/replace/"), headers=HTMX).content.decode()
    assert WebhookEndpoint.objects.get().secret in page


# --- On, off, away ---------------------------------------------------------------------------


def test_disabling_gives_up_what_waits(grace: Client):
    delivery = make_delivery()
    response = grace.post(page_of(delivery.endpoint, "disable/"), follow=True)
    assert b"The endpoint is disabled." in response.content
    assert b"disabled by hand" in response.content
    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.FAILED


def test_enabling_offers_what_was_missed_since_the_trouble_began(grace: Client):
    began = timezone.now() - timedelta(hours=30)
    endpoint = make_endpoint(
        is_active=False,
        disabled_reason=DisabledReason.FAILING,
        disabled_at=timezone.now(),
        failing_since=began,
    )
    response = grace.post(page_of(endpoint, "enable/"))
    address = response.headers["Location"]
    assert address == f"{page_of(endpoint)}?since={quote(began.isoformat())}"
    page = grace.get(address)
    assert b"Send again what was missed" in page.content
    assert b"since it began" in page.content

    offered = page.context["recover_form"].fields["window"].choices[0][0]
    grace.post(
        f"{page_of(endpoint, 'recover/')}?since={quote(began.isoformat())}", {"window": offered}
    )
    state = grace.get(page_of(endpoint, "state/")).content.decode()
    assert "Recovering" in state
    assert "every 2s" in state


@pytest.mark.parametrize("since", ["x", "2026-13-01T00:00:00", "2026-01-01T00:00:00", ""])
def test_a_broken_time_in_the_address_is_as_none(grace: Client, since: str):
    response = grace.get(page_of(make_endpoint()), {"since": since})
    assert response.status_code == 200
    assert response.context["since"] is None


def test_recovery_since_a_time_of_ones_own(grace: Client):
    endpoint = make_endpoint()
    grace.post(page_of(endpoint, "recover/"), {"window": "1", "at": "2026-01-02T03:04"})
    endpoint.refresh_from_db()
    assert endpoint.recovery_after.int >> 80 == 1767323040000  # 2026-01-02 03:04 UTC


@pytest.mark.parametrize("values", [{"at": "2999-01-01T00:00"}, {"at": "x"}, {"window": "2"}])
def test_recovery_since_no_time_that_can_be_is_refused_at_its_field(grace: Client, values):
    endpoint = make_endpoint()
    response = grace.post(page_of(endpoint, "recover/"), values)
    assert list(response.context["recover_form"].errors) == list(values)
    assert b'class="errorlist' in response.content
    endpoint.refresh_from_db()
    assert endpoint.recovery_after is None


def test_a_disabled_endpoint_cannot_recover(grace: Client):
    endpoint = make_endpoint(is_active=False)
    response = grace.post(page_of(endpoint, "recover/"), {"window": "24"}, follow=True)
    assert b"enable it first" in response.content


def test_removing_takes_the_deliveries_along(grace: Client):
    delivery = make_delivery(endpoint=make_endpoint(description="Old one"))
    response = grace.post(page_of(delivery.endpoint, "remove/"), follow=True)
    assert b"The endpoint <bdi>Old one</bdi> is removed." in response.content
    assert not WebhookDelivery.objects.exists()
