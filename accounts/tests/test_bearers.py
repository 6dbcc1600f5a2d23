"""Kinds of bearer tokens, as apps above register them."""

from uuid import uuid4

import pytest
from django.http import HttpRequest
from django.test import Client, RequestFactory

from accounts import bearers, tokens
from accounts.authentication import Authenticator
from accounts.bearers import Credential
from accounts.models import TokenScope, User
from accounts.principals import Actor, ActorKind, Principal
from accounts.tests.factories import make_user
from common.errors import Forbidden, Unauthenticated
from common.webhooks.permissions import SEE_WEBHOOKS

pytestmark = [pytest.mark.django_db, pytest.mark.urls("accounts.tests.urls")]

PREFIX = "dzz_"


@pytest.fixture
def owner() -> User:
    return make_user(is_staff=True)


@pytest.fixture
def text() -> str:
    return tokens.generate(prefix=PREFIX)


@pytest.fixture
def guest(owner, text, monkeypatch) -> Client:
    """A client with a token of a kind that an app above has registered: it may only read."""
    actor = Actor(ActorKind.GRANT, uuid4(), "the suppliers")
    principal = Principal(owner, actor, frozenset({TokenScope.READ}), grant_id=actor.id)

    def read(given: str) -> Credential:
        if given != text:
            raise Unauthenticated("pass_invalid", "This pass is not known.")
        return Credential(principal, kind="pass", advice="Ask for another.")

    monkeypatch.setattr(bearers, "_readers", dict(bearers._readers))
    bearers.register(PREFIX, read)
    return Client(headers={"Authorization": f"Bearer {text}"})


@pytest.fixture
def request_of_guest(guest, text) -> HttpRequest:
    return RequestFactory().get("/", headers={"Authorization": f"Bearer {text}"})


def test_a_registered_kind_is_judged_by_its_reader(guest):
    bad = Client().get("/plain/", headers={"Authorization": f"Bearer {PREFIX}nonsense"})

    assert guest.get("/plain/").status_code == 200
    assert (bad.status_code, bad.json()["code"]) == (401, "pass_invalid")


def test_a_missing_scope_is_told_in_the_words_of_the_kind(guest):
    answer = guest.get("/api/upload")

    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert answer.json()["detail"] == "This pass lacks the scope upload. Ask for another."


def test_whoever_looks_at_the_user_alone_sees_nobody(request_of_guest, owner):
    principal = Authenticator()(request_of_guest)

    assert principal.owner == owner
    assert request_of_guest.principal is principal
    assert not request_of_guest.user.is_authenticated


def test_a_guest_of_staff_is_not_staff(request_of_guest):
    with pytest.raises(Forbidden) as refused:
        Authenticator(permission=SEE_WEBHOOKS)(request_of_guest)

    assert refused.value.code == "permission_missing"


def test_an_unknown_kind_is_no_token():
    text = tokens.generate(prefix="dqq_")

    answer = Client().get("/plain/", headers={"Authorization": f"Bearer {text}"})

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


def test_a_prefix_of_another_length_would_never_be_found():
    with pytest.raises(ValueError, match="4 characters"):
        bearers.register("portal_", bearers._api_token)
