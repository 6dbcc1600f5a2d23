from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.http import HttpResponseForbidden
from django.urls import path, reverse
from django.utils import timezone

from common.admin_records import RecordAdmin
from common.ids import uuid7
from common.models import (
    DeliveryStatus,
    DisabledReason,
    OutboxEvent,
    WebhookDelivery,
    WebhookEndpoint,
)
from common.tests.factories import (
    chosen_of,
    make_attempt,
    make_delivery,
    make_earlier_endpoint,
    make_endpoint,
    make_event,
    make_older,
)
from common.tests.receiver import Answer, Receiver
from common.webhooks import admin as pages
from common.webhooks import endpoint_settings, recovery
from common.webhooks.admin_filters import AnswerFilter
from common.webhooks.endpoint_settings import KEPT, EndpointSettings

urlpatterns = [path("admin/", admin.site.urls)]


def handler403(request, exception):
    """The product's own page links to pages that are not served here."""
    return HttpResponseForbidden()


pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("sent_kicks"),
    pytest.mark.urls(__name__),
]

URL = "http://127.0.0.1:8000/hook"
TABLES = {
    "outboxevent": "outbox_event",
    "webhookdelivery": "webhook_delivery",
    "webhookattempt": "webhook_attempt",
}
RECORDS = list(TABLES)


@pytest.fixture
def staff(client):
    user = get_user_model().objects.create_superuser("staff@example.org", "pw")
    client.force_login(user)
    return client


@pytest.fixture
def onlooker(client):
    """Staff that may see endpoints, and nothing else."""
    user = get_user_model().objects.create_user("onlooker@example.org", "pw", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_webhookendpoint"))
    client.force_login(user)
    return client


def changelist(model):
    return reverse(f"admin:common_{model}_changelist")


def page_of(row, page="change"):
    return reverse(f"admin:common_{row._meta.model_name}_{page}", args=[row.pk])


def text_of(client, url, **query):
    response = client.get(url, query)
    assert response.status_code == 200
    return response.content.decode()


def listed(client, model, **query):
    response = client.get(changelist(model), query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


def act(client, model, action, *rows, **further):
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows]} | further
    response = client.post(changelist(model), data, follow=True)
    assert response.status_code == 200
    return [str(message) for message in response.context["messages"]]


def rows_of_every_kind():
    attempt = make_attempt(delivery=make_delivery(status=DeliveryStatus.FAILED), error="refused")
    return [attempt, attempt.delivery, attempt.delivery.event, attempt.delivery.endpoint]


def test_every_list_and_page_opens(staff):
    for row in rows_of_every_kind():
        assert listed(staff, row._meta.model_name) == {row.pk}
        assert text_of(staff, page_of(row))


# --- Endpoints: the form ---------------------------------------------------------------------


def add(staff, **fields):
    return staff.post(reverse("admin:common_webhookendpoint_add"), {"url": URL} | fields)


def test_an_endpoint_is_added_with_everything_that_can_be_chosen(staff):
    user, batch_id = get_user_model().objects.create_user("ada@example.org", "pw"), uuid7()

    response = add(
        staff,
        description="the runner",
        event_types=["file.*", "batch.completed"],
        content_types="application/pdf, image/*",
        user="ADA@example.org",
        batch_id=str(batch_id),
        headers="Authorization: Bearer x:y\n\nX-Team:  north \n",
        retry_schedule="0, 10s, 10m",
        timeout_seconds="5",
    )

    assert response.status_code == 302
    endpoint = WebhookEndpoint.objects.get()
    assert chosen_of(endpoint) == EndpointSettings(
        url=URL,
        description="the runner",
        event_types=["file.*", "batch.completed"],
        content_types=["application/pdf", "image/*"],
        user_id=user.pk,
        batch_id=batch_id,
        headers={"Authorization": "Bearer x:y", "X-Team": "north"},
        retry_schedule=[0, 10, 600],
        timeout_seconds=5,
    )
    assert endpoint.created_by.email == "staff@example.org"


