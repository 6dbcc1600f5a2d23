import pytest
from django.test import Client

from accounts import throttle
from accounts.models import User
from accounts.tests.factories import PASSWORD

REGISTER = "/app/register/"


def register(client: Client, **fields: str):
    return client.post(REGISTER, {"email": "bob@example.org", "password": PASSWORD} | fields)


def test_a_new_account_is_logged_in_and_can_upload(client: Client, db):
    assert register(client).headers["Location"] == "/app/upload/"
    assert client.get("/app/upload/").status_code == 200
    user = User.objects.get(email="bob@example.org")
    assert user.check_password(PASSWORD)
    assert not user.is_staff


def test_an_address_is_taken_whatever_its_case(client: Client, user: User):
    response = register(client, email="ADA@example.org")
    assert b"exists already" in response.content
    assert User.objects.count() == 1


@pytest.mark.parametrize("password", ["", "short", "12345678901234", "password", "bob@example.org"])
def test_a_weak_password_is_refused(client: Client, db, password: str):
    response = register(client, password=password)
    assert response.status_code == 200
    assert response.context["form"].errors["password"]
    assert not User.objects.exists()


def test_registration_can_be_switched_off(client: Client, db, settings):
    settings.PORTAL_REGISTRATION_OPEN = False
    assert client.get(REGISTER).status_code == 404
    response = register(client)
    assert response.status_code == 404
    assert b"Registration is closed" in response.content
    assert not User.objects.exists()


def test_somebody_logged_in_is_sent_to_the_dashboard(ada: Client):
    assert ada.get(REGISTER).headers["Location"] == "/app/"


def test_after_twenty_registrations_the_form_says_how_long_to_wait(client: Client, user: User):
    for _ in range(19):
        throttle.count_registration(address="127.0.0.1")
    assert register(client, email="ada@example.org").status_code == 200  # taken: counted as well
    response = register(client)
    assert response.status_code == 429
    assert 3590 < int(response.headers["Retry-After"]) <= 3600
    assert b"Too many registrations from your network. Try again in an hour." in response.content
    assert User.objects.count() == 1
    assert register(Client(headers={"X-Forwarded-For": "203.0.113.9"})).status_code == 302


def test_a_form_that_is_corrected_does_not_count(client: Client, db):
    for _ in range(21):
        register(client, password="short")
    assert register(client).status_code == 302


def test_next_is_followed_within_the_portal_only(client: Client, db):
    assert b'value="/app/tokens/"' in client.get(f"{REGISTER}?next=/app/tokens/").content
    assert b"evil" not in client.get(f"{REGISTER}?next=//evil.example/").content
    assert register(client, next="//evil.example/").headers["Location"] == "/app/upload/"
    client.logout()
    response = register(client, email="eve@example.org", next="/app/tokens/")
    assert response.headers["Location"] == "/app/tokens/"
