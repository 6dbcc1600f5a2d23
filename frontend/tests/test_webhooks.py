"""The list of endpoints."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from common.ids import uuid7
from common.models import DeliveryStatus, DisabledReason
from common.tests.factories import make_attempt, make_delivery, make_endpoint
from frontend.tests.conftest import client_of

PAGE = "/app/webhooks/"


def test_who_may_not_see_webhooks_is_refused(ada: Client, user: User, client: Client):
    assert client.get(PAGE).headers["Location"] == f"/app/login/?next={PAGE}"
    assert ada.get(PAGE).status_code == 403
    User.objects.filter(id=user.id).update(is_staff=True)
    assert client_of(user).get(PAGE).status_code == 403  # staff, but without the permission


def test_an_empty_list_explains_itself(grace: Client, viewer: Client):
    assert b"Nobody is told of events yet" in grace.get(PAGE).content
    assert b"/app/webhooks/new/" in grace.get(PAGE).content
    assert b"/app/webhooks/new/" not in viewer.get(PAGE).content


def test_endpoints_are_listed_with_their_health(grace: Client):
    endpoint = make_endpoint(description="Transcriber")
    delivery = make_delivery(endpoint=endpoint, status=DeliveryStatus.DELIVERED)
    for number in (1, 2, 3):
        make_attempt(delivery=delivery, number=number, duration_ms=1500)
    make_attempt(delivery=delivery, number=4, error="The receiver answered 500.", duration_ms=1500)
    make_delivery(endpoint=endpoint)
    content = grace.get(PAGE).content.decode()
    for shown in ("Transcriber", "75 %", "1.5 s", "Active", f"{PAGE}{endpoint.id}/"):
        assert shown in content
    assert "1 waiting" in content


@pytest.mark.parametrize(
    ("fields", "badge"),
    [
        ({}, "Active"),
        ({"failing_since": timezone.now(), "consecutive_failures": 2}, "Failing"),
        ({"is_active": False, "disabled_reason": DisabledReason.GONE}, "Disabled"),
        ({"recovery_after": uuid7(), "recovery_until": uuid7()}, "Recovering"),
        ({"expires_at": timezone.now() + timedelta(minutes=5)}, "Temporary"),
    ],
)
def test_the_state_of_an_endpoint_is_a_badge(grace: Client, fields, badge: str):
    make_endpoint(**fields)
    assert f">{badge}</span>" in grace.get(PAGE).content.decode()


def test_no_secret_is_in_the_list(grace: Client):
    endpoint = make_endpoint(
        url="https://hooks.example/in?key=hidden-key", headers={"Authorization": "hidden-value"}
    )
    content = grace.get(PAGE).content.decode()
    assert "https://hooks.example/in?…" in content
    for secret in ("hidden-key", "hidden-value", endpoint.secret):
        assert secret not in content


def test_more_endpoints_are_loaded_page_by_page(grace: Client):
    made = {str(make_endpoint().id) for _ in range(52)}
    response = grace.get(PAGE)
    cursor = response.context["page"].next_cursor
    rest = grace.get(f"{PAGE}?cursor={cursor}", headers={"HX-Request": "true"})
    assert b"<html" not in rest.content
    listed = [endpoint for page in (response, rest) for endpoint, _ in page.context["rows"]]
    assert {str(endpoint.id) for endpoint in listed} == made
    assert len(listed) == 52
    assert grace.get(f"{PAGE}?cursor=x").status_code == 404


def test_the_list_costs_the_same_for_many(grace: Client, count_queries):
    def cost() -> int:
        with count_queries() as queries:
            grace.get(PAGE)
        return len(queries)

    make_endpoint()
    few = cost()
    for _ in range(20):
        make_delivery(endpoint=make_endpoint())
    assert cost() == few
