"""DELETE /api/v1/uploads/sessions/{id}"""

from uploads.models import IngestFile, UploadBatch, UploadSession
from uploads.tests.factories import SESSIONS, assert_problem, events, on_disk, stored_bytes


def test_an_aborted_upload_frees_its_space_at_once(api):
    session = api.session_of(b"0123456789ABCDE")
    api.put_part(session["session_id"], 1, b"0123456789")
    reply = api.abort(session["session_id"])
    assert (reply.status_code, reply.content) == (204, b"")
    assert on_disk() == set()
    row = UploadSession.objects.get()
    assert (row.status, row.spool_removed_at is not None) == ("aborted", True)
    assert (row.file.status, row.file.error_code) == ("failed", "aborted")
    assert [event.event_type for event in events()] == ["file.failed"]


def test_aborting_again_is_harmless(api):
    session = api.create_session().json()
    assert api.abort(session["session_id"]).status_code == 204
    assert api.abort(session["session_id"]).status_code == 204
    assert len(events()) == 1


def test_a_failed_session_can_be_aborted_and_keeps_its_reason(api):
    session = api.session_of(b"", sha256="0" * 64)
    api.finalize(session["session_id"])
    assert api.abort(session["session_id"]).status_code == 204
    assert_problem(api.finalize(session["session_id"]), 422, "sha256_mismatch")


def test_a_complete_session_cannot_be_aborted(api):
    data = b"0123456789ABCDE"
    session = api.session_of(data)
    api.put_all(session, data)
    api.finalize(session["session_id"])
    assert_problem(api.abort(session["session_id"]), 409, "session_complete")
    assert stored_bytes(IngestFile.objects.get()) == data


def test_an_aborted_file_counts_as_failed_in_its_batch(api):
    batch = api.create_batch()
    session = api.create_session(batch_id=batch["id"]).json()
    api.abort(session["session_id"])
    api.abort(session["session_id"])
    row = UploadBatch.objects.get()
    assert (row.total_files, row.stored_count, row.failed_count) == (1, 0, 1)


def test_another_users_session_does_not_exist(api, other):
    session = api.create_session().json()
    assert_problem(other.abort(session["session_id"]), 404, "session_not_found")
    assert UploadSession.objects.get().status == "init"
    assert len(on_disk()) == 1


def test_the_upload_can_be_begun_anew_with_the_same_idempotency_key(api):
    first = api.create_session(idempotency_key="k").json()
    api.abort(first["session_id"])
    again = api.create_session(idempotency_key="k")
    assert again.status_code == 201
    assert again.json()["session_id"] != first["session_id"]


def test_a_replaced_upload_is_forgotten_by_its_batch(api):
    batch = api.create_batch()
    first = api.create_session(batch_id=batch["id"]).json()
    reply = api.delete(f"{SESSIONS}/{first['session_id']}?replaced=true")
    assert reply.status_code == 204
    assert IngestFile.objects.get().status == "failed"
    api.upload(b"again", batch_id=batch["id"])
    api.delete(f"{SESSIONS}/{first['session_id']}?replaced=true")
    api.close_batch(batch["id"])
    row = UploadBatch.objects.get()
    assert (row.status, row.total_files, row.failed_count) == ("complete", 1, 0)


def test_a_replaced_upload_of_a_closed_batch_lets_it_complete(api):
    batch = api.create_batch()
    api.upload(b"one", batch_id=batch["id"])
    session = api.create_session(batch_id=batch["id"]).json()
    api.close_batch(batch["id"])
    api.delete(f"{SESSIONS}/{session['session_id']}?replaced=true")
    row = UploadBatch.objects.get()
    assert (row.status, row.total_files) == ("complete", 1)
    assert len(events("batch.completed")) == 1


def test_a_stored_file_is_not_replaced_and_stays_in_its_batch(api):
    batch = api.create_batch()
    session = api.session_of(b"", batch_id=batch["id"])
    api.finalize(session["session_id"])
    reply = api.delete(f"{SESSIONS}/{session['session_id']}?replaced=true")
    assert_problem(reply, 409, "session_complete")
    assert IngestFile.objects.get().batch_id is not None
    assert UploadBatch.objects.get().total_files == 1
