"""Pages that stay open while somebody logs out, or another account logs in."""

from datetime import timedelta
from http import HTTPStatus

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.models import ApiToken, User
from accounts.tests.factories import PASSWORD, make_user

RENEW = "/app/session/renew/"


def strict() -> Client:
    """As a browser: forms need the CSRF token of the page that they stand on."""
    return Client(enforce_csrf_checks=True)


def log_in(client: Client, user: User) -> None:
    client.get("/app/login/")
    form = {"username": user.email, "password": PASSWORD}
    answer = client.post("/app/login/", form | csrf_field(client))
    assert answer.status_code == HTTPStatus.FOUND


def csrf_field(client: Client) -> dict[str, str]:
    return {"csrfmiddlewaretoken": client.cookies["csrftoken"].value}


def of_page(client: Client, user: User) -> dict[str, str]:
    """What the script of a page sends: the cookie as it is now, and whose page it is."""
    return {"X-CSRFToken": client.cookies["csrftoken"].value, "X-Page-Account": str(user.id)}


def test_renewing_gives_the_session_and_its_cookie_their_whole_life_again(user: User):
    client = strict()
    log_in(client, user)
    soon = timezone.now() + timedelta(minutes=5)
    Session.objects.update(expire_date=soon)
    answer = client.post(RENEW, headers=of_page(client, user))
    assert answer.status_code == HTTPStatus.NO_CONTENT
    assert answer.cookies["sessionid"]["max-age"] > 300
    assert Session.objects.get().expire_date > soon
    assert "no-store" in answer.headers["Cache-Control"]


def test_renewing_tells_a_page_that_it_is_logged_out(user: User):
    client = strict()
    log_in(client, user)
    headers = of_page(client, user)
    client.post("/app/logout/", csrf_field(client))
    answer = client.post(RENEW, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


def test_renewing_tells_a_page_that_another_account_is_logged_in(user: User):
    client = strict()
    log_in(client, make_user())
    answer = client.post(RENEW, headers=of_page(client, user))
    assert (answer.status_code, answer.json()["code"]) == (409, "account_changed")


def test_a_session_needs_the_csrf_token_to_be_renewed(user: User):
    client = strict()
    log_in(client, user)
    answer = client.post(RENEW, headers={"X-Page-Account": str(user.id)})
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")


def test_a_form_of_somebody_who_was_logged_in_before_is_refused(user: User):
    client = strict()
    log_in(client, user)
    client.get("/app/tokens/")
    old = csrf_field(client)
    client.post("/app/logout/", old)
    log_in(client, make_user())
    answer = client.post("/app/tokens/", old | {"name": "nightly", "scopes": "upload"})
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert b"you logged in or out in another tab" in answer.content
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/app/uploads/"),
        ("POST", "/app/uploads/018f0000-0000-7000-8000-000000000001/delete/"),
    ],
)
def test_a_page_of_another_account_gets_and_does_nothing(ada: Client, method: str, address: str):
    headers = {"HX-Request": "true", "X-Page-Account": "018f0000-0000-7000-8000-000000000001"}
    answer = ada.generic(method, address, headers=headers)
    assert answer.status_code == HTTPStatus.CONFLICT
    assert answer.headers["HX-Refresh"] == "true"
    assert b"Another account is logged in" in ada.get("/app/uploads/").content


def test_every_page_says_whose_it_is_in_what_htmx_sends(ada: Client, user: User):
    page = ada.get("/app/uploads/").content.decode()
    assert f"""hx-headers='{{"X-Page-Account": "{user.id}"}}'""" in page
    headers = {"HX-Request": "true", "X-Page-Account": str(user.id)}
    assert ada.get("/app/uploads/", headers=headers).status_code == HTTPStatus.OK