def test_an_endpoint_needs_a_url_only(staff):
    add(staff)

    endpoint = WebhookEndpoint.objects.get()
    assert chosen_of(endpoint) == EndpointSettings(url=URL, event_types=[], content_types=[])
    assert endpoint.secret.startswith("whsec_")
    assert endpoint.is_active


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", ""),
        ("url", "http://10.0.0.1/"),
        ("event_types", "file.upload"),
        ("user", "nobody@example.org"),
        ("headers", "no colon"),
        ("headers", "Host: elsewhere"),
        ("timeout_seconds", "61"),
    ],
)
def test_what_cannot_be_read_or_cannot_work_is_told_at_its_field(staff, field, value):
    """Nothing of it is the admin's own: see `test_endpoint_settings.py`."""
    page = add(staff, **{field: value})

    assert page.status_code == 200
    assert list(page.context["adminform"].errors) == [field]
    assert not WebhookEndpoint.objects.exists()


def test_an_endpoint_is_changed_and_keeps_its_secret_and_state(staff):
    before = make_endpoint(
        headers={"Authorization": "Bearer hidden"}, retry_schedule=[1], is_active=False
    )
    form = {"url": URL, "description": "renamed", "headers": f"Authorization: {KEPT}"}

    response = staff.post(page_of(before), form)

    assert response.status_code == 302
    after = WebhookEndpoint.objects.get()
    assert (after.url, after.description, after.retry_schedule) == (URL, "renamed", None)
    assert (after.headers, after.secret) == (before.headers, before.secret)
    assert not after.is_active


def test_saving_the_form_as_it_is_changes_nothing(staff):
    endpoint = make_endpoint(
        event_types=["file.*"],
        content_types=["image/*", "a/b"],
        user_id=uuid7(),
        headers={"A": "b"},
        retry_schedule=[0, 5],
        timeout_seconds=7,
    )
    form = staff.get(page_of(endpoint)).context["adminform"].form
    shown = {name: form[name].value() for name in form.fields}

    response = staff.post(page_of(endpoint), {k: v for k, v in shown.items() if v is not None})

    assert response.status_code == 302
    assert chosen_of(WebhookEndpoint.objects.get()) == chosen_of(endpoint)


def test_headers_are_shown_by_name_only(staff):
    endpoint = make_endpoint(headers={"X-Runner-Key": "hidden-value"})

    pages = [page_of(endpoint), changelist("webhookendpoint")]
    text = "".join(text_of(staff, page) for page in pages)

    assert f"X-Runner-Key: {KEPT}" in text
    assert "hidden-value" not in text


def test_an_onlooker_sees_what_was_chosen_without_the_values_of_headers(onlooker):
    endpoint = make_endpoint(
        description="the runner", event_types=["file.*"], headers={"X-Runner-Key": "hidden-value"}
    )

    text = text_of(onlooker, page_of(endpoint))

    for shown in ("the runner", "file.*", endpoint.url, "X-Runner-Key"):
        assert shown in text
    assert "hidden-value" not in text


def test_what_ends_between_the_form_and_its_saving_is_told(staff, monkeypatch):
    endpoint = make_endpoint()
    check = endpoint_settings.check

    def checked_while_another_removes_it(chosen):
        check(chosen)
        WebhookEndpoint.objects.all().delete()

    monkeypatch.setattr(endpoint_settings, "check", checked_while_another_removes_it)
    response = staff.post(page_of(endpoint), {"url": URL}, follow=True)

    assert any("There is no webhook endpoint" in str(each) for each in response.context["messages"])


# --- Endpoints: the secret -------------------------------------------------------------------


def test_the_secret_is_shown_once_after_the_endpoint_was_added(staff):
    response = staff.post(reverse("admin:common_webhookendpoint_add"), {"url": URL}, follow=True)

    endpoint = WebhookEndpoint.objects.get()
    assert endpoint.secret in response.content.decode()
    assert endpoint.secret not in str(response.client.cookies)


def test_the_secret_is_shown_on_demand_and_in_no_list(staff):
    endpoint = make_endpoint()

    assert endpoint.secret not in text_of(staff, page_of(endpoint))
    assert '<a href="?secret=shown">' in text_of(staff, page_of(endpoint))
    assert endpoint.secret in text_of(staff, page_of(endpoint), secret="shown")
    assert endpoint.secret not in text_of(staff, changelist("webhookendpoint"))


