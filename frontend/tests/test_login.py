from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models import F
from django.test import Client

from accounts.models import Throttle, User
from accounts.tests.factories import PASSWORD, make_token, make_user
from accounts.tests.hashers import ListingHasher
from common.tests.threads import at_once

LOGIN = "/app/login/"


def log_in(client: Client, **fields: str):
    return client.post(LOGIN, {"username": "ada@example.org", "password": PASSWORD} | fields)


def fail(client: Client, *, times: int = 10, **fields: str):
    for _ in range(times):
        assert log_in(client, password="wrong", **fields).status_code == 200


@pytest.fixture
def hashed(settings) -> list[str]:
    """The passwords that were hashed."""
    settings.PASSWORD_HASHERS = ["accounts.tests.hashers.ListingHasher"]
    ListingHasher.hashed.clear()
    return ListingHasher.hashed


def test_the_right_password_leads_to_the_dashboard(client: Client, user: User):
    response = log_in(client)
    assert response.headers["Location"] == "/app/"
    assert client.get("/app/").status_code == 200


def test_the_case_of_the_address_does_not_matter(client: Client, user: User):
    assert log_in(client, username="ADA@Example.ORG").status_code == 302


def test_a_wrong_password_is_explained_and_the_address_kept(client: Client, user: User):
    response = log_in(client, password="wrong")
    assert b"do not belong together" in response.content
    assert b'value="ada@example.org"' in response.content
    assert "_auth_user_id" not in client.session


def test_an_inactive_account_stays_out(client: Client, user: User):
    User.objects.filter(id=user.id).update(is_active=False)
    assert log_in(client).status_code == 200
    assert "_auth_user_id" not in client.session


def test_next_is_followed_within_the_portal(client: Client, user: User):
    response = log_in(client, next="/app/uploads/?status=stored")
    assert response.headers["Location"] == "/app/uploads/?status=stored"


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"],
)
def test_next_never_leaves_the_portal(client: Client, user: User, target: str):
    assert log_in(client, next=target).headers["Location"] == "/app/"


def test_a_page_asks_to_log_in_and_comes_back(client: Client, user: User):
    response = client.get("/app/uploads/?status=failed")
    assert response.headers["Location"] == "/app/login/?next=/app/uploads/%3Fstatus%3Dfailed"


def test_a_fragment_for_somebody_logged_out_sends_the_whole_page_to_log_in(client: Client, db):
    response = client.get(
        "/app/uploads/",
        headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/app/uploads/"},
    )
    assert response.headers["HX-Redirect"] == "/app/login/?next=%2Fapp%2Fuploads%2F"


def test_somebody_logged_in_does_not_log_in_again(ada: Client):
    assert ada.get(LOGIN).headers["Location"] == "/app/"


def test_the_page_offers_registration_only_when_it_is_open(client: Client, db, settings):
    assert b"/app/register/" in client.get(LOGIN).content
    settings.PORTAL_REGISTRATION_OPEN = False
    assert b"/app/register/" not in client.get(LOGIN).content


def test_a_form_without_its_token_is_explained(user: User):
    response = log_in(Client(enforce_csrf_checks=True))
    assert response.status_code == 403
    assert b"This form is out of date" in response.content


def test_after_ten_failures_the_form_says_how_long_to_wait(client: Client, user: User):
    fail(client)
    response = log_in(client)
    assert response.status_code == 429
    assert 890 < int(response.headers["Retry-After"]) <= 900
    assert b"Too many failed log-ins. Try again in 15 minutes." in response.content
    assert b'value="ada@example.org"' in response.content
    assert "_auth_user_id" not in client.session


def test_a_refused_password_is_not_hashed(client: Client, db, hashed: list[str]):
    make_user(email="ada@example.org")
    fail(client)
    fail(client, username="nobody@example.org")
    hashed.clear()
    assert log_in(client).status_code == 429
    assert log_in(client, username="nobody@example.org").status_code == 429
    assert hashed == []


def test_an_unknown_address_is_refused_with_the_same_page(client: Client, user: User):
    pages = []
    for address in ("ada@example.org", "bob@example.org"):
        fail(client, username=address)
        content = log_in(client, username=address).content.decode()
        pages.append(content.replace(address, "…").split("<main")[1].split("</main>")[0])
    assert without_csrf(pages[0]) == without_csrf(pages[1])


def without_csrf(page: str) -> str:
    before, _, after = page.partition('name="csrfmiddlewaretoken"')
    return before + after.partition(">")[2]


def test_within_the_limit_the_right_password_works_and_ends_the_count(client: Client, user: User):
    fail(client, times=9)
    assert log_in(client).status_code == 302
    client.logout()
    fail(client, times=9)
    assert log_in(client).status_code == 302


def test_when_the_wait_is_over_the_right_password_works(client: Client, user: User):
    fail(client)
    Throttle.objects.update(window_start=F("window_start") - timedelta(minutes=15))
    assert log_in(client).status_code == 302


def test_the_failures_of_another_client_lock_nobody_out(client: Client, user: User):
    fail(Client(headers={"X-Forwarded-For": "203.0.113.9"}))
    assert log_in(client).status_code == 302


def test_a_client_that_names_another_address_is_not_another(user: User):
    stranger = {"REMOTE_ADDR": "203.0.113.9"}  # no proxy of ours
    for number in range(10):
        fail(Client(headers={"X-Forwarded-For": f"198.51.100.{number}"}, **stranger), times=1)
    assert log_in(Client(**stranger)).status_code == 429


def test_a_form_that_lacks_something_is_no_attempt(client: Client, user: User):
    for _ in range(11):
        log_in(client, password="")
        log_in(client, username="ada")
    assert log_in(client).status_code == 302


def test_sessions_and_tokens_go_on_while_log_ins_are_refused(client: Client, ada: Client, user):
    _, token = make_token(user=user)
    fail(client)
    assert log_in(client).status_code == 429
    assert ada.get("/app/").status_code == 200
    bearer = {"Authorization": f"Bearer {token}"}
    assert client.get("/api/v1/files", headers=bearer).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_of_guesses_that_come_at_once_ten_passwords_are_hashed(hashed: list[str]):
    make_user(email="ada@example.org")
    hashed.clear()
    responses = at_once([lambda: log_in(Client(), password="wrong")] * 24)
    assert sorted(response.status_code for response in responses) == [200] * 10 + [429] * 14
    assert hashed.count("wrong") == 10


@pytest.mark.parametrize(
    ("referer", "page"),
    [
        ("http://testserver/app/uploads/1/?a=b", "/app/uploads/1/%3Fa%3Db"),
        ("https://evil.example/app/uploads/1/", "/app/"),
        ("", "/app/"),
    ],
)
def test_a_form_leads_back_to_the_page_that_it_stood_on(
    client: Client, db, referer: str, page: str
):
    response = client.post(f"/app/uploads/{uuid4()}/delete/", headers={"Referer": referer})
    assert response.headers["Location"] == f"/app/login/?next={page}"


def test_next_is_not_lost_to_somebody_without_an_account(client: Client, db):
    content = client.get(f"{LOGIN}?next=/app/tokens/").content.decode()
    assert "/app/register/?next=/app/tokens/" in content
