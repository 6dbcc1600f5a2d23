"""Adding an endpoint and changing what is chosen about it."""

import pytest
from django.test import Client

from accounts.models import User
from common.ids import uuid7
from common.models import WebhookEndpoint
from common.tests.factories import make_endpoint
from common.webhooks.endpoint_settings import KEPT
from common.webhooks.forms import EndpointForm

NEW = "/app/webhooks/new/"
VALUES = {"url": "http://127.0.0.1:9/hook"}


def edit_page(endpoint: WebhookEndpoint) -> str:
    return f"/app/webhooks/{endpoint.id}/edit/"


def test_only_who_may_change_webhooks_gets_the_form(
    ada: Client, viewer: Client, client: Client, db
):
    endpoint = make_endpoint()
    for page in (NEW, edit_page(endpoint)):
        assert client.get(page).status_code == 302
        for other in (ada, viewer):
            assert other.get(page).status_code == 403
            assert other.post(page, VALUES).status_code == 403
    assert WebhookEndpoint.objects.count() == 1


def test_an_address_that_is_too_long_is_refused_not_cut(grace: Client):
    page = grace.post(NEW, {"url": f"http://127.0.0.1:9/{'x' * 2048}"}).content.decode()
    assert "The URL is longer than 2048 characters." in page
    assert 'maxlength="2048"' not in page


def test_an_address_is_enough(grace: Client, admin_user: User):
    response = grace.post(NEW, VALUES)
    endpoint = WebhookEndpoint.objects.get()
    assert response.headers["Location"] == f"/app/webhooks/{endpoint.id}/"
    assert endpoint.created_by == admin_user
    assert endpoint.secret.startswith("whsec_")
    assert (endpoint.event_types, endpoint.content_types, endpoint.headers) == ([], [], {})
    assert (endpoint.retry_schedule, endpoint.timeout_seconds) == (None, None)


def test_everything_can_be_chosen(grace: Client, user: User):
    batch_id = uuid7()
    grace.post(
        NEW,
        VALUES
        | {
            "description": "Transcriber",
            "event_types": ["file.*", "batch.completed"],
            "content_types": "Audio/*\n application/pdf, text/plain",
            "user": "ADA@example.org",
            "batch_id": str(batch_id),
            "headers": "Authorization: Bearer a:b\r\n\r\n X-Team : ears ",
            "retry_schedule": "0, 5s 5m,2H 1d",
            "timeout_seconds": "10",
        },
    )
    endpoint = WebhookEndpoint.objects.get()
    assert endpoint.description == "Transcriber"
    assert endpoint.event_types == ["file.*", "batch.completed"]
    assert endpoint.content_types == ["audio/*", "application/pdf", "text/plain"]
    assert (endpoint.user_id, endpoint.batch_id) == (user.id, batch_id)
    assert endpoint.headers == {"Authorization": "Bearer a:b", "X-Team": "ears"}
    assert endpoint.retry_schedule == [0, 5, 300, 7200, 86_400]
    assert endpoint.timeout_seconds == 10


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", ""),
        ("url", "http://10.0.0.1/hook"),
        ("description", "x" * 256),
        ("event_types", "file.eaten"),
        ("user", "nobody@example.org"),
        ("batch_id", "the first"),
        ("headers", "no colon"),
        ("headers", "Host: other.example"),
        ("retry_schedule", "soon"),
        ("timeout_seconds", "0"),
    ],
)
def test_an_error_is_at_its_field_and_nothing_typed_is_lost(grace: Client, field: str, value: str):
    typed = VALUES | {"description": "Typed name", "headers": "X-Mine: typed value"}
    response = grace.post(NEW, typed | {field: value})
    assert response.status_code == 200
    assert list(response.context["form"].errors) == [field]
    content = response.content.decode()
    assert 'class="errorlist' in content
    for name, text in (typed | {field: value}).items():
        if name not in (field, "event_types"):
            assert text in content
    assert not WebhookEndpoint.objects.exists()


def test_what_was_chosen_is_in_the_form(grace: Client, user: User):
    endpoint = make_endpoint(
        description="Transcriber",
        event_types=["file.*"],
        content_types=["audio/*", "text/plain"],
        user_id=user.id,
        retry_schedule=[0, 90, 300, 7200],
        timeout_seconds=10,
    )
    values = grace.get(edit_page(endpoint)).context["form"].initial
    assert values["url"] == endpoint.url
    assert values["event_types"] == ["file.*"]
    assert values["content_types"] == "audio/*\ntext/plain"
    assert values["user"] == "ada@example.org"
    assert values["retry_schedule"] == "0s, 90s, 5m, 2h"


def test_saving_the_form_as_it_is_changes_nothing(grace: Client, user: User):
    endpoint = make_endpoint(
        description="Transcriber",
        event_types=["file.*"],
        content_types=["audio/*"],
        user_id=user.id,
        batch_id=uuid7(),
        headers={"Authorization": "Bearer hidden"},
        retry_schedule=[0, 90],
        timeout_seconds=10,
    )
    kept = {name: getattr(endpoint, name) for name in EndpointForm.base_fields if name != "user"}
    form = grace.get(edit_page(endpoint)).context["form"]
    response = grace.post(edit_page(endpoint), form.initial)
    assert response.status_code == 302
    endpoint = WebhookEndpoint.objects.get()
    assert {name: getattr(endpoint, name) for name in kept} == kept
    assert endpoint.user_id == user.id


def test_values_of_headers_are_kept_replaced_and_dropped_but_never_shown(grace: Client):
    endpoint = make_endpoint(
        headers={"X-Keep": "hidden-1", "X-New": "hidden-2", "X-Drop": "hidden-3"}
    )
    content = grace.get(edit_page(endpoint)).content.decode()
    assert f"X-Keep: {KEPT}" in content
    assert "hidden-" not in content
    grace.post(edit_page(endpoint), VALUES | {"headers": f"x-keep: {KEPT}\nX-New: other"})
    assert WebhookEndpoint.objects.get().headers == {"x-keep": "hidden-1", "X-New": "other"}


def test_a_filter_by_a_user_who_is_gone_stays(grace: Client):
    gone = uuid7()
    endpoint = make_endpoint(user_id=gone)
    form = grace.get(edit_page(endpoint)).context["form"]
    assert form.initial["user"] == str(gone)
    grace.post(edit_page(endpoint), VALUES | {"user": str(gone)})
    assert WebhookEndpoint.objects.get().user_id == gone


def test_headers_that_cannot_be_decrypted_are_written_anew(grace: Client, settings):
    key = settings.SECRET_KEY
    settings.SECRET_KEY = "another one, that is lost"
    endpoint = make_endpoint(headers={"X-A": "1"})
    settings.SECRET_KEY = key
    assert b"cannot be decrypted" in grace.get(edit_page(endpoint)).content
    grace.post(edit_page(endpoint), VALUES | {"headers": "X-B: 2"})
    assert WebhookEndpoint.objects.get().headers == {"X-B": "2"}


def test_an_endpoint_that_is_gone_is_a_404(grace: Client):
    assert grace.get(f"/app/webhooks/{uuid7()}/edit/").status_code == 404
