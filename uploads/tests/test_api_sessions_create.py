"""POST /api/v1/uploads/sessions"""

import io
import json

import pytest
from django.db import OperationalError
from django.db.backends.postgresql.base import DatabaseWrapper

from uploads.models import IngestFile, UploadBatch, UploadSession
from uploads.tests.factories import SESSIONS, Api, assert_problem, events, on_disk

KIB = 1024


def test_a_new_session_says_what_to_send(api):
    reply = api.create_session(
        filename="Bericht.pdf",
        size_bytes=2500,
        content_type="Application/PDF; version=1.7",
        relative_path="2026/März/Bericht.pdf",
        metadata={"project": "π", "page": 3},
    )
    assert reply.status_code == 201
    session = reply.json()
    file = IngestFile.objects.get(id=session["file_id"])
    assert session == {
        "session_id": str(UploadSession.objects.get().id),
        "file_id": str(file.id),
        "batch_id": None,
        "filename": "Bericht.pdf",
        "relative_path": "2026/März/Bericht.pdf",
        "status": "init",
        "finalizing": None,
        "checking": None,
        "transfer": "portal",
        "door": "api",
        "size_bytes": 2500,
        "chunk_size_bytes": 1024,
        "total_parts": 3,
        "received_parts": "",
        "received_parts_count": 0,
        "received_bytes": 0,
        "created_at": session["created_at"],
        "expires_at": session["expires_at"],
        "error": None,
    }
    assert session["created_at"] < session["expires_at"]
    assert (file.content_type, file.metadata, file.status) == (
        "application/pdf",
        {"project": "π", "page": 3},
        "uploading",
    )
    assert on_disk() == {f"spool/{file.id.hex}"}
    assert events() == []


@pytest.mark.parametrize(
    ("size", "parts"),
    [(0, 0), (1, 1), (KIB - 1, 1), (KIB, 1), (KIB + 1, 2), (2 * KIB, 2), (10_000 * KIB, 10_000)],
)
def test_the_number_of_parts_follows_from_the_size(api, size, parts):
    session = api.create_session(size_bytes=size).json()
    assert (session["total_parts"], session["chunk_size_bytes"]) == (parts, KIB)


def test_the_parts_of_a_large_file_grow_so_that_ten_thousand_suffice(api):
    session = api.create_session(size_bytes=10_000 * KIB + 1).json()
    assert session["chunk_size_bytes"] == 64 * KIB
    assert session["total_parts"] == 157


def test_a_file_that_needs_larger_parts_than_allowed_is_too_large(api, settings):
    settings.PORTAL_CHUNK_SIZE_MAX = KIB
    problem = assert_problem(api.create_session(size_bytes=10_000 * KIB + 1), 413, "file_too_large")
    assert problem["max_bytes"] == 10_000 * KIB


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a" * 255,
        "ä" * 127 + "b",
        "słońce.txt",
        "报告 最终版.docx",
        "تقرير.pdf",
        "דו״ח.txt",
        "रिपोर्ट.csv",
        "😀👩‍👩‍👧.png",
        "e\u0301 and \u00e9.txt",
        " leading and trailing ",
        "...",
        ".hidden",
        "a;b&c='d\"%2e%2e.txt",
        "CON",
        "-rf",
        "\u202egnp.exe",
    ],
)
def test_a_name_in_any_script_is_kept_as_it_was_given(api, name):
    session = api.create_session(filename=name)
    assert session.status_code == 201, session.content
    assert session.json()["filename"] == name
    assert IngestFile.objects.get().original_filename == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "a/b",
        "/etc/passwd",
        "..\\a",
        "C:\\a.txt",
        "nul\x00.txt",
        "line\nfeed",
        "\x7f",
        "\x85",
        "a" * 256,
        "ä" * 128,
        "😀" * 64,
    ],
)
def test_what_is_no_plain_file_name_is_refused(api, name):
    assert_problem(api.create_session(filename=name), 400, "invalid_filename")
    assert_nothing_was_made()


def test_a_lone_surrogate_is_no_text_in_any_field(api):
    for field in (
        '"filename": "\\ud800"',
        '"relative_path": "a/\\udfff"',
        '"idempotency_key": "\\ud800"',
        '"sha256": "\\ud800"',
        '"content_type": "\\ud800"',
        '"metadata": {"a": "\\ud800"}',
        '"metadata": {"\\ud800": 1}',
    ):
        text = f'{{"filename": "a", "size_bytes": 1, {field}}}'
        reply = api.http.post(SESSIONS, text, content_type="application/json")
        assert reply.status_code == 400, (field, reply.content)
        assert reply["Content-Type"] == "application/problem+json"
    assert_nothing_was_made()


