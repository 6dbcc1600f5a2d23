"""The audit trail: who did what is told once, and never changed."""

import uuid
from datetime import timedelta

import pytest
from click.testing import CliRunner
from django.contrib.auth.models import Permission
from django.db import DatabaseError, transaction
from django.test import Client

from accounts import services
from accounts.cli import token as token_command
from accounts.models import User
from accounts.tests.factories import make_token, make_user
from common import audit
from common.audit import Acting
from common.ids import first_id
from common.models import AuditEntry, WebhookEndpoint
from uploads.models import IngestFile
from uploads.tests.factories import Api, make_consumed, make_grant, make_stored

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quiet(settings, tmp_path, monkeypatch) -> None:
    settings.DOORITO_DATA_DIR = tmp_path
    settings.PORTAL_CHUNK_SIZE_MIN = 1


def told() -> list[tuple[str, str]]:
    return list(AuditEntry.objects.order_by("id").values_list("actor_label", "action"))


def forget_setup() -> int:
    """How many entries there are of what the test prepared."""
    return AuditEntry.objects.count()


def test_what_is_done_over_the_api_is_told_with_who_and_from_where():
    api = Api(make_user(is_staff=True))
    before = forget_setup()
    made = api.post("/api/v1/webhooks", {"url": "https://93.184.215.14/a", "description": "mine"})
    assert made.status_code == 201, made.content
    path = f"/api/v1/webhooks/{made.json()['id']}"
    api.post(f"{path}/disable")
    api.post(f"{path}/rotate-secret")
    api.delete(path)

    entries = AuditEntry.objects.order_by("id")[before:]
    assert [each.action for each in entries] == [
        "webhook.created",
        "webhook.disabled",
        "webhook.secret_rotated",
        "webhook.removed",
    ]
    first = entries[0]
    actor = api.principal.actor
    assert (first.actor_kind, first.actor_id, first.actor_label) == ("token", actor.id, actor.label)
    assert (first.address, first.subject_label) == ("127.0.0.1", "mine")
    assert {each.subject_id for each in entries} == {made.json()["id"]}


def test_accounts_tokens_and_grants_are_told():
    user = make_user()
    token, text = make_token(user=user)
    services.revoke_token(user=user, token_id=token.id)
    services.revoke_token(user=user, token_id=token.id)
    _, grant_text = make_grant(user=user)
    services.disable_user(user)
    services.enable_user(user)
    services.delete_user(user_id=user.id)
    assert [action for _, action in told()] == [
        "user.created",
        "token.created",
        "token.revoked",
        "grant.created",
        "user.disabled",
        "user.enabled",
        "user.deleted",
    ]
    assert {who for who, _ in told()} == {"the portal"}
    written = str(list(AuditEntry.objects.values()))
    assert text not in written
    assert grant_text not in written


def test_what_is_done_in_the_admin_and_to_files_of_others_is_told():
    admin = make_user(is_staff=True)
    client = Client()
    client.force_login(admin)
    file, consumed = make_stored(), make_consumed().file
    before = forget_setup()
    chosen = {"action": "restore_selected", "_selected_action": str(consumed.id)}
    client.post("/admin/uploads/ingestfile/", chosen)
    client.post(f"/admin/uploads/ingestfile/{file.id}/delete/".replace("_", "_5F"), {"post": "yes"})
    client.post("/admin/auth/group/add/", {"name": "readers"})

    assert sorted(told()[before:]) == [
        (admin.email, "file.removed"),
        (admin.email, "file.restored"),
        (admin.email, "group.added"),
        (admin.email, "ingestfile.deleted"),
    ]


def test_taking_the_file_of_another_is_told_and_ones_own_is_not():
    reader = make_user()
    User.objects.filter(id=reader.id).update(is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="access_all_files"))
    theirs, api = make_stored(), Api(reader)
    own = make_stored(user=reader)
    before = forget_setup()
    for file in (own, theirs):
        assert api.post(f"/api/v1/files/{file.id}/consume").status_code == 200
    (entry,) = AuditEntry.objects.order_by("id")[before:]
    assert (entry.action, entry.subject_id) == ("file.consumed", str(theirs.id))


def test_the_database_refuses_to_change_the_trail():
    make_user()
    for change in (
        lambda: AuditEntry.objects.update(actor_label="somebody else"),
        lambda: AuditEntry.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    assert told() == [("the portal", "user.created")]


def test_the_trail_is_as_long_as_it_is_kept(settings):
    make_user()
    entry = AuditEntry.objects.get()
    past = entry.created_at - timedelta(days=settings.PORTAL_AUDIT_DAYS + 1)
    old = uuid.UUID(int=first_id(past).int | 1)
    AuditEntry.objects.create(id=old, actor_label="x", action="x")
    assert (audit.purge(10), audit.purge(10)) == (1, 0)
    assert AuditEntry.objects.get() == entry
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.all().delete()


def test_what_fails_is_not_told():
    with pytest.raises(RuntimeError), transaction.atomic():
        make_user()
        raise RuntimeError
    assert told() == []


def test_a_command_is_told_as_somebody_at_the_shell():
    who = Acting("staff", None, "an administrator at the shell")
    user = make_user()
    with audit.acting(lambda: who):
        arguments = ["create", "--email", user.email, "--name", "a script"]
        assert CliRunner().invoke(token_command, arguments).exit_code == 0
    assert told()[-1] == (who.label, "token.created")
    assert not WebhookEndpoint.objects.exists()
    assert not IngestFile.objects.exists()
