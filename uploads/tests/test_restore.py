"""A consumption is undone; what waits or is gone does not stay for ever."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from accounts.models import User
from accounts.principals import PORTAL
from accounts.tests.factories import make_user, principal_of
from common.errors import Gone
from common.tests.threads import at_once
from uploads import tasks
from uploads.files import lifecycle, retention, states
from uploads.files.usage import recount, usage_of
from uploads.models import FileStatus, IngestFile, RunStatus, UploadSession
from uploads.tests.factories import (
    Api,
    assert_problem,
    events,
    make_consumed,
    make_session,
    make_stored,
    on_disk,
    stored_bytes,
)
from uploads.tests.workflow_factories import make_completed, make_run, make_running

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_kicks", "no_run_kicks")]


@pytest.fixture
def staff(db) -> Api:
    """Somebody who may change files."""
    user = make_user()
    User.objects.filter(id=user.id).update(is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="change_ingestfile"))
    return Api(user)


def restore(api: Api, file: IngestFile):
    return api.post(f"/api/v1/files/{file.id}/restore")


def test_staff_undo_a_consumption_and_the_file_can_be_consumed_again(staff):
    consumed = make_consumed()
    file = consumed.file

    reply = restore(staff, file)

    assert (reply.status_code, reply.json()["status"]) == (200, "stored")
    file.refresh_from_db()
    assert (file.purge_at, file.processed_at) == (None, None)
    assert retention.purge_files() == 0
    assert stored_bytes(file)
    assert usage_of(file.uploaded_by_id) == recount(file.uploaded_by_id)
    assert [each.payload["actor"]["kind"] for each in events("file.restored")] == ["token"]
    link = "/c/" + consumed.claim_url.rsplit("/", 1)[1]
    assert_problem(staff.get(link), 410, "file_purged")

    lifecycle.consume_file(principal=principal_of(file.uploaded_by), file_id=file.id)
    assert len(events("file.processed")) == 2
    assert restore(staff, file).status_code == 200
    assert len(events("file.restored")) == 2


def test_an_expired_file_is_kept_as_long_as_a_new_one(staff, settings):
    file = make_consumed().file
    IngestFile.objects.filter(id=file.id).update(expires_at=timezone.now() - timedelta(days=1))
    restore(staff, file)
    file.refresh_from_db()
    kept = file.expires_at - timezone.now()
    assert abs(kept - timedelta(hours=settings.FILE_UPLOAD_TTL_HOURS)) < timedelta(minutes=5)


def test_only_what_is_consumed_and_there_is_restored(staff):
    assert_problem(restore(staff, make_stored()), 409, "not_consumed")
    late = make_consumed().file
    IngestFile.objects.filter(id=late.id).update(purge_at=timezone.now())
    assert_problem(restore(staff, late), 410, "file_purged")
    late.id = make_session().id
    assert_problem(restore(staff, late), 404, "file_not_found")
    owner = make_consumed().file
    assert_problem(restore(Api(owner.uploaded_by), owner), 403, "permission_missing")


@pytest.mark.django_db(transaction=True)
def test_two_who_restore_at_once_do_it_once():
    file = make_consumed().file
    done = at_once([lambda: states.give_back(file.id, actor=PORTAL)] * 4)
    assert sum(each is not None for each in done) == 1
    assert len(events("file.restored")) == 1


def test_a_run_that_waits_does_not_keep_its_file_for_ever(settings):
    waits, works, young = make_run(), make_running(), make_run()
    hours = settings.PORTAL_WAIT_PAST_EXPIRY_HOURS
    for run, past in ((waits, hours + 1), (works, hours + 1), (young, hours - 1)):
        expiry = timezone.now() - timedelta(hours=past)
        IngestFile.objects.filter(id=run.file_id).update(expires_at=expiry)

    tasks.sweep_runs()
    tasks.expire_files()

    for run, status in (
        (waits, RunStatus.FAILED),
        (works, RunStatus.RUNNING),
        (young, RunStatus.PENDING),
    ):
        run.refresh_from_db()
        assert run.status == status
    assert waits.error_code == "waited_too_long"
    (failed,) = events("workflow_run.failed")
    assert failed.aggregate_id == waits.id
    waits.file.refresh_from_db()
    young.file.refresh_from_db()
    assert (waits.file.status, young.file.status) == (FileStatus.DELETED, FileStatus.STORED)


def test_records_of_what_is_gone_are_deleted_after_their_time(settings):
    long_ago = timezone.now() - timedelta(days=settings.PORTAL_TOMBSTONE_DAYS + 1)
    deleted, consumed, unpurged = make_stored(), make_consumed().file, make_consumed().file
    stored, recent, with_run = make_stored(), make_stored(), make_completed().file
    aborted = make_session()
    lifecycle.delete_file(principal=principal_of(aborted.created_by), file_id=aborted.file_id)
    for file in (deleted, recent, with_run):
        lifecycle.remove_file(file_id=file.id, actor=PORTAL)
    IngestFile.objects.filter(id=consumed.id).update(purge_at=timezone.now())
    retention.purge_files()
    IngestFile.objects.exclude(id=recent.id).update(updated_at=long_ago)
    before = on_disk()

    assert tasks.purge_tombstones() == 3

    left = set(IngestFile.objects.values_list("id", flat=True))
    assert left == {unpurged.id, stored.id, recent.id, with_run.id}
    assert not UploadSession.objects.filter(id=aborted.id).exists()
    assert on_disk() == before
    with pytest.raises(Gone):
        stored_bytes(deleted)