@pytest.mark.parametrize(
    "path", ["", "a", "a/b/c.txt", "ä/ö/ü", "a b/c d", "..a/b..", "d" * 255 + "/" + "e" * 255]
)
def test_a_relative_path_is_kept(api, path):
    assert api.create_session(relative_path=path).json()["relative_path"] == path


@pytest.mark.parametrize(
    "path",
    [
        "/a",
        "a/",
        "a//b",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "./a",
        "a/.",
        "a\\b",
        "C:\\a",
        "a\x00b",
        "a/\n",
        "d" * 256,
        "ä" * 128 + "/a",
        "a/" * 2048 + "ab",
    ],
)
def test_a_path_that_could_lead_elsewhere_is_refused(api, path):
    assert_problem(api.create_session(relative_path=path), 400, "invalid_relative_path")
    assert_nothing_was_made()


@pytest.mark.parametrize("size", ["10", 10.0, 10.5, True, None, [], "ten", float("nan")])
def test_a_size_that_is_no_whole_number_is_refused(api, size):
    assert_problem(api.create_session(size_bytes=size), 400, "invalid_request")


def test_a_negative_size_is_refused(api):
    assert_problem(api.create_session(size_bytes=-1), 400, "invalid_size")
    assert_nothing_was_made()


@pytest.mark.parametrize("size", [2**40 + 1, 2**63, 10**30])
def test_more_than_the_portal_takes_is_too_large(api, size):
    problem = assert_problem(api.create_session(size_bytes=size), 413, "file_too_large")
    assert problem["max_bytes"] == 2**40
    assert_nothing_was_made()


def test_a_number_of_thousands_of_digits_is_bad_json(api):
    text = f'{{"filename": "a", "size_bytes": 1{"0" * 5000}}}'
    reply = api.http.post(SESSIONS, text, content_type="application/json")
    assert_problem(reply, 400, "invalid_request")


def test_a_file_for_which_the_disk_has_no_room_is_refused_before_it_is_sent(api, settings):
    settings.PORTAL_MAX_FILE_SIZE = 2**62
    settings.PORTAL_CHUNK_SIZE_MAX = 2**60
    reply = api.create_session(size_bytes=2**60)
    assert_problem(reply, 507, "no_room")
    assert int(reply["Retry-After"]) > 0
    assert_nothing_was_made()


@pytest.mark.parametrize(
    ("declared", "kept"),
    [
        ("", ""),
        ("text/plain", "text/plain"),
        ("IMAGE/PNG", "image/png"),
        ("text/html; charset=utf-8", "text/html"),
        ("application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
    ],
)
def test_the_declared_type_is_kept_without_parameters(api, declared, kept):
    api.create_session(content_type=declared)
    assert IngestFile.objects.get().content_type == kept


@pytest.mark.parametrize(
    "declared", ["text", "text/", "/plain", "a/b/c", "tëxt/plain", "a\r\nb/c", "a/" + "b" * 254]
)
def test_a_type_that_is_none_is_refused(api, declared):
    assert_problem(api.create_session(content_type=declared), 400, "invalid_content_type")


def test_a_declared_sha256_is_kept_in_lower_case(api):
    assert api.create_session(sha256="AB" * 32).status_code == 201
    assert UploadSession.objects.get().declared_sha256 == "ab" * 32


@pytest.mark.parametrize("digest", ["ab", "g" * 64, "ab" * 33, " " + "a" * 63, "٣" * 64])
def test_a_sha256_that_is_none_is_refused(api, digest):
    assert_problem(api.create_session(sha256=digest), 400, "invalid_sha256")


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"a": None, "b": [1, 2.5, True, {"c": "d"}]},
        {"path": "C:\\u0000\\temp"},
        {"huge": 10**300, "deep": [[[[[[[[]]]]]]]]},
        {"a": "x" * (16 * KIB - 9)},
    ],
)
def test_metadata_comes_back_as_it_was_given(api, metadata):
    reply = api.create_session(metadata=metadata)
    assert reply.status_code == 201, reply.content
    assert api.get(f"/api/v1/files/{reply.json()['file_id']}").json()["metadata"] == metadata


