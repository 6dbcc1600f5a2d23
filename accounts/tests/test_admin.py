import pytest
from django.urls import reverse

from accounts.models import ApiToken, User
from accounts.tests.factories import PASSWORD, make_token, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def office(client):
    client.force_login(make_user(is_staff=True))
    return client


def test_an_administrator_logs_in_by_address(client):
    make_user(email="root@example.org", is_staff=True)
    form = {"username": "ROOT@example.org", "password": PASSWORD}

    answer = client.post(reverse("admin:login"), form | {"next": reverse("admin:index")})

    assert answer.headers["Location"] == reverse("admin:index")


def test_log_ins_are_counted_with_those_of_the_pages(client):
    make_user(email="root@example.org", is_staff=True)
    form = {"username": "root@example.org", "password": "wrong"}
    for address in ("/app/login/", reverse("admin:login")) * 5:
        assert client.post(address, form).status_code == 200

    answer = client.post(reverse("admin:login"), form | {"password": PASSWORD})

    assert answer.status_code == 429
    assert 890 < int(answer.headers["Retry-After"]) <= 900
    assert b"Too many failed log-ins. Try again in 15 minutes." in answer.content


def test_somebody_who_is_no_staff_is_told_so_and_not_counted(client):
    make_user(email="ada@example.org")
    form = {"username": "ada@example.org", "password": PASSWORD}
    for _ in range(11):
        answer = client.post(reverse("admin:login"), form)

    assert answer.status_code == 200
    assert b"for a staff account" in answer.content


def test_users_are_listed_searched_and_shown(office):
    user = make_user(email="ada@example.org")

    assert b"ada@example.org" in office.get(reverse("admin:accounts_user_changelist")).content
    found = office.get(reverse("admin:accounts_user_changelist"), {"q": "nobody@"})
    assert b"ada@example.org" not in found.content
    assert office.get(reverse("admin:accounts_user_change", args=[user.id])).status_code == 200


def test_a_user_is_added_by_address_and_password(office):
    form = {
        "email": "ada@example.org",
        "usable_password": "true",
        "password1": "long enough 42",
        "password2": "long enough 42",
    }

    assert office.get(reverse("admin:accounts_user_add")).status_code == 200
    answer = office.post(reverse("admin:accounts_user_add"), form)

    assert answer.status_code == 302
    assert User.objects.get(email="ada@example.org").check_password("long enough 42")


def test_adding_an_address_twice_is_a_form_error(office):
    make_user(email="ada@example.org")
    form = {"email": "ADA@example.org", "usable_password": "false"}

    answer = office.post(reverse("admin:accounts_user_add"), form)

    assert answer.status_code == 200
    assert b"An account with this e-mail address exists already." in answer.content


def test_tokens_are_shown_without_their_digest(office):
    token, text = make_token(name="nightly")

    for page in (
        reverse("admin:accounts_apitoken_changelist"),
        reverse("admin:accounts_apitoken_change", args=[token.id]),
    ):
        content = office.get(page).content.decode()
        assert "nightly" in content
        assert token.digest not in content
        assert text not in content


def test_tokens_cannot_be_added_here(office):
    assert office.get(reverse("admin:accounts_apitoken_add")).status_code == 403


def test_the_action_revokes_the_selected_tokens(office):
    chosen = [make_token()[0] for _ in range(2)]
    spared, _ = make_token()
    form = {"action": "revoke_selected", "_selected_action": [str(t.id) for t in chosen]}

    answer = office.post(reverse("admin:accounts_apitoken_changelist"), form, follow=True)

    assert b"2 token(s) revoked." in answer.content
    assert list(ApiToken.objects.filter(revoked_at=None)) == [spared]
