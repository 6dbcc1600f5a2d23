import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpResponseForbidden
from django.urls import path, reverse

from common.models import DeliveryStatus, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from common.tests.factories import make_delivery, make_endpoint
from common.tests.receiver import Answer, Receiver

urlpatterns = [path("admin/", admin.site.urls)]


def handler403(request, exception):
    """The product's own page links to pages that are not served here."""
    return HttpResponseForbidden()


pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sent_kicks"),
    pytest.mark.urls(__name__),
]


@pytest.fixture
def staff(client):
    user = get_user_model().objects.create_superuser("staff@example.org", "pw")
    client.force_login(user)
    return client


def changelist(model):
    return reverse(f"admin:common_{model}_changelist")


def act(staff, model, action, *rows):
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return staff.post(changelist(model), data, follow=True).content.decode()


def test_every_list_and_page_opens(staff):
    delivery = make_delivery()
    attempt = WebhookAttempt.objects.create(
        delivery=delivery, number=1, started_at=delivery.created_at, duration_ms=1
    )

    for row in (delivery, delivery.event, delivery.endpoint, attempt):
        model = row._meta.model_name
        assert staff.get(changelist(model)).status_code == 200
        assert staff.get(reverse(f"admin:common_{model}_change", args=[row.pk])).status_code == 200


def test_the_secret_is_on_the_endpoints_page_and_in_no_list(staff):
    endpoint = make_endpoint()
    page = staff.get(reverse("admin:common_webhookendpoint_change", args=[endpoint.pk]))

    assert endpoint.secret in page.content.decode()
    assert endpoint.secret not in staff.get(changelist("webhookendpoint")).content.decode()


def test_an_endpoint_whose_secret_cannot_be_read_is_shown_and_saved(staff, settings):
    endpoint = make_endpoint(url="http://127.0.0.1:8000/hook")
    key, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    staff.force_login(get_user_model().objects.get())

    url = reverse("admin:common_webhookendpoint_change", args=[endpoint.pk])
    assert "DJANGO_SECRET_KEY" in staff.get(url).content.decode()
    staff.post(url, {"url": endpoint.url, "description": "renamed", "is_active": "on"})

    settings.SECRET_KEY = key
    saved = WebhookEndpoint.objects.get()
    assert (saved.description, saved.secret) == ("renamed", endpoint.secret)


@pytest.mark.parametrize(
    ("model", "query"),
    [
        ("outboxevent", "status__exact=%00"),
        ("outboxevent", "event_type__exact=file%00"),
        ("webhookdelivery", "status__exact=%00"),
        ("webhookendpoint", "url=%00"),
        ("webhookendpoint", "q=%00"),
        ("webhookattempt", "response_status=%00"),
    ],
)
def test_a_filter_with_nul_leads_to_the_list_without_filters(staff, model, query):
    response = staff.get(f"{changelist(model)}?{query}")

    assert response.headers["Location"] == f"{changelist(model)}?e=1"
    assert staff.get(response.headers["Location"]).status_code == 200


def test_an_endpoint_that_is_added_gets_a_secret(staff):
    staff.post(
        reverse("admin:common_webhookendpoint_add"),
        {"url": "http://127.0.0.1:8000/hook", "event_types": "file.*", "is_active": "on"},
    )

    endpoint = WebhookEndpoint.objects.get()
    assert endpoint.secret.startswith("whsec_")
    assert endpoint.event_types == ["file.*"]
    assert endpoint.created_by.email == "staff@example.org"


@pytest.mark.parametrize(
    "fields",
    [{"url": "http://10.0.0.1/"}, {"url": "http://127.0.0.1:8000/", "event_types": "file.upload"}],
)
def test_an_endpoint_that_the_service_refuses_is_not_added(staff, fields):
    page = staff.post(reverse("admin:common_webhookendpoint_add"), fields)

    assert page.context["errors"]
    assert not WebhookEndpoint.objects.exists()


def test_switching_an_endpoint_off_fails_what_waits(staff):
    delivery = make_delivery(endpoint=make_endpoint(url="http://127.0.0.1:8000/hook"))

    staff.post(
        reverse("admin:common_webhookendpoint_change", args=[delivery.endpoint_id]),
        {"url": "http://127.0.0.1:8000/hook"},
    )

    delivery.refresh_from_db()
    assert (delivery.status, delivery.endpoint.is_active) == (DeliveryStatus.FAILED, False)


def test_an_endpoint_with_deliveries_can_be_deleted(staff):
    one, *others = [make_delivery().endpoint for _ in range(3)]

    confirmation = reverse("admin:common_webhookendpoint_delete", args=[one.pk])
    assert staff.get(confirmation).status_code == 200
    staff.post(confirmation, {"post": "yes"})
    assert WebhookEndpoint.objects.count() == 2

    data = {
        "action": "delete_selected",
        "_selected_action": [str(each.pk) for each in others],
        "post": "yes",
    }
    staff.post(changelist("webhookendpoint"), data)
    assert not WebhookEndpoint.objects.exists()


def test_a_test_event_is_sent_and_its_answer_shown(staff):
    with Receiver(Answer(status=500)) as receiver:
        page = act(staff, "webhookendpoint", "send_test", make_endpoint(url=receiver.url))

        assert len(receiver.received) == 1
    assert "The receiver answered 500." in page


def test_endpoints_are_disabled_and_enabled(staff):
    endpoint = make_endpoint()

    page = act(staff, "webhookendpoint", "disable", endpoint)
    assert f"Disabled {endpoint.url}" in page
    assert not WebhookEndpoint.objects.get().is_active
    page = act(staff, "webhookendpoint", "enable", endpoint)
    assert f"Enabled {endpoint.url}" in page
    assert WebhookEndpoint.objects.get().is_active


def test_failed_deliveries_are_sent_again(staff):
    failed = make_delivery(status=DeliveryStatus.FAILED, schedule_step=10)
    done = make_delivery(status=DeliveryStatus.DELIVERED)

    page = act(staff, "webhookdelivery", "retry_failed", failed, done)

    failed.refresh_from_db()
    assert (failed.status, failed.schedule_step) == (DeliveryStatus.PENDING, 0)
    assert "1 of 2" in page


@pytest.mark.parametrize("model", ["outboxevent", "webhookdelivery", "webhookattempt"])
def test_records_can_be_neither_added_nor_changed_nor_deleted(staff, model):
    delivery = make_delivery()
    row = {"outboxevent": delivery.event, "webhookdelivery": delivery}.get(
        model
    ) or WebhookAttempt.objects.create(
        delivery=delivery, number=1, started_at=delivery.created_at, duration_ms=1
    )

    assert staff.post(reverse(f"admin:common_{model}_add")).status_code == 403
    for page in ("change", "delete"):
        url = reverse(f"admin:common_{model}_{page}", args=[row.pk])
        assert staff.post(url, {"post": "yes"}).status_code == 403
    assert WebhookDelivery.objects.filter(id=delivery.id).exists()
