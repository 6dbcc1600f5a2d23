"""Tokens go by one clock, the database's, whatever a machine's own says."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
import time_machine
from click.testing import CliRunner
from django.db.models.functions import Now
from django.utils import timezone

from accounts import services
from accounts.cli import token as token_commands
from accounts.models import ApiToken
from accounts.tests.factories import make_token, make_user
from common.errors import InvalidInput, Unauthenticated

pytestmark = pytest.mark.django_db

AHEAD, BEHIND = timedelta(days=60), timedelta(days=-60)


@contextmanager
def clock_off(by):
    """A machine whose clock is wrong, while the database's is not."""
    with time_machine.travel(timezone.now() + by):
        yield


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_a_token_is_good_until_it_expires_whatever_such_a_machine_says(by):
    made, text = make_token(expires_at=timezone.now() + timedelta(hours=1))
    with clock_off(by):
        assert services.authenticate_token(text) == made
    ApiToken.objects.update(expires_at=Now() - timedelta(seconds=1))
    with clock_off(by), pytest.raises(Unauthenticated, match="expired"):
        services.authenticate_token(text)


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_a_token_that_such_a_machine_makes_is_good_for_its_time(by):
    user = make_user()
    with clock_off(by):
        made = CliRunner().invoke(
            token_commands, ["create", "--email", user.email, "--name", "n", "--expires", "1h"]
        )
        assert made.exit_code == 0, made.output
    left = ApiToken.objects.get().expires_at - timezone.now()
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


def test_an_expiry_in_the_past_is_refused_by_a_machine_whose_clock_is_behind():
    past = timezone.now() - timedelta(seconds=1)
    user = make_user()
    with clock_off(BEHIND), pytest.raises(InvalidInput, match="future"):
        services.create_token(user=user, name="n", expires_at=past)
