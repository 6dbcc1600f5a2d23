"""/api/v1/webhooks: endpoints and what is chosen about them."""

from datetime import datetime, timedelta
from functools import partial

import pytest
from django.utils import timezone

from accounts.tests.factories import make_user
from common.ids import uuid7
from common.models import WebhookDelivery, WebhookEndpoint
from common.tests.factories import make_attempt, make_delivery, make_endpoint
from common.tests.threads import at_once
from uploads.tests.factories import Api, assert_problem

WEBHOOKS = "/api/v1/webhooks"
URL = "http://127.0.0.1:9/hook"


def create(api: Api, **values):
    return api.post(WEBHOOKS, {"url": URL} | values)


def change(api: Api, endpoint, **values):
    path = f"{WEBHOOKS}/{endpoint.id}"
    return api.http.patch(path, values, content_type="application/json")


def test_a_new_webhook_has_all_that_was_chosen_and_its_secret(staff):
    user, batch = str(uuid7()), str(uuid7())
    chosen = {
        "url": URL,
        "description": "runner",
        "event_types": ["file.*"],
        "content_types": ["image/*"],
        "user_id": user,
        "batch_id": batch,
        "retry_schedule": [0, 5],
        "timeout_seconds": 10,
    }

    reply = create(staff, **chosen, headers={"Authorization": "Bearer runner's"})

    made = reply.json()
    endpoint = WebhookEndpoint.objects.get()
    assert reply.status_code == 201
    assert reply["Cache-Control"] == "no-store"
    assert made["secret"] == endpoint.secret
    assert {name: made[name] for name in chosen} == chosen
    assert made["header_names"] == ["Authorization"]
    assert endpoint.headers == {"Authorization": "Bearer runner's"}
    assert b"runner's" not in reply.content
    assert (endpoint.created_by, str(endpoint.user_id)) == (staff.user, user)


def test_a_url_is_enough(staff):
    made = create(staff).json()

    assert made["event_types"] == made["content_types"] == made["header_names"] == []
    assert made["user_id"] is made["batch_id"] is made["expires_at"] is None
    assert made["retry_schedule"] is made["timeout_seconds"] is None
    assert (made["is_active"], made["recovering"], made["disabled_reason"]) == (True, False, "")
    assert made["health"]["attempts"] == made["health"]["backlog"] == 0


@pytest.mark.parametrize(
    ("values", "code", "field"),
    [
        ({"url": "ftp://example.org/"}, "webhook_url_invalid", "url"),
        ({"url": "http://10.0.0.1/"}, "webhook_url_not_public", "url"),
        ({"event_types": ["file.upload"]}, "webhook_event_type_unknown", "event_types"),
        ({"content_types": ["pdf"]}, "webhook_content_type_invalid", "content_types"),
        ({"headers": {"Host": "x"}}, "webhook_header_invalid", "headers"),
        ({"retry_schedule": []}, "webhook_schedule_invalid", "retry_schedule"),
        ({"timeout_seconds": 0}, "webhook_timeout_invalid", "timeout_seconds"),
        ({"description": "nul\x00"}, "webhook_description_invalid", "description"),
    ],
)
def test_what_cannot_work_is_refused_and_named(staff, values, code, field):
    endpoint = make_endpoint(url=URL)

    assert assert_problem(create(staff, **values), 400, code)["field"] == field
    assert assert_problem(change(staff, endpoint, **values), 400, code)["field"] == field
    assert WebhookEndpoint.objects.get().updated_at == endpoint.updated_at


@pytest.mark.parametrize(
    "values",
    [
        {"url": None},
        {"description": None},
        {"event_types": None},
        {"headers": {"X-A": 1}},
        {"timeout_seconds": "10"},
        {"event_type": ["file.*"]},
        {"secret": "whsec_x"},
        {"is_active": False},
    ],
)
def test_other_shapes_and_unknown_names_are_refused(staff, values):
    endpoint = make_endpoint()

    assert_problem(create(staff, **values), 400, "invalid_request")
    assert_problem(change(staff, endpoint, **values), 400, "invalid_request")
    assert WebhookEndpoint.objects.count() == 1


def test_a_webhook_is_shown_without_secret_and_header_values(staff):
    endpoint = make_endpoint(headers={"X-Runner-Key": "hush", "A": "b"}, description="runner")

    reply = staff.get(f"{WEBHOOKS}/{endpoint.id}")

    assert reply.status_code == 200
    assert reply.json()["header_names"] == ["A", "X-Runner-Key"]
    assert endpoint.secret not in reply.content.decode()
    assert "hush" not in reply.content.decode()
    assert "secret" not in reply.json()


