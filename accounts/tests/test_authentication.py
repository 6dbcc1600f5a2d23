import io
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.middleware.csrf import get_token
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts import services
from accounts.models import ApiToken, TokenScope
from accounts.tests.factories import make_token, make_user
from accounts.tests.urls import api
from common.tests.threads import results_and_errors

pytestmark = [pytest.mark.django_db, pytest.mark.urls("accounts.tests.urls")]

UNSAFE = ["POST", "PUT", "DELETE"]


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def wrong_checksum(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


class Untouched(io.RawIOBase):
    """A request body of 10 MiB that must not be read."""

    size = 10 * 2**20

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer) -> int:
        raise AssertionError("the request's body was read")


@pytest.fixture
def user():
    return make_user()


@pytest.fixture
def browser(user):
    """A client with a session and a CSRF cookie, checked as a real browser is."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    request = RequestFactory().get("/")
    client.csrf_token = get_token(request)
    client.cookies["csrftoken"] = request.META["CSRF_COOKIE"]
    return client


def test_a_token_says_who_is_asking(client):
    token, text = make_token(name="nightly", scopes=("upload", "read"))

    answer = client.get("/api/upload", headers=bearer(text))

    assert answer.json() == {
        "email": token.user.email,
        "owner": token.user.email,
        "actor": "token",
        "label": "nightly",
        "scopes": ["read", "upload"],
    }


def test_the_scheme_is_read_in_any_case_and_works_in_plain_views(client):
    token, text = make_token(scopes=("read",))

    answer = client.post("/plain/", headers={"Authorization": f"bEARER {text}"})

    assert answer.json() == {"email": token.user.email}


def test_a_token_costs_one_query_once_its_use_is_noted(client, django_assert_num_queries):
    _, text = make_token()
    client.get("/api/upload", headers=bearer(text))

    with django_assert_num_queries(1):
        client.get("/api/upload", headers=bearer(text))


def test_a_typing_error_is_refused_without_a_query(client, django_assert_num_queries):
    _, text = make_token()

    with django_assert_num_queries(0):
        answer = client.get("/api/upload", headers=bearer(wrong_checksum(text)))

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


@pytest.mark.parametrize("text", ["", "x", "drt_", "drt_ü", "drt_" + "0" * 5000])
def test_text_that_is_no_token_is_refused(client, text):
    answer = client.get("/api/upload", headers=bearer(text))

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


def test_an_unknown_token_is_refused(client):
    token, text = make_token()
    token.delete()

    answer = client.get("/api/upload", headers=bearer(text))

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


def test_a_token_ends_at_its_expiry(client):
    token, text = make_token(expires_at=timezone.now() + timedelta(hours=1))

    assert client.get("/api/upload", headers=bearer(text)).status_code == 200
    ApiToken.objects.filter(id=token.id).update(expires_at=Now())
    answer = client.get("/api/upload", headers=bearer(text))

    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


def test_a_revoked_token_is_refused_at_once(client):
    token, text = make_token()
    assert client.get("/api/upload", headers=bearer(text)).status_code == 200

    services.revoke_token(user=token.user, token_id=token.id)
    answer = client.get("/api/upload", headers=bearer(text))

    assert (answer.status_code, answer.json()["code"]) == (401, "token_revoked")


def test_a_token_of_an_inactive_account_is_refused(client):
    token, text = make_token()
    token.user.is_active = False
    token.user.save()

    answer = client.get("/api/upload", headers=bearer(text))

    assert (answer.status_code, answer.json()["code"]) == (403, "account_inactive")


def test_a_token_without_the_scope_is_refused_and_not_counted_as_used(client):
    token, text = make_token(scopes=("read", "consume"))

    answer = client.get("/api/upload", headers=bearer(text))

    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert "upload" in answer.json()["detail"]
    token.refresh_from_db()
    assert token.last_used_at is None


def test_nobody_is_told_to_log_in(client):
    for answer in (client.get("/api/upload"), client.post("/plain/")):
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


def test_a_session_does_as_well_as_a_token(browser, user):
    answer = browser.get("/api/upload")

    assert answer.json() == {
        "email": user.email,
        "owner": user.email,
        "actor": "user",
        "label": user.email,
        "scopes": sorted(TokenScope.values),
    }


def test_a_session_of_a_deactivated_user_ends(browser, user):
    user.is_active = False
    user.save()

    answer = browser.get("/api/upload")

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


def test_a_bad_token_is_not_rescued_by_a_session(browser):
    answer = browser.get("/api/upload", headers=bearer("drt_nonsense"))

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


@pytest.mark.parametrize("method", UNSAFE)
def test_a_session_needs_the_csrf_header_to_change_anything(browser, method):
    answer = browser.generic(method, "/api/upload")
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")

    answer = browser.generic(method, "/api/upload", headers={"X-CSRFToken": "a" * 32})
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")

    answer = browser.generic(method, "/api/upload", headers={"X-CSRFToken": browser.csrf_token})
    assert answer.status_code == 200


def test_the_csrf_field_of_a_form_does_not_count(browser):
    answer = browser.post("/api/upload", {"csrfmiddlewaretoken": browser.csrf_token})

    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")


@pytest.mark.parametrize("method", UNSAFE)
def test_a_request_from_another_origin_is_refused_even_with_the_header(browser, method):
    headers = {"X-CSRFToken": browser.csrf_token, "Origin": "https://elsewhere.example"}

    answer = browser.generic(method, "/api/upload", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")


def test_over_tls_the_referer_must_be_the_portal(browser):
    headers = {"X-CSRFToken": browser.csrf_token}

    without = browser.post("/plain/", headers=headers, secure=True)
    own = headers | {"Referer": "https://testserver/app/upload/"}
    with_own = browser.post("/plain/", headers=own, secure=True)

    assert (without.status_code, without.json()["code"]) == (403, "csrf_failed")
    assert with_own.status_code == 200


def test_a_token_needs_no_csrf_header(browser):
    token, text = make_token()

    answer = browser.post("/api/upload", headers=bearer(text))

    assert answer.json()["email"] == token.user.email


@pytest.mark.parametrize("credentials", ["session", "session without header", "token", "nothing"])
@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"],
)
def test_authentication_never_reads_the_body(browser, client, credentials, content_type):
    _, text = make_token()
    asking, headers, status = {
        "session": (browser, {"X-CSRFToken": browser.csrf_token}, 200),
        "session without header": (browser, {}, 403),
        "token": (client, bearer(text), 200),
        "nothing": (client, {}, 401),
    }[credentials]

    answer = asking.generic(
        "POST",
        "/plain/",
        headers=headers,
        content_type=content_type,
        **{"wsgi.input": Untouched(), "CONTENT_LENGTH": str(Untouched.size)},
        CONTENT_TYPE=content_type,
    )

    assert answer.status_code == status


@pytest.mark.django_db(transaction=True)
def test_eight_requests_at_once_note_one_use():
    token, text = make_token()

    answers = results_and_errors([lambda: Client().get("/api/upload", headers=bearer(text))] * 8)

    assert [answer.status_code for answer in answers] == [200] * 8
    token.refresh_from_db()
    first = token.last_used_at
    assert first is not None
    Client().get("/api/upload", headers=bearer(text))
    assert ApiToken.objects.get(id=token.id).last_used_at == first


def test_the_openapi_schema_announces_bearer_tokens():
    schema = api.get_openapi_schema()

    (scheme,) = schema["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


@pytest.mark.parametrize("method", ["GET", *UNSAFE])
def test_a_page_of_another_account_is_refused(browser, user, method):
    headers = {"X-CSRFToken": browser.csrf_token}

    other = browser.generic(
        method, "/api/upload", headers=headers | {"X-Page-Account": str(make_user().id)}
    )
    own = browser.generic(method, "/api/upload", headers=headers | {"X-Page-Account": str(user.id)})

    assert (other.status_code, other.json()["code"]) == (409, "account_changed")
    assert own.json()["email"] == user.email


def test_a_page_whose_account_logged_out_is_told_to_log_in(client, user):
    answer = client.get("/api/upload", headers={"X-Page-Account": str(user.id)})

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


def test_a_refused_origin_names_the_setting_that_admits_it(browser):
    headers = {"X-CSRFToken": browser.csrf_token, "Origin": "https://files.example.com"}

    detail = browser.post("/api/upload", headers=headers).json()["detail"]

    assert "from https://files.example.com" in detail
    assert "http://testserver" in detail
    assert "DJANGO_CSRF_TRUSTED_ORIGINS" in detail
