import re
import socket
from uuid import UUID

import pytest
from celery import current_app
from celery.signals import before_task_publish
from django.core import mail
from django.test import Client
from kombu import Connection, pools

from accounts.models import User
from accounts.tests.factories import PASSWORD

NEW = "another long password"
RESET = "/app/password/reset/"
TOKENS_STILL_WORK = (
    b'API tokens still work: <a class="link" href="/app/tokens/">revoke</a> any you do not trust.'
)


def reset_link(client: Client, address: str = "ada@example.org") -> str:
    client.post(RESET, {"email": address})
    return re.search(r"http://\S+", mail.outbox[-1].body)[0]


def test_a_password_is_changed_with_the_old_one(ada: Client, user: User):
    response = ada.post(
        "/app/password/change/",
        {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW},
        follow=True,
    )
    assert b"Your password is changed." in response.content
    assert TOKENS_STILL_WORK in response.content
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
    assert TOKENS_STILL_WORK in response.content
    user.refresh_from_db()
    assert user.check_password(NEW)
    assert b"This link no longer works" in Client().get(path, follow=True).content


def test_the_link_does_not_follow_a_forged_host(client: Client, user: User, settings):
    client.post(
        RESET,
        {"email": "ada@example.org"},
        headers={"host": "evil.example"},
    )
    assert "evil.example" not in mail.outbox[0].body
    assert settings.PUBLIC_URL in mail.outbox[0].body


def test_an_unknown_address_gets_the_same_answer_and_no_mail(client: Client, db):
    response = client.post(RESET, {"email": "nobody@example.org"}, follow=True)
    assert b"Check your mail" in response.content
    assert not mail.outbox


def test_a_new_password_can_be_used_at_once_whatever_failed_before(client: Client, user: User):
    log_in = {"username": user.email, "password": "wrong"}
    for _ in range(11):
        refused = client.post("/app/login/", log_in)
    assert refused.status_code == 429
    path = client.get(reset_link(client).removeprefix("http://localhost:8000"), follow=True)
    client.post(path.redirect_chain[-1][0], {"new_password1": NEW, "new_password2": NEW})
    assert client.post("/app/login/", log_in | {"password": NEW}).status_code == 302


def test_an_inactive_account_and_one_without_a_password_get_no_mail(client: Client, user: User):
    User.objects.filter(id=user.id).update(is_active=False)
    assert client.post(RESET, {"email": user.email}).status_code == 302
    user.set_unusable_password()
    user.save()
    assert client.post(RESET, {"email": user.email}).status_code == 302
    assert not mail.outbox


def test_a_mail_that_cannot_be_sent_is_logged_and_not_shown(client, user, settings, caplog):
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_PORT = nobody_listens.getsockname()[1]
        response = client.post(RESET, {"email": user.email}, follow=True)
    assert b"Check your mail" in response.content
    assert f"user {user.id} was not sent" in caplog.text
    assert user.email not in caplog.text


@pytest.mark.parametrize("address", ["ada@example.org", "nobody@example.org"])
def test_after_five_mails_the_form_says_how_long_to_wait(user: User, address: str):
    for number in range(5):
        client = Client(headers={"X-Forwarded-For": f"198.51.100.{number}"})
        assert client.post(RESET, {"email": address}).status_code == 302
    response = Client().post(RESET, {"email": address.upper()})
    assert response.status_code == 429
    assert 3590 < int(response.headers["Retry-After"]) <= 3600
    assert b"Links were asked for too often. Try again in an hour." in response.content
    assert len(mail.outbox) == (5 if address == user.email else 0)


def test_after_twenty_mails_a_client_waits(client: Client, user: User):
    for number in range(20):
        client.post(RESET, {"email": f"person{number}@example.org"})
    assert client.post(RESET, {"email": user.email}).status_code == 429
    assert not mail.outbox


@pytest.fixture
def queued(monkeypatch):
    """Tasks are sent to a broker in memory, not run in place; the arguments of those sent."""
    sent = []

    def note(body, **_):
        arguments, *_ = body
        sent.append(list(arguments))

    broker = pools.producers[Connection("memory://localhost")]
    monkeypatch.setattr(current_app.amqp, "_producer_pool", broker)
    before = current_app.conf.task_always_eager
    current_app.conf.task_always_eager = False
    before_task_publish.connect(note)
    yield sent
    before_task_publish.disconnect(note)
    current_app.conf.task_always_eager = before
    broker.force_close_all()


def test_the_request_does_the_same_for_known_and_unknown_addresses(
    client: Client, user: User, queued: list, count_queries
):
    done = []
    for address in (user.email, "nobody@example.org"):
        with count_queries() as queries:
            response = client.post(RESET, {"email": address})
        done.append((response.status_code, response.headers["Location"], len(queries)))
    assert done[0] == done[1]
    assert not mail.outbox
    (known,), (unknown,) = queued
    assert known == str(user.id)
    assert UUID(unknown).version == UUID(known).version
    assert not User.objects.filter(id=unknown).exists()
