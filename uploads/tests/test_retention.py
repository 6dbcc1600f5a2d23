"""What leaves, and that a kill between any two steps leaks nothing."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from accounts.principals import PORTAL
from accounts.tests.factories import make_user, principal_of
from common.errors import Gone
from common.ids import uuid7
from uploads import selectors, tasks
from uploads.files import batches, lifecycle, retention
from uploads.models import (
    FileStatus,
    IngestFile,
    SessionStatus,
    UploadBatch,
    UploadPart,
    UploadSession,
)
from uploads.receiving import abandoned, finalizing, sessions
from uploads.storage import handle_of, named, object_of, storage_for
from uploads.storage.local import LocalObjects, LocalUploads
from uploads.tests.factories import (
    events,
    finish,
    held,
    make_consumed,
    make_expired,
    make_session,
    make_stored,
    on_disk,
    send_part,
    send_parts,
)
from uploads.tests.test_storage_contract import making_local, other_process

pytestmark = pytest.mark.django_db
DATA = b"0123456789ABCDE"


def expire_at(file: IngestFile, moment) -> None:
    IngestFile.objects.filter(id=file.id).update(expires_at=moment)


def make_idle(session: UploadSession, settings) -> None:
    hours = settings.PORTAL_SESSION_TTL_HOURS + 1
    UploadSession.objects.filter(id=session.id).update(
        last_activity_at=timezone.now() - timedelta(hours=hours)
    )


def make_old(session: UploadSession) -> None:
    """As if nobody had touched it for an hour: no request of it still runs."""
    UploadSession.objects.filter(id=session.id).update(
        updated_at=timezone.now() - timedelta(hours=1)
    )


# --- Expiring ------------------------------------------------------------------------------------


def test_a_file_lives_for_the_configured_hours(settings):
    settings.FILE_UPLOAD_TTL_HOURS = 7
    file = make_stored()
    assert file.expires_at - file.stored_at == timedelta(hours=7)


def test_a_file_about_to_expire_is_announced_once(settings):
    settings.FILE_UPLOAD_EXPIRY_NOTIFY_HOURS = 2
    file = make_stored()
    expire_at(file, timezone.now() + timedelta(hours=3))
    assert retention.notify_expiring_files() == 0
    expire_at(file, timezone.now() + timedelta(minutes=119))
    assert retention.notify_expiring_files() == 1
    assert retention.notify_expiring_files() == 0
    (event,) = events("file.expiring")
    assert event.payload["file"]["id"] == str(file.id)


def test_an_extended_file_is_announced_again():
    file = make_stored()
    expire_at(file, timezone.now() + timedelta(minutes=5))
    retention.notify_expiring_files()
    lifecycle.extend_file(
        principal=principal_of(file.uploaded_by),
        file_id=file.id,
        expires_at=timezone.now() + timedelta(minutes=30),
    )
    assert retention.notify_expiring_files() == 1
    assert retention.notify_expiring_files() == 0
    assert len(events("file.expiring")) == 2


def test_a_file_that_has_expired_is_not_announced_as_expiring():
    make_expired()
    assert retention.notify_expiring_files() == 0


def test_only_stored_files_are_announced_as_expiring():
    consumed = make_consumed().file
    expire_at(consumed, timezone.now() + timedelta(minutes=5))
    assert retention.notify_expiring_files() == 0


# --- Expired -------------------------------------------------------------------------------------


def test_an_expired_file_leaves_a_tombstone():
    file = make_expired()
    kept = make_stored()
    assert retention.expire_files() == 1
    assert retention.purge_files() == 1
    file.refresh_from_db()
    assert (file.status, file.purged_at is not None) == (FileStatus.DELETED, True)
    assert file.sha256
    assert on_disk() == {f"files/{kept.storage_key}"}
    assert len(events("file.deleted")) == 1
    assert retention.expire_files() == retention.purge_files() == 0


def test_expired_files_leave_in_bounded_batches(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        make_expired()
    assert [retention.expire_files() for _ in range(4)] == [2, 2, 1, 0]
    assert [retention.purge_files() for _ in range(4)] == [2, 2, 1, 0]


def test_a_task_repeats_a_batch_until_nothing_is_left(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        make_expired()
    assert tasks.expire_files() == 5
    assert on_disk() == set()


def test_a_kill_after_the_row_was_marked_leaks_no_bytes():
    make_expired()
    retention.expire_files()
    assert len(on_disk()) == 1
    assert tasks.expire_files() == 0
    assert on_disk() == set()


def test_a_kill_after_the_bytes_went_is_finished_by_the_next_sweep():
    file = make_expired()
    retention.expire_files()
    storage_for(file).objects.delete(object_of(file))
    assert retention.purge_files() == 1
    file.refresh_from_db()
    assert file.purged_at


def test_the_time_of_removal_is_written_once():
    make_expired()
    retention.expire_files()
    retention.purge_files()
    before = IngestFile.objects.get().purged_at
    retention.purge_files()
    assert IngestFile.objects.get().purged_at == before


def test_an_error_with_one_file_does_not_keep_the_others(monkeypatch):
    broken, fine = make_expired(), make_expired()
    delete = LocalObjects.delete

    def fail_for_one(self, stored):
        if stored.key == broken.storage_key:
            raise PermissionError(stored.key)
        delete(self, stored)

    retention.expire_files()
    monkeypatch.setattr(LocalObjects, "delete", fail_for_one)
    retention.purge_files()
    fine.refresh_from_db()
    broken.refresh_from_db()
    assert (fine.purged_at is not None, broken.purged_at) == (True, None)


# --- Idle sessions -------------------------------------------------------------------------------


def test_an_idle_session_is_aborted_and_its_space_is_freed(settings):
    batch = UploadBatch.objects.create()
    session = make_session()
    IngestFile.objects.update(batch=batch)
    UploadBatch.objects.update(total_files=1)
    send_part(session, 1, DATA)
    make_idle(session, settings)
    assert abandoned.abort_idle_sessions() == 1
    session.refresh_from_db()
    assert (session.status, session.error_code) == (SessionStatus.ABORTED, "session_expired")
    assert session.file.status == FileStatus.FAILED
    assert on_disk() == set()
    assert [event.event_type for event in events()] == ["file.failed"]
    assert UploadBatch.objects.get().failed_count == 1
    assert abandoned.abort_idle_sessions() == 0


def test_a_session_with_activity_stays(settings):
    session = make_session()
    UploadSession.objects.update(
        last_activity_at=timezone.now() - timedelta(hours=settings.PORTAL_SESSION_TTL_HOURS - 1)
    )
    assert abandoned.abort_idle_sessions() == 0
    assert session.status == SessionStatus.INIT


@pytest.mark.process
def test_a_session_that_is_receiving_is_never_aborted(settings, tmp_path: Path):
    session = make_session()
    make_idle(session, settings)
    handle = handle_of(session)
    body = f"with storage.locks.writing({handle!r}, offset=10, size_bytes=5):"
    with other_process(making_local(tmp_path), body):
        assert abandoned.abort_idle_sessions() == 0
    session.refresh_from_db()
    assert session.status == SessionStatus.INIT
    assert abandoned.abort_idle_sessions() == 0  # what is receiving counts as activity
    send_parts(session, DATA)
    finalizing.finalize_session(principal=principal_of(session.created_by), session_id=session.id)


@pytest.mark.process
def test_a_session_that_is_being_finalized_is_never_aborted(settings, tmp_path: Path):
    session = make_session()
    send_parts(session, DATA)
    make_idle(session, settings)
    handle = handle_of(session)
    body = f"with storage.locks.exclusive({handle!r}):"
    with other_process(making_local(tmp_path), body):
        assert abandoned.abort_idle_sessions() == 0


def test_a_session_whose_bytes_are_missing_is_aborted_like_any_other(settings):
    session = make_session()
    storage_for(session).uploads.discard(handle_of(session))
    make_idle(session, settings)
    assert abandoned.abort_idle_sessions() == 1


def test_sessions_are_aborted_in_bounded_batches(settings, monkeypatch):
    monkeypatch.setattr(abandoned, "BATCH", 2)
    for _ in range(3):
        make_idle(make_session(), settings)
    assert [abandoned.abort_idle_sessions() for _ in range(3)] == [2, 1, 0]


def test_sessions_that_receive_do_not_keep_idle_ones_from_being_aborted(settings, monkeypatch):
    """The batch is full of the former: a later round gets to the latter."""
    monkeypatch.setattr(abandoned, "BATCH", 1)
    busy, idle = make_session(), make_session()
    make_idle(idle, settings)
    UploadSession.objects.filter(id=busy.id).update(
        last_activity_at=timezone.now() - timedelta(days=99)
    )
    with held(busy, offset=0, size_bytes=10):
        abandoned.abort_idle_sessions()
        abandoned.abort_idle_sessions()
    idle.refresh_from_db()
    busy.refresh_from_db()
    assert (busy.status, idle.status) == (SessionStatus.INIT, SessionStatus.ABORTED)


# --- What kills leave ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [SessionStatus.ABORTED, SessionStatus.FAILED])
def test_a_kill_between_the_end_of_a_session_and_its_bytes_leaks_nothing(monkeypatch, status):
    session = make_session()
    monkeypatch.setattr(sessions, "remove_spool", lambda _: None)
    sessions.end_session(session, status=status, error=Gone("x", "Ended."), actor=PORTAL)
    assert len(on_disk()) == 1
    assert abandoned.remove_leftover_spools() == 0  # the request may still run
    make_old(session)
    assert abandoned.remove_leftover_spools() == 1
    assert on_disk() == set()
    assert abandoned.remove_leftover_spools() == 0


def test_a_kill_between_the_bytes_and_the_row_of_an_ended_session_is_finished():
    session = make_session()
    sessions.abort_session(principal=principal_of(session.created_by), session_id=session.id)
    UploadSession.objects.update(spool_removed_at=None)
    make_old(session)
    assert abandoned.remove_leftover_spools() == 1
    assert UploadSession.objects.get().spool_removed_at


def test_a_kill_between_rename_and_row_is_finished_by_the_next_finalize():
    session = make_session()
    send_parts(session, DATA)
    finish(session, 15)
    file = finalizing.finalize_session(
        principal=principal_of(session.created_by), session_id=session.id
    )
    assert file.status == FileStatus.STORED
    assert on_disk() == {f"files/{file.storage_key}"}
    assert len(events("file.uploaded")) == 1


def test_a_kill_between_rename_and_row_that_nobody_finishes_is_swept(settings):
    session = make_session()
    send_parts(session, DATA)
    finish(session, 15)
    make_idle(session, settings)
    assert abandoned.abort_idle_sessions() == 1
    assert on_disk() == set()


def test_a_kill_between_bytes_and_row_of_a_creation_leaves_an_orphan_that_is_swept(tmp_path):
    orphan, owned = "0" * 30 + "ab", make_session()
    named("local").uploads.create(orphan, size_bytes=5)
    assert abandoned.remove_orphan_spools() == 0  # its row may be about to come
    for key in (orphan, owned.spool_key):
        os.utime(tmp_path / "spool" / key[-2:] / key, (0, 0))
    assert abandoned.remove_orphan_spools() == 1
    assert on_disk() == {f"spool/{owned.spool_key}"}


def test_orphans_are_swept_in_batches(monkeypatch, tmp_path):
    monkeypatch.setattr(abandoned, "BATCH", 2)
    for number in range(5):
        key = f"{number:032x}"
        named("local").uploads.create(key, size_bytes=1)
        os.utime(tmp_path / "spool" / key[-2:] / key, (0, 0))
    assert tasks.clean_up_uploads() == 5
    assert on_disk() == set()


def test_the_sweeps_never_touch_what_is_stored(settings):
    file = make_stored()
    session = file.session
    make_old(session)
    make_idle(session, settings)
    for task in (
        tasks.notify_expiring_files,
        tasks.expire_files,
        tasks.abort_idle_sessions,
        tasks.clean_up_uploads,
    ):
        assert task() == 0
    assert on_disk() == {f"files/{file.storage_key}"}


def test_one_spool_that_cannot_be_removed_does_not_keep_the_others(monkeypatch, caplog):
    ended = [make_session() for _ in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(sessions, "remove_spool", lambda _: None)
        for session in ended:
            sessions.end_session(
                session, status=SessionStatus.ABORTED, error=Gone("x", "Ended."), actor=PORTAL
            )
            make_old(session)
    with monkeypatch.context() as patch:
        refuse(patch, LocalUploads, "discard", {ended[0].spool_key})
        assert abandoned.remove_leftover_spools() == 2
    assert on_disk() == {f"spool/{ended[0].spool_key}"}
    assert "cannot be removed" in caplog.text
    make_old(ended[0])
    assert abandoned.remove_leftover_spools() == 1


def test_files_that_cannot_be_removed_do_not_keep_the_others(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    stored = [make_stored() for _ in range(5)]
    for file in stored:
        lifecycle.delete_file(principal=principal_of(file.uploaded_by), file_id=file.id)
    stuck = {file.storage_key for file in stored[:3]}
    refuse(monkeypatch, LocalObjects, "delete", stuck)
    while retention.purge_files():
        pass
    assert on_disk() == {f"files/{key}" for key in stuck}


def test_orphans_that_cannot_be_removed_do_not_keep_the_others(monkeypatch, tmp_path):
    keys = [uuid7().hex for _ in range(3)]
    for key in keys:
        named("local").uploads.create(key, size_bytes=1)
    for path in (tmp_path / "spool").glob("??/*"):
        os.utime(path, (0, 0))
    refuse(monkeypatch, LocalUploads, "discard", {keys[0]})
    assert abandoned.remove_orphan_spools() == 2
    assert on_disk() == {f"spool/{keys[0]}"}


def test_the_parts_of_ended_sessions_go_and_those_of_open_ones_stay():
    done, given_up, busy = make_session(DATA), make_session(DATA), make_session(DATA)
    for session in (done, given_up, busy):
        send_parts(session, DATA)
    finalizing.finalize_session(principal=principal_of(done.created_by), session_id=done.id)
    sessions.abort_session(principal=principal_of(given_up.created_by), session_id=given_up.id)
    assert abandoned.purge_parts() == 0  # whoever asks right afterwards sees them
    for session in (done, given_up, busy):
        make_old(session)
    assert [abandoned.purge_parts(), abandoned.purge_parts()] == [2, 0]
    assert set(UploadPart.objects.values_list("session_id", flat=True)) == {busy.id}
    done.refresh_from_db()
    assert selectors.received_ranges(done) == "1-2"


def refuse(patch, kind: type, method: str, keys: set[str]) -> None:
    """Let a method of the local store fail for these uploads or objects."""
    original = getattr(kind, method)

    def refusing(self, subject) -> None:
        if subject.key in keys:
            raise OSError("no")
        original(self, subject)

    patch.setattr(kind, method, refusing)


# --- Batches that were left open -----------------------------------------------------------------


def make_idle_batch(batch: UploadBatch, settings) -> None:
    hours = settings.PORTAL_BATCH_IDLE_HOURS + 1
    UploadBatch.objects.filter(id=batch.id).update(
        updated_at=timezone.now() - timedelta(hours=hours)
    )


def test_an_idle_batch_is_closed_and_announced(settings):
    batch = UploadBatch.objects.create(created_by=make_user(), expected_files=2)
    make_stored(DATA, user=batch.created_by, batch_id=batch.id)
    assert retention.close_idle_batches() == 0
    make_idle_batch(batch, settings)
    assert tasks.close_idle_batches() == 1
    batch.refresh_from_db()
    assert (batch.status, batch.total_files, batch.failed_count) == ("partial", 2, 1)
    assert batch.closed_at is not None
    assert len(events("batch.completed")) == 1
    assert retention.close_idle_batches() == 0


def test_a_batch_with_a_file_under_way_is_not_idle(settings):
    batch = UploadBatch.objects.create(created_by=make_user())
    session = make_session(user=batch.created_by, batch_id=batch.id)
    make_idle_batch(batch, settings)
    assert retention.close_idle_batches() == 0
    sessions.abort_session(principal=principal_of(batch.created_by), session_id=session.id)
    assert retention.close_idle_batches() == 0  # that was activity
    make_idle_batch(batch, settings)
    assert retention.close_idle_batches() == 1


def test_a_file_that_joins_just_before_the_sweep_keeps_the_batch_open(settings):
    batch = UploadBatch.objects.create(created_by=make_user())
    make_idle_batch(batch, settings)
    listed = [row.id for row in batches.idle_batches()]
    batches.add_file(owner_id=batch.created_by_id, batch_id=batch.id)
    assert [batches.close_if_idle(batch_id) for batch_id in listed] == [False]
    batch.refresh_from_db()
    assert batch.closed_at is None


def test_idle_batches_are_closed_some_at_a_time(settings, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(3):
        make_idle_batch(UploadBatch.objects.create(created_by=make_user()), settings)
    assert [retention.close_idle_batches() for _ in range(3)] == [2, 1, 0]