def test_a_secret_is_rotated_and_the_old_one_revoked(staff):
    endpoint = make_endpoint()

    (said,) = act(staff, "webhookendpoint", "rotate_secret", endpoint)
    secret = WebhookEndpoint.objects.get().secret
    assert secret != endpoint.secret
    assert secret not in said
    assert "one signs until" in text_of(staff, page_of(endpoint))

    (said,) = act(staff, "webhookendpoint", "revoke_old_secrets", endpoint)
    assert "1 revoked" in said
    assert "one signs until" not in text_of(staff, page_of(endpoint))


def test_an_endpoint_whose_secrets_cannot_be_read_is_shown_and_repaired(staff, settings):
    endpoint = make_endpoint(headers={"A": "b"})
    settings.SECRET_KEY = "another"
    staff.force_login(get_user_model().objects.get())

    assert "DJANGO_SECRET_KEY" in text_of(staff, page_of(endpoint), secret="shown")
    assert listed(staff, "webhookendpoint") == {endpoint.id}
    (said,) = act(staff, "webhookendpoint", "rotate_secret", endpoint)
    assert "DJANGO_SECRET_KEY" in said

    assert staff.post(page_of(endpoint), {"url": URL, "headers": "A: c"}).status_code == 302
    assert WebhookEndpoint.objects.get().headers == {"A": "c"}


# --- Endpoints: who may ----------------------------------------------------------------------


def test_an_onlooker_sees_everything_but_secrets_and_changes_nothing(onlooker):
    rows = rows_of_every_kind()
    endpoint = rows[-1]

    for row in rows:
        assert listed(onlooker, row._meta.model_name) == {row.pk}
        text = text_of(onlooker, page_of(row), secret="shown")
        assert endpoint.secret not in text
        assert "?secret=shown" not in text
        assert 'name="action"' not in text_of(onlooker, changelist(row._meta.model_name))
    assert onlooker.post(page_of(endpoint), {"url": URL}).status_code == 403
    for model, action in (
        ("webhookendpoint", "rotate_secret"),
        ("webhookendpoint", "send_test"),
        ("webhookdelivery", "resend"),
    ):
        act(onlooker, model, action, *(row for row in rows if row._meta.model_name == model))
    endpoint.refresh_from_db()
    assert endpoint.secret == rows[-1].secret
    assert WebhookDelivery.objects.get().status == DeliveryStatus.FAILED
    assert OutboxEvent.objects.count() == 1


@pytest.mark.parametrize("model", ["webhookendpoint", *RECORDS])
def test_staff_without_permission_see_nothing(client, model):
    user = get_user_model().objects.create_user("clerk@example.org", "pw", is_staff=True)
    client.force_login(user)

    assert client.get(changelist(model)).status_code == 403


# --- Endpoints: the list ---------------------------------------------------------------------


def test_the_list_tells_how_endpoints_fare_with_one_query_for_all(
    staff, django_assert_max_num_queries
):
    for number in range(20):
        delivery = make_delivery(endpoint=make_endpoint(description=f"runner {number}"))
        make_attempt(delivery=delivery, duration_ms=77)
        make_attempt(delivery=delivery, number=2, error="The receiver hung up.")

    with django_assert_max_num_queries(7):
        text = text_of(staff, changelist("webhookendpoint"))

    assert text.count("50.0% of 2") == 20
    assert text.count("The receiver hung up.") == 20


def test_endpoints_are_found_by_state_and_by_what_they_take(staff):
    well = make_endpoint(event_types=["file.*"])
    failing = make_endpoint(failing_since=timezone.now(), event_types=["batch.completed"])
    gone = make_endpoint(is_active=False, disabled_reason=DisabledReason.GONE)

    for query, expected in (
        ({"is_active__exact": "1"}, {well, failing}),
        ({"disabled_reason__exact": "gone"}, {gone}),
        ({"failing": "yes"}, {failing}),
        ({"failing": "no"}, {well, gone}),
        ({"takes": "file.uploaded"}, {well, gone}),
        ({"takes": "batch.completed"}, {failing, gone}),
        ({"q": "127.0.0.1"}, {well, failing, gone}),
    ):
        assert listed(staff, "webhookendpoint", **query) == {each.id for each in expected}, query


