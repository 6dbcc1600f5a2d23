"""POST /api/v1/uploads/sessions/{id}/finalize"""

import pytest

from uploads.models import FileStatus, IngestFile, UploadSession
from uploads.tests.factories import (
    assert_problem,
    events,
    on_disk,
    sha256,
    some_bytes,
    stored_bytes,
)

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
    b"\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\x9cc\xf8\xff\xff?\x00\x05\xfe\x02\xfe"
)


def test_a_finalized_file_is_stored_and_announced(api):
    data = b"Dear reader, this is text.\n"
    session = api.session_of(data, content_type="application/pdf", relative_path="a/report.bin")
    api.put_all(session, data)
    reply = api.finalize(session["session_id"])
    assert reply.status_code == 200
    file = reply.json()
    assert file == api.get(f"/api/v1/files/{session['file_id']}").json()
    assert {name: file[name] for name in ("id", "status", "size_bytes", "sha256", "error")} == {
        "id": session["file_id"],
        "status": "stored",
        "size_bytes": len(data),
        "sha256": sha256(data),
        "error": None,
    }
    assert (file["content_type"], file["detected_type"]) == ("application/pdf", "text/plain")
    assert file["stored_at"] < file["expires_at"]
    row = IngestFile.objects.get()
    assert stored_bytes(row) == data
    assert on_disk() == {f"files/{row.storage_key}"}
    (event,) = events()
    assert event.event_type == "file.uploaded"
    assert event.payload["file"]["sha256"] == sha256(data)
    assert event.payload["actor"] == api.as_actor()


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 19, 20, 21])
def test_a_file_of_any_size_arrives_whole(api, size):
    data = some_bytes(size)
    file = api.upload(data, chunk=10)
    assert (file["size_bytes"], file["sha256"]) == (size, sha256(data))
    assert stored_bytes(IngestFile.objects.get()) == data


def test_an_empty_file_needs_no_part(api):
    session = api.session_of(b"")
    file = api.finalize(session["session_id"]).json()
    assert file["sha256"] == sha256(b"")
    assert file["detected_type"] == "application/x-empty"


def test_finalizing_again_answers_the_same_and_announces_nothing_more(api):
    session = api.session_of(b"0123456789ABCDE")
    api.put_all(session, b"0123456789ABCDE")
    first = api.finalize(session["session_id"])
    again = api.finalize(session["session_id"])
    assert (again.status_code, again.json()) == (200, first.json())
    assert len(events()) == 1


def test_missing_parts_are_named_as_ranges(api):
    data = some_bytes(100)
    session = api.session_of(data, chunk=10)
    for number in (3, 4, 8):
        api.put_part(session["session_id"], number, data[(number - 1) * 10 : number * 10])
    problem = assert_problem(api.finalize(session["session_id"]), 400, "parts_missing")
    assert problem["missing_parts"] == "1-2,5-7,9-10"
    api.put_all(session, data)
    assert api.finalize(session["session_id"]).json()["sha256"] == sha256(data)


def test_a_declared_sha256_that_agrees_is_accepted(api):
    data = some_bytes(25)
    assert api.upload(data, sha256=sha256(data).upper())["status"] == "stored"


def test_a_declared_sha256_that_differs_fails_the_upload_for_good(api):
    data = some_bytes(25)
    session = api.session_of(data, sha256=sha256(b"other"))
    api.put_all(session, data)
    first = api.finalize(session["session_id"])
    again = api.finalize(session["session_id"])
    problem = assert_problem(first, 422, "sha256_mismatch")
    assert sha256(data) in problem["detail"]
    assert (again.status_code, again.json()) == (422, problem)
    assert_failed(api, session, "sha256_mismatch")


def test_a_type_that_is_not_allowed_fails_the_upload_for_good(api, settings):
    settings.FILE_UPLOAD_ALLOWED_TYPES = ["image/*", "application/pdf"]
    session = api.session_of(b"only text\n", content_type="image/png", filename="cat.png")
    api.put_all(session, b"only text\n")
    first = api.finalize(session["session_id"])
    again = api.finalize(session["session_id"])
    problem = assert_problem(first, 415, "type_not_allowed")
    assert "text/plain" in problem["detail"]
    assert (again.status_code, again.json()) == (415, problem)
    assert_failed(api, session, "type_not_allowed")


def test_the_bytes_decide_whether_a_type_is_allowed(api, settings):
    settings.FILE_UPLOAD_ALLOWED_TYPES = ["IMAGE/*"]
    file = api.upload(PNG, content_type="text/html", filename="page.png")
    assert (file["detected_type"], file["content_type"]) == ("image/png", "text/html")


def test_nothing_can_be_stored_as_empty_where_empty_is_not_allowed(api, settings):
    settings.FILE_UPLOAD_ALLOWED_TYPES = ["image/*"]
    session = api.session_of(b"")
    assert_problem(api.finalize(session["session_id"]), 415, "type_not_allowed")


def test_an_aborted_session_cannot_be_finalized(api):
    session = api.session_of(b"0123456789ABCDE")
    api.put_all(session, b"0123456789ABCDE")
    api.abort(session["session_id"])
    assert_problem(api.finalize(session["session_id"]), 410, "session_aborted")
    assert [event.event_type for event in events()] == ["file.failed"]


def test_a_finalized_file_can_be_asked_for_after_it_was_deleted(api):
    session = api.session_of(b"0123456789ABCDE")
    api.put_all(session, b"0123456789ABCDE")
    api.finalize(session["session_id"])
    api.delete(f"/api/v1/files/{session['file_id']}")
    reply = api.finalize(session["session_id"])
    assert (reply.status_code, reply.json()["status"]) == (200, "deleted")


def test_another_users_session_does_not_exist(api, other):
    session = api.session_of(b"")
    assert_problem(other.finalize(session["session_id"]), 404, "session_not_found")
    assert UploadSession.objects.get().status == "init"


def assert_failed(api, session, code: str) -> None:
    file = IngestFile.objects.get()
    assert (file.status, file.error_code) == (FileStatus.FAILED, code)
    assert (file.sha256, file.storage_key) == ("", "")
    assert on_disk() == set()
    (event,) = events()
    assert event.event_type == "file.failed"
    assert event.payload["error"]["code"] == code
    state = api.get_session(session["session_id"]).json()
    assert (state["status"], state["error"]["code"]) == ("failed", code)