@pytest.mark.parametrize(
    "metadata",
    [
        '{"a": "\\u0000"}',
        '{"\\u0000": 1}',
        '{"a": [{"b": "x\\u0000y"}]}',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1e999}',
        json.dumps({"a": "x" * (16 * KIB - 8)}),
        json.dumps({"a": "ä" * (8 * KIB)}, ensure_ascii=False),
    ],
)
def test_metadata_that_cannot_be_kept_is_refused(api, metadata):
    text = f'{{"filename": "a", "size_bytes": 1, "metadata": {metadata}}}'
    reply = api.http.post(SESSIONS, text, content_type="application/json")
    assert_problem(reply, 400, "invalid_metadata")
    assert_nothing_was_made()


@pytest.mark.parametrize("metadata", ["[]", "1", '"text"'])
def test_metadata_that_is_no_object_is_refused(api, metadata):
    text = f'{{"filename": "a", "size_bytes": 1, "metadata": {metadata}}}'
    reply = api.http.post(SESSIONS, text, content_type="application/json")
    assert_problem(reply, 400, "invalid_request")


@pytest.mark.parametrize("depth", [70, 200, 300, 900, 3000, 8000])
def test_metadata_nested_without_end_is_refused(api, depth):
    nested = "[" * depth + "]" * depth
    text = f'{{"filename": "a", "size_bytes": 1, "metadata": {{"a": {nested}}}}}'
    reply = api.http.post(SESSIONS, text, content_type="application/json")
    assert reply.status_code == 400, reply.content
    assert reply.json()["code"] in {"invalid_metadata", "invalid_request"}
    assert_nothing_was_made()


def test_a_client_may_choose_the_size_of_its_parts_within_bounds(api, settings):
    settings.PORTAL_CHUNK_SIZE_MIN, settings.PORTAL_CHUNK_SIZE_MAX = 10, 20
    for size, parts in [(10, 10), (20, 5)]:
        assert api.create_session(size_bytes=100, chunk_size_bytes=size).json()["total_parts"] == (
            parts
        )
    for size in (-1, 0, 9, 21, 2**70):
        reply = api.create_session(size_bytes=100, chunk_size_bytes=size)
        assert_problem(reply, 400, "invalid_chunk_size")
    assert_problem(api.create_session(chunk_size_bytes="10"), 400, "invalid_request")


def test_a_repeated_idempotency_key_gives_the_same_session(api):
    first = api.create_session(idempotency_key="k", metadata={"b": 1, "a": 2})
    again = api.create_session(idempotency_key="k", metadata={"a": 2, "b": 1})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert UploadSession.objects.count() == IngestFile.objects.count() == len(on_disk()) == 1


def test_a_repeated_key_shows_what_was_received_meanwhile(api):
    session = api.session_of(b"0123456789ABCDE", idempotency_key="k")
    api.put_part(session["session_id"], 2, b"ABCDE")
    again = api.create_session(size_bytes=15, chunk_size_bytes=10, idempotency_key="k").json()
    assert (again["received_parts"], again["status"]) == ("2", "in_progress")


@pytest.mark.parametrize(
    "other_values",
    [{"filename": "b"}, {"size_bytes": 11}, {"sha256": "ab" * 32}, {"metadata": {"a": 1}}],
)
def test_an_idempotency_key_cannot_be_used_for_another_upload(api, other_values):
    api.create_session(idempotency_key="k")
    reply = api.create_session(**{"idempotency_key": "k"} | other_values)
    assert_problem(reply, 409, "idempotency_key_reused")
    assert UploadSession.objects.count() == len(on_disk()) == 1


def test_two_users_may_choose_the_same_idempotency_key(api, other):
    mine = api.create_session(idempotency_key="k")
    theirs = other.create_session(idempotency_key="k", filename="other")
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["session_id"] != theirs.json()["session_id"]


@pytest.mark.parametrize("key", ["", "a" * 256, "nul\x00", "line\n"])
def test_an_idempotency_key_that_is_no_text_is_refused(api, key):
    assert_problem(api.create_session(idempotency_key=key), 400, "invalid_idempotency_key")


def test_sessions_without_a_key_are_all_new(api):
    assert api.create_session().json()["session_id"] != api.create_session().json()["session_id"]


