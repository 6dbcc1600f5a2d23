"""Who acts, for whom, with which rights."""

from dataclasses import FrozenInstanceError, replace
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission

from accounts import principals
from accounts.models import TokenScope, User
from accounts.principals import ActorKind, Principal
from accounts.tests.factories import make_token, make_user, principal_of
from common.webhooks.permissions import SEE_WEBHOOKS

pytestmark = pytest.mark.django_db

ACCESS_ALL = "uploads.access_all_files"


def as_guest(principal: Principal) -> Principal:
    return replace(principal, grant_id=uuid4())


def test_who_is_logged_in_may_do_all_that_the_account_may():
    user = make_user()

    principal = principals.of_session(user)

    assert (principal.owner, principal.scopes) == (user, frozenset(TokenScope))
    assert principal.actor.kind == ActorKind.USER
    assert (principal.actor.id, principal.actor.label) == (user.id, user.email)
    assert principal.grant_id is None


def test_a_token_acts_for_its_account_within_its_scopes():
    token, _ = make_token(name="nightly", scopes=("read",))

    principal = principals.of_token(token)

    assert (principal.owner, principal.scopes) == (token.user, {TokenScope.READ})
    assert principal.actor.kind == ActorKind.TOKEN
    assert (principal.actor.id, principal.actor.label) == (token.id, "nightly")


def test_an_administrator_at_the_shell_acts_for_an_owner():
    user = make_user()

    principal = principals.at_the_shell(user)

    assert (principal.owner, principal.scopes) == (user, frozenset(TokenScope))
    assert (principal.actor.kind, principal.actor.id) == (ActorKind.STAFF, None)


def test_permissions_are_those_of_the_account():
    user = make_user()
    user.user_permissions.add(Permission.objects.get(codename="access_all_files"))
    runner = principal_of(User.objects.get(id=user.id))

    assert runner.has_permission(ACCESS_ALL)
    assert not runner.is_staff_with(ACCESS_ALL)
    assert principal_of(make_user(is_staff=True)).is_staff_with(SEE_WEBHOOKS)
    assert not principal_of(make_user()).has_permission(ACCESS_ALL)


def test_a_guest_has_none_of_the_owners_permissions():
    guest = as_guest(principal_of(make_user(is_staff=True)))

    assert not guest.has_permission(ACCESS_ALL)
    assert not guest.is_staff_with(SEE_WEBHOOKS)


def test_a_principal_does_not_change():
    principal = principal_of(make_user())

    with pytest.raises(FrozenInstanceError):
        principal.scopes = frozenset()
