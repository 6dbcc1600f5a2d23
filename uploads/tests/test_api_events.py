"""/api/v1/events"""

from functools import partial

import pytest
from django.contrib.auth.models import Permission

from accounts.models import User
from accounts.tests.factories import make_user
from common.ids import uuid7
from common.models import DeliveryStatus, OutboxEvent, WebhookDelivery
from common.outbox import envelopes
from common.tests.factories import make_delivery, make_endpoint, make_event
from common.tests.threads import at_once
from uploads.tests.factories import Api, assert_problem, make_stored
from uploads.tests.workflow_factories import make_completed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_kicks")]

EVENTS = "/api/v1/events"


def redeliver(api: Api, event, **body):
    path = f"{EVENTS}/{event.id}/redeliver"
    return api.post(path, body) if body else api.http.generic("POST", path)


def test_events_come_in_pages_newest_first(staff):
    ids = [str(make_event().id) for _ in range(5)]

    first = staff.get(EVENTS, limit=3).json()
    rest = staff.get(EVENTS, limit=3, cursor=first["next_cursor"]).json()

    assert [each["id"] for each in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert_problem(staff.get(EVENTS, cursor="x"), 400, "invalid_cursor")


def test_events_can_be_chosen_by_type_and_status(staff):
    make_event()
    batch = make_event(event_type="batch.completed", aggregate_type="batch")
    waiting = make_delivery().event

    def ids(**query):
        return [each["id"] for each in staff.get(EVENTS, **query).json()["items"]]

    assert ids(type="batch.completed") == [str(batch.id)]
    assert ids(status="pending") == [str(waiting.id)]
    assert ids(type="batch.completed", status="pending") == []
    assert_problem(staff.get(EVENTS, status="lost"), 400, "invalid_status")


@pytest.mark.parametrize("event_type", ["file.uplaoded", "file.*", "\x00"])
def test_a_type_that_does_not_exist_is_refused(staff, event_type):
    assert_problem(staff.get(EVENTS, type=event_type), 400, "invalid_type")


def test_an_event_tells_what_it_is_about(staff):
    make_endpoint()
    file = make_stored(content_type="text/plain")

    (shown,) = staff.get(EVENTS, type="file.uploaded").json()["items"]

    assert (shown["type"], shown["status"]) == ("file.uploaded", "pending")
    assert (shown["aggregate_type"], shown["aggregate_id"]) == ("file", str(file.id))
    assert shown["user_id"] == str(file.uploaded_by_id)
    assert "envelope" not in shown


def test_an_event_is_shown_as_receivers_get_it_with_its_deliveries(staff):
    endpoints = [make_endpoint(), make_endpoint()]
    event = make_event()

    shown = staff.get(f"{EVENTS}/{event.id}").json()

    assert shown["envelope"] == envelopes.envelope(event)
    assert {each["webhook_id"] for each in shown["deliveries"]} == {
        str(endpoint.id) for endpoint in endpoints
    }
    assert {each["event_type"] for each in shown["deliveries"]} == {"file.uploaded"}


def test_the_link_to_a_file_is_for_those_who_may_read_it(staff):
    owner, viewer = make_user(), make_user()
    for user in (owner, viewer):
        User.objects.filter(id=user.id).update(is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_webhookendpoint"))
    event = OutboxEvent.objects.get(aggregate_id=make_stored(user=owner).id)

    def link(api):
        return api.get(f"{EVENTS}/{event.id}").json()["envelope"]["data"]["file"]["url"]

    assert link(Api(owner)) == link(staff) == event.payload["file"]["url"]
    assert link(Api(viewer)) == "(hidden)"


def test_a_token_without_a_scope_for_files_sees_no_link_to_those_of_others(staff):
    event = OutboxEvent.objects.get(aggregate_id=make_stored().id)

    def link(api):
        return api.get(f"{EVENTS}/{event.id}").json()["envelope"]["data"]["file"]["url"]

    assert link(Api(staff.user, scopes=("webhooks", "read"))) == event.payload["file"]["url"]
    for others in ("upload", "consume", "workflows"):
        assert link(Api(staff.user, scopes=("webhooks", others))) == "(hidden)"


def test_a_token_that_may_not_read_files_sees_no_link_to_its_owners_either(staff):
    event = OutboxEvent.objects.get(aggregate_id=make_stored(user=staff.user).id)
    shown = Api(staff.user, scopes=("webhooks",)).get(f"{EVENTS}/{event.id}").json()
    assert shown["envelope"]["data"]["file"]["url"] == "(hidden)"
    assert event.payload["file"]["url"] not in str(shown)


@pytest.mark.usefixtures("no_run_kicks")
def test_what_a_workflow_made_is_for_those_who_may_read_the_file(staff):
    owner, viewer = make_user(), make_user(is_staff=True)
    User.objects.filter(id=viewer.id).update(is_superuser=False)
    viewer.user_permissions.add(Permission.objects.get(codename="view_webhookendpoint"))
    run = make_completed(user=owner, output_text="private words", result=b"private too")
    event = OutboxEvent.objects.get(event_type="workflow_run.completed")

    def told(api):
        shown = api.get(f"{EVENTS}/{event.id}").json()["envelope"]["data"]["run"]
        return shown["id"], shown["output_text"], shown["output_url"]

    url = event.payload["run"]["output_url"]
    assert told(staff) == (str(run.id), "private words", url)
    assert told(Api(viewer)) == (str(run.id), "(hidden)", "(hidden)")


def test_an_event_is_sent_again_to_all_that_it_was_meant_for(staff):
    first, off = make_endpoint(), make_endpoint()
    event = make_event()
    WebhookDelivery.objects.update(status=DeliveryStatus.DELIVERED)
    type(off).objects.filter(id=off.id).update(is_active=False)
    make_endpoint()

    reply = redeliver(staff, event)

    (sent,) = reply.json()["deliveries"]
    assert reply.status_code == 202
    assert (sent["webhook_id"], sent["status"]) == (str(first.id), "pending")
    assert staff.get(f"{EVENTS}/{event.id}").json()["status"] == "pending"


def test_an_event_is_sent_to_one_that_it_was_not_meant_for(staff):
    make_endpoint()
    event = make_event()
    other = make_endpoint(event_types=["batch.completed"])

    (sent,) = redeliver(staff, event, webhook_id=str(other.id)).json()["deliveries"]

    assert (sent["webhook_id"], sent["status"]) == (str(other.id), "pending")
    assert WebhookDelivery.objects.filter(event=event).count() == 2


def test_an_event_that_was_meant_for_nobody_is_sent_to_nobody(staff):
    reply = redeliver(staff, make_event())

    assert (reply.status_code, reply.json()) == (202, {"deliveries": []})


def test_redelivery_needs_a_webhook_that_exists_and_is_enabled(staff):
    event = make_event()

    missing = redeliver(staff, event, webhook_id=str(uuid7()))
    disabled = redeliver(staff, event, webhook_id=str(make_endpoint(is_active=False).id))

    assert_problem(missing, 404, "webhook_not_found")
    assert_problem(disabled, 409, "webhook_disabled")
    assert_problem(redeliver(staff, event, webhook="x"), 400, "invalid_request")


def test_redelivering_many_times_at_once_makes_one_delivery():
    event = make_event()
    endpoint = make_endpoint()
    user = make_user(is_staff=True)

    replies = at_once(
        [partial(redeliver, Api(user), event, webhook_id=str(endpoint.id)) for _ in range(8)]
    )

    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.json()["deliveries"][0]["id"] for reply in replies}) == 1
    assert WebhookDelivery.objects.get().status == "pending"


def test_redelivering_while_the_webhook_is_removed_is_one_or_the_other():
    events = [make_event() for _ in range(12)]
    endpoint = make_endpoint()
    user = make_user(is_staff=True)
    chosen = {"webhook_id": str(endpoint.id)}

    *replies, removed = at_once(
        [
            *(partial(redeliver, Api(user), event, **chosen) for event in events),
            partial(Api(user).delete, f"/api/v1/webhooks/{endpoint.id}"),
        ]
    )

    assert removed.status_code == 204
    assert {reply.status_code for reply in replies} <= {202, 404, 409}
    assert not WebhookDelivery.objects.exists()
    assert set(OutboxEvent.objects.values_list("status", flat=True)) == {"delivered"}
