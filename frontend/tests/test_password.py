import re

from django.core import mail
from django.test import Client

from accounts.models import User
from accounts.tests.factories import PASSWORD

NEW = "another long password"


def reset_link(client: Client, address: str = "ada@example.org") -> str:
    client.post("/app/password/reset/", {"email": address})
    return re.search(r"http://\S+", mail.outbox[-1].body)[0]


def test_a_password_is_changed_with_the_old_one(ada: Client, user: User):
    response = ada.post(
        "/app/password/change/",
        {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW},
        follow=True,
    )
    assert b"Your password is changed." in response.content
    user.refresh_from_db()
    assert user.check_password(NEW)


def test_a_wrong_old_password_changes_nothing(ada: Client, user: User):
    ada.post(
        "/app/password/change/",
        {"old_password": "wrong", "new_password1": NEW, "new_password2": NEW},
    )
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_changing_a_password_needs_a_log_in(client: Client, db):
    assert "/app/login/" in client.get("/app/password/change/").headers["Location"]


def test_a_mailed_link_sets_a_new_password_once(client: Client, user: User, settings):
    link = reset_link(client)
    assert link.startswith(settings.PUBLIC_URL)
    path = link.removeprefix(settings.PUBLIC_URL)
    form = client.get(path, follow=True)
    assert b"Choose a new password" in form.content
    target = form.redirect_chain[-1][0]
    response = client.post(target, {"new_password1": NEW, "new_password2": NEW}, follow=True)
    assert b"Your password is changed. Log in with it." in response.content
    user.refresh_from_db()
    assert user.check_password(NEW)
    assert b"This link no longer works" in Client().get(path, follow=True).content


def test_the_link_does_not_follow_a_forged_host(client: Client, user: User, settings):
    client.post(
        "/app/password/reset/",
        {"email": "ada@example.org"},
        headers={"host": "evil.example"},
    )
    assert "evil.example" not in mail.outbox[0].body
    assert settings.PUBLIC_URL in mail.outbox[0].body


def test_an_unknown_address_gets_the_same_answer_and_no_mail(client: Client, db):
    response = client.post("/app/password/reset/", {"email": "nobody@example.org"}, follow=True)
    assert b"Check your mail" in response.content
    assert not mail.outbox