# --- Endpoints: actions ----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_test_event_is_sent_and_its_answer_shown(staff):
    with Receiver(Answer(status=500), Answer(status=202)) as receiver:
        failing, well = make_endpoint(url=receiver.url), make_endpoint(url=receiver.url)
        (failed,) = act(staff, "webhookendpoint", "send_test", failing)
        (passed,) = act(staff, "webhookendpoint", "send_test", well)

    assert [request.json["type"] for request in receiver.received] == ["webhook.test"] * 2
    assert "500" in failed
    assert "202 in " in passed


def test_only_a_few_tests_are_sent_at_once(staff):
    with Receiver() as receiver:
        many = [make_endpoint(url=receiver.url) for _ in range(pages.TESTS_AT_ONCE + 1)]
        (said,) = act(staff, "webhookendpoint", "send_test", *many)

        assert receiver.received == []
    assert "at most 5" in said


def test_endpoints_are_disabled_and_enabled(staff):
    waiting = make_delivery()
    endpoint = waiting.endpoint

    (said,) = act(staff, "webhookendpoint", "disable", endpoint)
    assert "disabled" in said
    endpoint.refresh_from_db()
    waiting.refresh_from_db()
    assert (endpoint.is_active, endpoint.disabled_reason) == (False, DisabledReason.MANUAL)
    assert waiting.status == DeliveryStatus.FAILED

    (said,) = act(staff, "webhookendpoint", "enable", endpoint)
    assert "enabled" in said
    assert WebhookEndpoint.objects.get().is_active


def test_the_last_day_is_recovered_but_not_of_a_disabled_endpoint(staff):
    old, young = make_older(make_event(), hours=25), make_older(make_event(), hours=23)
    endpoint, disabled = make_earlier_endpoint(), make_endpoint(is_active=False)

    said = act(staff, "webhookendpoint", "recover_a_day", endpoint, disabled)
    while recovery.advance() is not None:
        pass

    assert sum("is being sent" in line for line in said) == 1
    assert sum("enable it first" in line for line in said) == 1
    assert [delivery.event for delivery in WebhookDelivery.objects.all()] == [young]
    assert old.deliveries.count() == 0


@pytest.mark.django_db(transaction=True)
def test_an_endpoint_with_deliveries_can_be_deleted(staff):
    one, *others = [make_delivery().endpoint for _ in range(3)]

    assert staff.get(page_of(one, "delete")).status_code == 200
    staff.post(page_of(one, "delete"), {"post": "yes"})
    assert WebhookEndpoint.objects.count() == 2

    act(staff, "webhookendpoint", "delete_selected", *others, post="yes")
    assert not WebhookEndpoint.objects.exists()
    assert not WebhookDelivery.objects.exists()


# --- Records ---------------------------------------------------------------------------------


def test_events_are_found_by_status_type_time_and_id(staff):
    old = make_older(make_event(), hours=30)
    make_endpoint(event_types=["batch.completed"])
    batch = make_event(event_type="batch.completed")

    for query, expected in (
        ({"status__exact": "pending"}, batch),
        ({"type": "file.uploaded"}, old),
        ({"created": "day"}, batch),
        ({"q": str(old.id)}, old),
        ({"q": f" {batch.aggregate_id} "}, batch),
    ):
        assert listed(staff, "outboxevent", **query) == {expected.id}, query
    assert listed(staff, "outboxevent", created="week") == {old.id, batch.id}
    assert listed(staff, "outboxevent", q="no id") == set()


def test_deliveries_are_found_by_status_endpoint_due_time_and_event(staff):
    hour = timedelta(hours=1)
    due, later = make_delivery(), make_delivery(due_at=timezone.now() + hour)
    over = make_delivery(status=DeliveryStatus.FAILED, endpoint=later.endpoint)

    for query, expected in (
        ({"status__exact": "failed"}, {over}),
        ({"endpoint__id__exact": str(later.endpoint_id)}, {later, over}),
        ({"due": "now"}, {due}),
        ({"due": "later"}, {later}),
        ({"q": str(over.event_id)}, {over}),
    ):
        assert listed(staff, "webhookdelivery", **query) == {each.id for each in expected}, query


