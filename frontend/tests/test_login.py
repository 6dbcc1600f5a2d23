import pytest
from django.test import Client

from accounts.models import User
from accounts.tests.factories import PASSWORD

LOGIN = "/app/login/"


def log_in(client: Client, **fields: str):
    return client.post(LOGIN, {"username": "ada@example.org", "password": PASSWORD} | fields)


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