def test_state_and_health_are_shown(staff):
    endpoint = make_endpoint()
    delivery = make_delivery(endpoint=endpoint, attempt_count=2)
    for number, error in ((1, ""), (2, "The receiver answered 500.")):
        make_attempt(delivery=delivery, number=number, duration_ms=40, error=error)
    WebhookEndpoint.objects.update(
        consecutive_failures=1,
        failing_since=delivery.created_at,
        recovery_after=uuid7(),
        recovery_until=uuid7(),
    )

    shown = staff.get(f"{WEBHOOKS}/{endpoint.id}").json()

    assert shown["consecutive_failures"] == 1
    assert shown["failing_since"] is not None
    assert shown["recovering"] is True
    health = shown["health"]
    assert (health["attempts"], health["success_rate"], health["p95_ms"]) == (2, 0.5, 40)
    assert (health["last_error"], health["backlog"]) == ("The receiver answered 500.", 1)
    assert staff.get(WEBHOOKS).json()["items"] == [shown]


def test_webhooks_come_in_pages_newest_first(staff):
    ids = [str(make_endpoint().id) for _ in range(5)]

    first = staff.get(WEBHOOKS, limit=3).json()
    rest = staff.get(WEBHOOKS, limit=3, cursor=first["next_cursor"]).json()

    assert [each["id"] for each in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert_problem(staff.get(WEBHOOKS, cursor="x"), 400, "invalid_cursor")


def test_lists_show_webhooks_whose_secrets_cannot_be_read(staff, settings):
    endpoint = make_endpoint(headers={"A": "b"})
    settings.SECRET_KEY = "another"

    (shown,) = staff.get(WEBHOOKS).json()["items"]

    assert (shown["id"], shown["header_names"]) == (str(endpoint.id), None)
    assert_problem(staff.get(f"{WEBHOOKS}/{endpoint.id}/secret"), 500, "secret_unreadable")
    assert_problem(change(staff, endpoint, description="x"), 500, "secret_unreadable")
    given_again = change(staff, endpoint, headers={"C": "d"}, url=URL)
    assert given_again.json()["header_names"] == ["C"]


def test_a_change_leaves_what_it_does_not_name(staff):
    endpoint = make_endpoint(url=URL, headers={"A": "b"}, event_types=["file.*"], timeout_seconds=5)

    changed = change(staff, endpoint, description="new", timeout_seconds=None).json()

    assert (changed["description"], changed["timeout_seconds"]) == ("new", None)
    assert (changed["url"], changed["event_types"], changed["header_names"]) == (
        URL,
        ["file.*"],
        ["A"],
    )
    endpoint.refresh_from_db()
    assert endpoint.headers == {"A": "b"}
    assert change(staff, endpoint).json() == changed


@pytest.mark.django_db(transaction=True)
def test_changes_of_different_things_at_once_are_all_made():
    endpoint = make_endpoint(url=URL)
    user = make_user(is_staff=True)
    changes = [
        {"description": "d"},
        {"event_types": ["file.*"]},
        {"content_types": ["image/*"]},
        {"timeout_seconds": 7},
        {"retry_schedule": [1]},
        {"headers": {"A": "b"}},
    ]

    replies = at_once([partial(change, Api(user), endpoint, **each) for each in changes])

    assert {reply.status_code for reply in replies} == {200}
    shown = Api(user).get(f"{WEBHOOKS}/{endpoint.id}").json()
    expected = {name: value for each in changes for name, value in each.items()}
    assert expected.pop("headers") == {"A": "b"}
    assert {name: shown[name] for name in expected} == expected
    assert shown["header_names"] == ["A"]


def test_deleting_removes_the_deliveries_too(staff):
    delivery = make_delivery()
    path = f"{WEBHOOKS}/{delivery.endpoint_id}"

    assert staff.delete(path).status_code == 204
    assert not WebhookDelivery.objects.exists()
    assert_problem(staff.delete(path), 404, "webhook_not_found")


@pytest.mark.django_db(transaction=True)
def test_deleting_twice_at_once_deletes_once():
    endpoint = make_endpoint()
    for _ in range(20):
        make_delivery(endpoint=endpoint)
    clients = [Api(make_user(is_staff=True)) for _ in range(4)]

    replies = at_once([partial(each.delete, f"{WEBHOOKS}/{endpoint.id}") for each in clients])

    assert {reply.status_code for reply in replies} <= {204, 404}
    assert 204 in {reply.status_code for reply in replies}
    assert not WebhookEndpoint.objects.exists()


def test_the_end_of_a_temporary_webhook_is_shown(staff):
    until = timezone.now() + timedelta(minutes=2)
    endpoint = make_endpoint(expires_at=until)

    shown = staff.get(f"{WEBHOOKS}/{endpoint.id}").json()["expires_at"]

    assert abs(datetime.fromisoformat(shown) - until) < timedelta(seconds=1)
