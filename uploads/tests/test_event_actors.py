"""Events say whose file or batch it is, and who did this."""

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.tests.factories import make_user, principal_of
from common.outbox import schemas as event_schemas
from uploads.files import batches, retention
from uploads.files.lifecycle import delete_file
from uploads.models import IngestFile, UploadGrant
from uploads.receiving import abandoned
from uploads.tests.factories import (
    FILES,
    Api,
    Guest,
    assert_problem,
    events,
    make_session,
    make_stored,
)
from uploads.tests.workflow_factories import make_completed

pytestmark = pytest.mark.django_db(transaction=True)

PORTAL = {"kind": "system", "id": None, "label": "the portal"}


def actor(event_type: str) -> dict:
    """Of the latest event of a type."""
    return events(event_type)[-1].payload["actor"]


def of(user) -> dict:
    return {"user_id": str(user.id), "email": user.email}


def test_somebody_logged_in():
    file = make_stored()
    user = file.uploaded_by

    delete_file(principal=principal_of(user), file_id=file.id)

    somebody = of(user) | {"kind": "user", "id": str(user.id), "label": user.email}
    assert actor("file.uploaded") == actor("file.deleted") == somebody


def test_a_script(api):
    file = api.upload()
    api.post(f"{FILES}/{file['id']}/consume")
    api.abort(api.session_of(b"0123456789")["session_id"])

    assert actor("file.uploaded") == actor("file.processed") == actor("file.failed")
    assert actor("file.failed") == api.as_actor()
    assert actor("file.failed")["kind"] == "token"


def test_a_guest_acts_for_the_owner():
    guest = Guest(scopes=tuple(UploadGrant.SCOPES), name="the suppliers")
    guest.upload(b"0123456789")
    file = guest.post_raw(b"hello", filename="a.txt").json()
    assert actor("file.uploaded") == guest.as_actor()

    guest.delete(f"{FILES}/{file['id']}")
    wrong = guest.session_of(b"0123456789", sha256="0" * 64)
    guest.put_all(wrong, b"0123456789")
    assert_problem(guest.finalize(wrong["session_id"]), 422, "sha256_mismatch")

    assert actor("file.deleted") == actor("file.failed") == guest.as_actor()
    assert guest.as_actor() == of(guest.user) | {
        "kind": "grant",
        "id": str(guest.grant.id),
        "label": "the suppliers",
    }


def test_who_processes_the_files_of_others_is_named_beside_their_owner():
    file = make_stored()
    runner = Api(make_user(is_staff=True))

    assert runner.post(f"{FILES}/{file.id}/consume").status_code == 200

    assert actor("file.processed") == runner.as_actor() | of(file.uploaded_by)


def test_an_administrator():
    admin = make_user(is_staff=True)
    client = Client()
    client.force_login(admin)
    files = [make_stored(), make_session().file]
    chosen = {"action": "delete_selected", "_selected_action": [str(file.pk) for file in files]}

    client.post("/admin/uploads/ingestfile/", chosen | {"post": "yes"})

    administrator = {"kind": "staff", "id": str(admin.id), "label": admin.email}
    assert actor("file.deleted") == of(files[0].uploaded_by) | administrator
    assert actor("file.failed") == of(files[1].uploaded_by) | administrator


def test_what_happens_by_itself(settings):
    file, idle = make_stored(), make_session()
    soon = timezone.now() + timedelta(minutes=5)
    IngestFile.objects.filter(id=file.id).update(expires_at=soon)
    retention.notify_expiring_files()
    IngestFile.objects.filter(id=file.id).update(expires_at=timezone.now())
    retention.expire_files()
    settings.PORTAL_SESSION_TTL_HOURS = 0
    abandoned.abort_idle_sessions()

    assert actor("file.expiring") == actor("file.deleted") == of(file.uploaded_by) | PORTAL
    assert actor("file.failed") == of(idle.created_by) | PORTAL


@pytest.mark.usefixtures("no_run_kicks")
def test_a_workflow_works_by_itself():
    run = make_completed()

    assert actor("workflow_run.completed") == of(run.owner) | PORTAL


def test_a_batch_is_completed_by_whoever_closes_it():
    user = make_user()
    batch = batches.create_batch(principal=principal_of(user))
    Guest(user, batch_id=batch.id).upload()
    owner = Api(user)

    owner.close_batch(str(batch.id))

    assert actor("batch.completed") == owner.as_actor()


def test_a_batch_is_completed_by_whoever_sends_its_last_file():
    user = make_user()
    batch = batches.create_batch(principal=principal_of(user))
    guest = Guest(user, batch_id=batch.id)
    session = guest.session_of(b"0123456789")
    batches.close_batch(principal=principal_of(user), batch_id=batch.id)

    guest.put_all(session, b"0123456789")
    assert guest.finalize(session["session_id"]).status_code == 200

    assert actor("batch.completed") == guest.as_actor()


@pytest.mark.parametrize("event_type", ["file.uploaded", "batch.completed"])
def test_events_of_earlier_versions_are_still_valid(event_type, event_validator):
    """They are sent again as they were written: with the owner alone."""
    event = json.loads(json.dumps(event_schemas.example(event_type)))
    event["data"]["actor"] = {"user_id": None, "email": None}

    event_validator(event_type).validate(event)