def test_a_session_may_belong_to_a_batch(api):
    batch = api.create_batch(name="scans")
    assert api.create_session(batch_id=batch["id"]).json()["batch_id"] == batch["id"]
    assert UploadBatch.objects.get().total_files == 1


def test_the_batch_of_another_user_does_not_exist(api, other):
    batch = other.create_batch()
    assert_problem(api.create_session(batch_id=batch["id"]), 404, "batch_not_found")
    unknown = "01900000-0000-7000-8000-000000000000"
    assert_problem(api.create_session(batch_id=unknown), 404, "batch_not_found")
    assert_problem(api.create_session(batch_id="scans"), 400, "invalid_request")
    assert UploadBatch.objects.get().total_files == 0
    assert_nothing_was_made()


def test_a_closed_batch_takes_no_more_files(api):
    batch = api.create_batch()
    api.close_batch(batch["id"])
    assert_problem(api.create_session(batch_id=batch["id"]), 409, "batch_closed")
    assert_nothing_was_made()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"a"', "\xff\xfe", '{"filename": "a"}', '{"size_bytes": 1}']
)
def test_a_body_that_is_no_request_is_refused(api, text):
    reply = api.http.post(SESSIONS, text.encode("latin-1"), content_type="application/json")
    assert_problem(reply, 400, "invalid_request")
    assert_nothing_was_made()


def test_a_body_nested_without_end_is_refused(api):
    reply = api.http.post(SESSIONS, "[" * 100_000, content_type="application/json")
    assert_problem(reply, 400, "invalid_request")


def test_a_body_larger_than_any_request_is_refused(api):
    text = '{"filename": "a", "size_bytes": 1, "x": "' + "x" * 3_000_000 + '"}'
    reply = api.http.post(SESSIONS, text, content_type="application/json")
    assert_problem(reply, 413, "body_too_large")


def assert_nothing_was_made() -> None:
    assert not UploadSession.objects.exists()
    assert not IngestFile.objects.exists()
    assert on_disk() == set()


@pytest.mark.django_db(transaction=True)
def test_a_commit_that_nobody_heard_of_costs_the_upload_nothing(monkeypatch):
    """The connection broke at the commit: the rows are there, so the room must be, too."""
    api = Api()
    commit = DatabaseWrapper._commit

    def unheard(self):
        commit(self)
        raise OperationalError("the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(DatabaseWrapper, "_commit", unheard)
        reply = api.create_session(idempotency_key="k")
    assert_problem(reply, 503, "database_unavailable")
    again = api.create_session(idempotency_key="k")
    assert again.status_code == 200
    assert api.put_part(again.json()["session_id"], 1, b"0123456789").status_code == 200


def test_a_repeat_is_one_whatever_the_portal_has_for_a_chunk_size_by_now(api, settings):
    first = api.create_session(idempotency_key="k")
    settings.PORTAL_CHUNK_SIZE = 2048
    again = api.create_session(idempotency_key="k")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["session_id"] == again.json()["session_id"]


@pytest.mark.parametrize(
    ("filename", "content_type", "status"),
    [
        ("a.pdf", "application/pdf", 415),
        ("nameless", "application/pdf", 415),
        ("a.csv", "application/vnd.ms-excel", 201),  # as browsers say beside a spreadsheet program
        ("a.csv", "text/csv", 201),
        ("a.pdf", "", 201),
        ("a.pdf", "application/octet-stream", 201),
    ],
)
def test_what_plainly_is_no_allowed_type_is_refused_before_it_is_sent(
    api, settings, filename, content_type, status
):
    settings.FILE_UPLOAD_ALLOWED_TYPES = ["image/*", "text/csv"]
    reply = api.create_session(filename=filename, content_type=content_type)
    if status == 415:
        assert_problem(reply, 415, "type_not_allowed")
        assert on_disk() == set()
    else:
        assert reply.status_code == status, reply.content


def test_members_that_mean_nothing_are_refused(api):
    problem = assert_problem(api.create_session(batchid="x"), 400, "invalid_request")
    assert "batchid" in problem["detail"]


def test_a_body_in_chunks_is_refused_and_not_ignored(api):
    reply = api.http.generic(
        "POST",
        SESSIONS,
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
        **{"wsgi.input": io.BytesIO(b'{"filename": "a", "size_bytes": 1}')},
    )
    assert_problem(reply, 411, "length_required")
