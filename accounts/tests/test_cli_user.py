"""``doorito user``."""

import json

import pytest
from click.testing import CliRunner

from accounts import services
from accounts.cli import user as user_group
from accounts.models import User
from accounts.tests.factories import make_token, make_user
from common.errors import DooritoError, Forbidden, InvalidInput, NotFound

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


def run(*arguments: str):
    return CliRunner().invoke(user_group, arguments)


def test_create_prints_the_id_of_an_ordinary_account():
    result = run("create", "--email", "Ada@Example.org", "--password", PASSWORD)
    made = User.objects.get(id=result.stdout.strip())
    assert (made.email.lower(), made.is_staff, made.is_superuser) == (
        "ada@example.org",
        False,
        False,
    )
    assert made.check_password(PASSWORD)


def test_create_makes_administrators_only_when_asked_to():
    result = run("create", "--email", "root@example.org", "--password", PASSWORD, "--admin")
    made = User.objects.get(id=result.stdout.strip())
    assert (made.is_staff, made.is_superuser) == (True, True)


@pytest.mark.parametrize(("email", "password"), [("ada@example.org", "123"), ("no", PASSWORD)])
def test_create_refuses_what_the_portal_would(email, password):
    result = run("create", "--email", email, "--password", password)
    assert isinstance(result.exception, InvalidInput)
    assert not User.objects.exists()


def test_an_address_is_taken_once():
    make_user(email="ada@example.org")
    result = run("create", "--email", "ADA@example.org", "--password", PASSWORD)
    assert isinstance(result.exception, DooritoError)
    assert User.objects.count() == 1


def test_list_shows_accounts_newest_first():
    first, second = make_user(), make_user()
    rows = json.loads(run("list", "--json").stdout)
    assert [row["id"] for row in rows] == [str(second.id), str(first.id)]
    assert second.email in run("list").stdout


def test_disable_stops_tokens_at_once_and_enable_lets_in_again():
    user = make_user()
    _, text = make_token(user=user)
    assert run("disable", user.email).exit_code == 0
    with pytest.raises(Forbidden):
        services.authenticate_token(text)
    assert run("enable", user.email).exit_code == 0
    assert services.authenticate_token(text).user == user


@pytest.mark.parametrize("command", ["disable", "enable"])
def test_nobody_is_named(command):
    assert isinstance(run(command, "nobody@example.org").exception, NotFound)
