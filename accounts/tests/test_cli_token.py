import json
from datetime import timedelta

import pytest
from click.testing import CliRunner
from django.utils import timezone

from accounts import services
from accounts.cli import token as token_group
from accounts.models import ApiToken
from accounts.tests.factories import make_token, make_user
from common.errors import NotFound

pytestmark = pytest.mark.django_db


def run(*arguments):
    return CliRunner().invoke(token_group, arguments)


def test_create_prints_only_the_token():
    user = make_user(email="ada@example.org")

    result = run("create", "--email", "ADA@example.org", "--name", "nightly")

    assert result.exit_code == 0
    text = result.stdout.removesuffix("\n")
    found = services.authenticate_token(text)
    assert (found.user, found.name, found.expires_at) == (user, "nightly", None)


def test_create_takes_scopes_and_an_expiry():
    user = make_user()
    options = ["--scope", "read", "--scope", "consume", "--expires", "30d"]

    result = run("create", "--email", user.email, "--name", "n", *options)

    found = services.authenticate_token(result.stdout.strip())
    assert found.scopes == ["read", "consume"]
    assert timedelta(days=29) < found.expires_at - timezone.now() <= timedelta(days=30)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90m", timedelta(minutes=90)),
        ("12h", timedelta(hours=12)),
        ("2w", timedelta(weeks=2)),
        ("99999w", timedelta(weeks=99999)),
    ],
)
def test_durations_have_units(text, span):
    before = timezone.now()

    result = run("create", "--email", make_user().email, "--name", "n", "--expires", text)

    expires_at = services.authenticate_token(result.stdout.strip()).expires_at
    assert before + span <= expires_at <= timezone.now() + span


@pytest.mark.parametrize("text", ["", "0d", "-1d", "30", "d", "1.5h", "30 d", "100000w", "٣d"])
def test_other_durations_are_a_usage_error(text):
    result = run("create", "--email", make_user().email, "--name", "n", "--expires", text)

    assert result.exit_code == 2
    assert "duration" in result.stderr
    assert ApiToken.objects.count() == 0


def test_an_unknown_scope_is_a_usage_error():
    result = run("create", "--email", make_user().email, "--name", "n", "--scope", "root")

    assert result.exit_code == 2
    assert ApiToken.objects.count() == 0


def test_an_unknown_address_says_what_to_do():
    result = run("create", "--email", "nobody@example.org", "--name", "n")

    assert isinstance(result.exception, NotFound)
    assert result.exception.code == "user_not_found"
    assert result.stdout == ""


def test_list_shows_everybodys_tokens_or_one_accounts():
    mine, my_text = make_token(name="mine")
    other, _ = make_token(name="other")

    everything = run("list").stdout
    filtered = run("list", "--email", mine.user.email).stdout

    assert str(mine.id) in everything
    assert other.hint in everything
    assert my_text not in everything
    assert "mine" in filtered
    assert str(other.id) not in filtered


def test_list_as_json_can_be_read_by_a_program():
    token, text = make_token(scopes=("read",))

    result = run("list", "--json")

    (row,) = json.loads(result.stdout)
    assert (row["id"], row["hint"], row["scopes"]) == (str(token.id), token.hint, ["read"])
    assert row["revoked_at"] is None
    assert token.digest not in result.stdout
    assert text not in result.stdout


def test_an_empty_list_prints_nothing_as_text_and_an_array_as_json():
    assert run("list").stdout == ""
    assert json.loads(run("list", "--json").stdout) == []


@pytest.mark.parametrize("attribute", ["id", "hint"])
def test_revoke_takes_an_id_or_a_hint(attribute):
    token, _ = make_token(name="leaked")

    result = run("revoke", str(getattr(token, attribute)))

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "leaked" in result.stderr
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_revoking_what_is_not_there_is_an_error():
    result = run("revoke", "drt_nobody")

    assert isinstance(result.exception, NotFound)
    assert result.exception.code == "token_not_found"