def test_attempts_are_found_by_endpoint_and_the_class_of_the_answer(staff, monkeypatch):
    lost = make_attempt(response_status=None, error="refused")
    good, redirect = make_attempt(response_status=204), make_attempt(response_status=302)

    for query, expected in (
        ({"answer": "2"}, {good}),
        ({"answer": "3"}, {redirect}),
        ({"answer": "5"}, set()),
        ({"answer": "none"}, {lost}),
        ({"endpoint__id__exact": str(good.endpoint_id)}, {good}),
        ({"q": str(lost.delivery_id)}, {lost}),
    ):
        assert listed(staff, "webhookattempt", **query) == {each.id for each in expected}, query
    monkeypatch.setattr(AnswerFilter, "AMONG", 2)
    assert listed(staff, "webhookattempt", answer="none") == set()


@pytest.mark.parametrize("model", RECORDS)
def test_large_tables_are_neither_counted_nor_sorted(
    staff, model, monkeypatch, django_assert_max_num_queries
):
    monkeypatch.setattr(RecordAdmin, "list_per_page", 2)
    for _ in range(3):
        rows_of_every_kind()

    with django_assert_max_num_queries(8) as queries:
        staff.get(changelist(model), {"o": "1"})

    statements = [each["sql"] for each in queries]
    counts = [sql for sql in statements if "COUNT(" in sql]
    assert counts
    assert all("LIMIT 10000" in sql for sql in counts)
    (rows,) = (sql for sql in statements if sql.endswith("LIMIT 2"))
    assert f'ORDER BY "{TABLES[model]}"."id" DESC LIMIT' in rows


def test_failed_deliveries_are_sent_again(staff):
    failed = make_delivery(status=DeliveryStatus.FAILED, schedule_step=10)
    done = make_delivery(status=DeliveryStatus.DELIVERED)

    (said,) = act(staff, "webhookdelivery", "retry_failed", failed, done)

    failed.refresh_from_db()
    assert (failed.status, failed.schedule_step) == (DeliveryStatus.PENDING, 0)
    assert "1 of 2" in said


def test_deliveries_are_sent_again_whatever_became_of_them_where_that_is_possible(staff):
    done = make_delivery(status=DeliveryStatus.DELIVERED)
    sending = make_delivery(status=DeliveryStatus.SENDING, lease_id=uuid7())
    disabled = make_delivery(status=DeliveryStatus.FAILED, endpoint=make_endpoint(is_active=False))

    said = act(staff, "webhookdelivery", "resend", done, sending, disabled)

    assert WebhookDelivery.objects.get(id=done.id).status == DeliveryStatus.PENDING
    assert WebhookDelivery.objects.get(id=disabled.id).status == DeliveryStatus.FAILED
    assert len(said) == 3
    assert "1 are being sent again." in said


def test_an_action_on_everything_takes_a_bounded_number(staff, monkeypatch):
    monkeypatch.setattr(pages, "MOST_AT_ONCE", 2)
    failed = [make_delivery(status=DeliveryStatus.FAILED) for _ in range(3)]

    said = act(staff, "webhookdelivery", "retry_failed", failed[0], select_across="1")

    assert WebhookDelivery.objects.filter(status=DeliveryStatus.PENDING).count() == 2
    assert "The first 2 were taken" in said[0]


@pytest.mark.parametrize(
    ("model", "query"),
    [
        ("outboxevent", "status__exact=%00"),
        ("outboxevent", "type=file%00"),
        ("webhookdelivery", "status__exact=%00"),
        ("webhookendpoint", "url=%00"),
        ("webhookendpoint", "q=%00"),
        ("webhookattempt", "answer=%00"),
        ("webhookattempt", "answer=x"),
        ("webhookdelivery", "endpoint__id__exact=x"),
    ],
)
def test_a_filter_without_sense_leads_to_the_list_without_filters(staff, model, query):
    rows_of_every_kind()
    make_endpoint()

    response = staff.get(f"{changelist(model)}?{query}")

    assert response.headers["Location"] == f"{changelist(model)}?e=1"
    assert staff.get(response.headers["Location"]).status_code == 200


@pytest.mark.parametrize("model", RECORDS)
def test_records_can_be_neither_added_nor_changed_nor_deleted(staff, model):
    (row,) = (row for row in rows_of_every_kind() if row._meta.model_name == model)

    assert staff.post(reverse(f"admin:common_{model}_add")).status_code == 403
    for page in ("change", "delete"):
        assert staff.post(page_of(row, page), {"post": "yes"}).status_code == 403
    assert type(row).objects.filter(id=row.id).exists()
