"""Owners make, list, renew and revoke upload links over the API."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.tests.factories import make_user
from common.models import AuditEntry
from uploads.models import UploadGrant
from uploads.tests.description import DescribedClient
from uploads.tests.factories import GRANTS, SESSIONS, Api, Guest, assert_problem
from uploads.tests.workflow_factories import make_workflow

pytestmark = pytest.mark.django_db


def begin(token: str):
    """A guest with the token begins an upload."""
    client = DescribedClient(headers={"authorization": f"Bearer {token}"})
    body = {"filename": "a.bin", "size_bytes": 1}
    return client.post(SESSIONS, body, content_type="application/json")


def test_a_link_is_made_with_all_that_it_may_say(settings):
    settings.PUBLIC_URL = "https://portal.example.org"
    owner = Api()
    workflow = make_workflow()
    expires_at = (timezone.now() + timedelta(days=1)).isoformat(timespec="milliseconds")

    reply = owner.post(
        GRANTS,
        {
            "name": "Invoices",
            "max_files": 3,
            "max_bytes": 1000,
            "max_file_size": 500,
            "allowed_types": ["application/pdf"],
            "expires_at": expires_at,
            "message": "Of March, please.",
            "workflow": workflow.slug,
            "mails_owner": True,
        },
    )

    assert reply.status_code == 201, reply.content
    made = reply.json()
    assert made["url"] == f"https://portal.example.org/send/{made['token']}/"
    assert (made["workflow"], made["message"]) == (workflow.slug, "Of March, please.")
    assert (made["has_password"], made["mails_owner"]) == (False, True)
    shown = owner.get(f"{GRANTS}/{made['id']}").json()
    assert shown == {name: made[name] for name in shown}
    assert "token" not in shown
    assert owner.get(GRANTS).json()["items"][0]["id"] == made["id"]


def test_the_token_of_a_link_with_a_password_is_no_use_without_it():
    made = Api().post(GRANTS, {"name": "safe", "password": "let me in"}).json()

    assert made["has_password"]
    assert_problem(begin(made["token"]), 403, "grant_password_needed")
    assert "let me in" not in str(UploadGrant.objects.values().get())


def test_a_renewed_link_has_another_token_and_keeps_its_counters():
    owner = Api()
    made = owner.post(GRANTS, {"name": "lost", "max_files": 2}).json()
    begin(made["token"])

    renewed = owner.post(f"{GRANTS}/{made['id']}/renew").json()

    assert_problem(begin(made["token"]), 401, "grant_invalid")
    assert (renewed["id"], renewed["files_begun"]) == (made["id"], 1)
    assert begin(renewed["token"]).status_code == 201
    assert_problem(begin(renewed["token"]), 409, "grant_files_used_up")


def test_a_changed_link_keeps_what_is_not_named_and_what_was_counted():
    owner = Api()
    made = owner.post(
        GRANTS, {"name": "few", "max_files": 1, "message": "Please.", "max_bytes": 10}
    ).json()
    begin(made["token"])
    assert_problem(begin(made["token"]), 409, "grant_files_used_up")

    changed = owner.patch(f"{GRANTS}/{made['id']}", {"max_files": 2, "max_bytes": None}).json()

    assert begin(made["token"]).status_code == 201
    assert (changed["max_files"], changed["max_bytes"]) == (2, None)
    assert (changed["message"], changed["files_begun"]) == ("Please.", 1)
    assert_problem(owner.patch(f"{GRANTS}/{made['id']}", {"name": " "}), 400, "grant_name_invalid")
    owner.delete(f"{GRANTS}/{made['id']}")
    assert_problem(owner.patch(f"{GRANTS}/{made['id']}", {"name": "n"}), 409, "grant_revoked")
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions)[-2:] == ["grant.changed", "grant.revoked"]


def test_a_revoked_link_ends_at_once_and_stays_in_the_list():
    owner = Api()
    made = owner.post(GRANTS, {"name": "over"}).json()

    for _ in range(2):
        assert owner.delete(f"{GRANTS}/{made['id']}").status_code == 204

    assert_problem(begin(made["token"]), 401, "grant_revoked")
    assert owner.get(GRANTS).json()["items"][0]["revoked_at"] is not None
    assert_problem(owner.post(f"{GRANTS}/{made['id']}/renew"), 409, "grant_ended")
    actions = AuditEntry.objects.order_by("id").values_list("action", "actor_kind")
    assert list(actions)[-2:] == [("grant.created", "token"), ("grant.revoked", "token")]


def test_links_of_others_do_not_exist_and_guests_have_none():
    made = Api().post(GRANTS, {"name": "mine"}).json()
    for stranger in (Api(), Api(make_user(is_staff=True)), Guest()):
        assert stranger.get(GRANTS).json()["items"] == []
        for reply in (
            stranger.get(f"{GRANTS}/{made['id']}"),
            stranger.delete(f"{GRANTS}/{made['id']}"),
            stranger.post(f"{GRANTS}/{made['id']}/renew"),
            stranger.patch(f"{GRANTS}/{made['id']}", {"name": "theirs"}),
        ):
            assert_problem(reply, 404, "grant_not_found")
    assert_problem(Guest().post(GRANTS, {"name": "for a friend"}), 403, "grant_by_guest")


@pytest.mark.parametrize(
    "more", [{"scopes": ["upload", "read"]}, {"scopes": ["upload", "consume"]}, {"workflow": ""}]
)
def test_nobody_hands_on_more_than_they_may_do_themselves(more):
    more = {name: value or make_workflow().slug for name, value in more.items()}
    owner = Api()
    made = owner.post(GRANTS, {"name": "the runner's"} | more).json()
    script = Api(owner.user, scopes=("upload",))

    for reply in (
        script.post(f"{GRANTS}/{made['id']}/renew"),
        script.patch(f"{GRANTS}/{made['id']}", {"password": "mine now"}),
    ):
        assert_problem(reply, 403, "scope_missing")

    assert begin(made["token"]).status_code == 201
    assert script.delete(f"{GRANTS}/{made['id']}").status_code == 204


def test_a_token_without_the_scope_for_workflows_makes_no_link_that_starts_one():
    slug = make_workflow().slug
    assert_problem(
        Api(scopes=("upload",)).post(GRANTS, {"name": "x", "workflow": slug}), 403, "scope_missing"
    )
    assert_problem(Api().post(GRANTS, {"name": "x", "workflow": "none"}), 404, "workflow_not_found")
