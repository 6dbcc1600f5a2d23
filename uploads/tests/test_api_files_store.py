"""POST /api/v1/files: a form or a raw body."""

import errno
import io
import os
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError

from common.http import forms
from uploads import tasks
from uploads.models import FileStatus, IngestFile, UploadSession
from uploads.receiving import one_request
from uploads.tests.factories import (
    FILES,
    Api,
    CutStream,
    assert_problem,
    content_digest,
    events,
    on_disk,
    sha256,
    some_bytes,
    stored_bytes,
)

TEXT = b"Some plain text.\n"


def form_file(name: str = "note.txt", data: bytes = TEXT, content_type: str = "text/markdown"):
    return SimpleUploadedFile(name, data, content_type)


def test_a_form_stores_its_file(api):
    reply = api.post_form({"file": form_file("słońce.txt")})
    assert reply.status_code == 201
    file = reply.json()
    assert (file["status"], file["sha256"], file["size_bytes"]) == (
        "stored",
        sha256(TEXT),
        len(TEXT),
    )
    assert (file["original_filename"], file["content_type"]) == ("słońce.txt", "text/markdown")
    assert stored_bytes(IngestFile.objects.get()) == TEXT
    assert [event.event_type for event in events()] == ["file.uploaded"]


def test_a_form_may_say_what_a_query_may(api):
    batch = api.create_batch()
    fields = {"batch_id": batch["id"], "filename": "b.txt", "sha256": sha256(TEXT)}
    reply = api.post_form({"file": form_file("a.txt"), "csrfmiddlewaretoken": "x"} | fields)
    assert reply.status_code == 201
    assert (reply.json()["batch_id"], reply.json()["original_filename"]) == (batch["id"], "b.txt")


@pytest.mark.parametrize(
    ("field", "code"), [({"batch": "x"}, "unknown_field"), ({"batch_id": "x"}, "invalid_request")]
)
def test_a_field_that_means_nothing_is_refused(api, field, code):
    problem = assert_problem(api.post_form({"file": form_file()} | field), 400, code)
    assert next(iter(field)) in problem["detail"]
    assert_nothing_is_left()


def test_a_raw_body_is_stored_under_the_name_in_the_query(api):
    batch = api.create_batch()
    reply = api.post_raw(
        TEXT,
        content_type="text/csv; charset=utf-8",
        filename="日報.csv",
        relative_path="2026/日報.csv",
        batch_id=batch["id"],
        sha256=sha256(TEXT),
    )
    assert reply.status_code == 201
    file = reply.json()
    assert (file["original_filename"], file["relative_path"]) == ("日報.csv", "2026/日報.csv")
    assert (file["content_type"], file["detected_type"]) == ("text/csv", "text/plain")
    assert file["batch_id"] == batch["id"]
    assert file["sha256"] == sha256(TEXT)


def test_a_raw_body_that_curl_calls_a_form_has_no_declared_type(api):
    reply = api.post_raw(
        TEXT, content_type="application/x-www-form-urlencoded", filename="note.txt"
    )
    assert reply.status_code == 201
    assert reply.json()["content_type"] == ""
    assert reply.json()["sha256"] == sha256(TEXT)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 100_000])
def test_a_file_of_any_size_arrives_whole(api, size):
    data = some_bytes(size)
    assert api.post_form({"file": form_file(data=data)}).json()["sha256"] == sha256(data)


def test_an_empty_raw_body_is_an_empty_file(api):
    reply = api.http.generic(
        "POST", f"{FILES}?filename=empty", CONTENT_LENGTH="0", content_type="text/plain"
    )
    assert reply.status_code == 201
    assert reply.json()["sha256"] == sha256(b"")


def test_a_raw_body_needs_a_name(api):
    assert_problem(api.post_raw(TEXT), 400, "invalid_filename")
    assert_nothing_is_left()


def test_a_form_without_a_file_is_refused(api):
    assert_problem(api.post_form({"note": "text only"}), 400, "file_missing")
    assert_problem(api.post_form({"other": form_file()}), 400, "unknown_field")
    assert_problem(api.post_form({"file": "not a file"}), 400, "file_missing")
    assert_nothing_is_left()


@pytest.mark.parametrize(
    ("body", "boundary"),
    [
        (b"", "x"),
        (b"no form at all", "x"),
        (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\ndata', "x"),
        (b"--x\r\n\r\n\r\n--x--\r\n", ""),
        (b"--x--\r\n", "é"),
    ],
)
def test_a_broken_form_is_refused(api, body, boundary):
    reply = api.http.generic(
        "POST",
        FILES,
        body,
        CONTENT_TYPE=f"multipart/form-data; boundary={boundary}",
        CONTENT_LENGTH=str(len(body)),
    )
    assert reply.status_code in {201, 400}, reply.content
    if reply.status_code == 400:
        assert reply["Content-Type"] == "application/problem+json"
        assert reply.json()["code"] in {"invalid_request", "file_missing"}


def test_a_form_whose_connection_breaks_leaves_nothing(api):
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    reply = api.http.generic(
        "POST",
        FILES,
        **{
            "CONTENT_TYPE": "multipart/form-data; boundary=x",
            "CONTENT_LENGTH": "1000",
            "wsgi.input": CutStream(head + TEXT, ConnectionResetError("reset")),
        },
    )
    assert_problem(reply, 400, "body_incomplete")
    assert_nothing_is_left()


def test_more_than_one_request_may_carry_is_refused(api, settings):
    settings.FILE_UPLOAD_MAX_SIZE = 100
    for size in (101, 300_000):
        data = some_bytes(size)
        problem = assert_problem(api.post_raw(data, filename="a"), 413, "file_too_large")
        assert problem["max_bytes"] == 100
        assert "session" in problem["detail"]
        assert_problem(api.post_form({"file": form_file(data=data)}), 413, "file_too_large")
    assert_nothing_is_left()
    data = some_bytes(100)
    assert api.post_raw(data, filename="a").status_code == 201
    assert api.post_form({"file": form_file(data=data)}).status_code == 201


def test_a_form_that_is_too_large_is_refused_before_it_is_read(api, settings):
    settings.FILE_UPLOAD_MAX_SIZE = 100
    reply = api.http.generic(
        "POST",
        FILES,
        **{
            "CONTENT_TYPE": "multipart/form-data; boundary=x",
            "CONTENT_LENGTH": "100000",
            "wsgi.input": CutStream(b"", OSError("it was read")),
        },
    )
    assert_problem(reply, 413, "file_too_large")


def test_a_form_that_the_disk_has_no_room_for_is_refused_before_it_is_read(api, settings):
    settings.PORTAL_DISK_RESERVE = 2**62
    reply = api.http.generic(
        "POST",
        FILES,
        **{
            "CONTENT_TYPE": "multipart/form-data; boundary=x",
            "CONTENT_LENGTH": "100000",
            "wsgi.input": CutStream(b"", OSError("it was read")),
        },
    )
    assert_problem(reply, 507, "no_room")


def test_a_body_without_a_length_is_refused(api):
    reply = api.http.generic(
        "POST",
        f"{FILES}?filename=a",
        content_type="text/plain",
        **{"CONTENT_LENGTH": "", "wsgi.input": io.BytesIO(TEXT)},
    )
    assert_problem(reply, 411, "length_required")


def test_a_raw_body_that_ends_early_leaves_nothing(api):
    for stream, status, code in [
        (io.BytesIO(TEXT), 400, "body_incomplete"),
        (CutStream(TEXT, ConnectionResetError("reset")), 400, "body_incomplete"),
        (CutStream(TEXT, TimeoutError("timed out")), 408, "body_stalled"),
    ]:
        reply = api.http.generic(
            "POST",
            f"{FILES}?filename=a",
            content_type="text/plain",
            **{"CONTENT_LENGTH": "100", "wsgi.input": stream},
        )
        assert_problem(reply, status, code)
    assert on_disk() == set()
    assert_nothing_is_left()


def test_a_body_that_ends_early_does_not_count_in_its_batch(api):
    batch = api.create_batch()
    reply = api.http.generic(
        "POST",
        f"{FILES}?filename=a&batch_id={batch['id']}",
        content_type="text/plain",
        **{"CONTENT_LENGTH": "100", "wsgi.input": io.BytesIO(TEXT)},
    )
    assert_problem(reply, 400, "body_incomplete")
    assert api.post_raw(TEXT, filename="a", batch_id=batch["id"]).status_code == 201
    closed = api.close_batch(batch["id"]).json()
    assert (closed["status"], closed["total_files"]) == ("complete", 1)


def test_an_error_that_nobody_foresaw_leaves_nothing_on_disk(api, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("the disk is broken")

    monkeypatch.setattr("uploads.receiving.one_request.detect_type", fail)
    api.http.raise_request_exception = False
    assert_problem(api.post_raw(TEXT, filename="a"), 500, "internal_error")
    assert on_disk() == set()


def test_a_file_that_differs_from_its_declared_sha256_leaves_nothing(api):
    reply = api.post_raw(TEXT, filename="a", sha256=sha256(b"other"))
    assert_problem(reply, 422, "sha256_mismatch")
    reply = api.post_form({"file": form_file()}, sha256=sha256(b"other"))
    assert_problem(reply, 422, "sha256_mismatch")
    assert on_disk() == set()
    assert not events("file.uploaded")


def test_a_type_that_is_not_allowed_leaves_nothing(api, settings):
    settings.FILE_UPLOAD_ALLOWED_TYPES = ["image/png"]
    assert_problem(api.post_raw(TEXT, filename="a.png"), 415, "type_not_allowed")
    assert on_disk() == set()


def test_a_repeated_idempotency_key_gives_the_same_file(api):
    first = api.post_raw(TEXT, filename="a", idempotency_key="k")
    again = api.post_raw(TEXT, filename="a", idempotency_key="k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    reply = api.post_raw(TEXT + b"more", filename="a", idempotency_key="k")
    assert_problem(reply, 409, "idempotency_key_reused")
    assert IngestFile.objects.count() == len(events()) == 1


def test_a_broken_request_can_be_repeated_with_its_idempotency_key(api):
    api.http.generic(
        "POST",
        f"{FILES}?filename=a&idempotency_key=k",
        **{
            "CONTENT_TYPE": "text/plain",
            "CONTENT_LENGTH": str(len(TEXT)),
            "wsgi.input": io.BytesIO(TEXT[:5]),
        },
    )
    reply = api.post_raw(TEXT, filename="a", idempotency_key="k")
    assert reply.status_code == 201, reply.content
    assert reply.json()["sha256"] == sha256(TEXT)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"relative_path": "../a"}, 400, "invalid_relative_path"),
        ({"sha256": "abc"}, 400, "invalid_sha256"),
        ({"batch_id": "scans"}, 400, "invalid_request"),
        ({"batch_id": "01900000-0000-7000-8000-000000000000"}, 404, "batch_not_found"),
        ({"filename": "a/b"}, 400, "invalid_filename"),
    ],
)
def test_values_in_the_query_are_checked(api, query, status, code):
    assert_problem(api.post_raw(TEXT, **{"filename": "a"} | query), status, code)
    assert_nothing_is_left()


def test_a_folder_in_a_forms_file_name_is_dropped(api):
    reply = api.post_form({"file": form_file("../../etc/passwd")})
    assert reply.json()["original_filename"] == "passwd"


def assert_nothing_is_left() -> None:
    assert on_disk() == set()
    assert not UploadSession.objects.exists()
    assert not IngestFile.objects.exists()
    assert events() == []


@pytest.mark.parametrize("data", [TEXT, b""], ids=["text", "empty"])
def test_a_declared_digest_is_checked_for_a_raw_body(api, data):
    def post(header: str):
        return api.http.generic(
            "POST",
            f"{FILES}?filename=a",
            data,
            content_type="text/plain",
            headers={"Content-Digest": header},
            CONTENT_LENGTH=str(len(data)),
        )

    assert_problem(post("garbage"), 400, "digest_invalid")
    assert_nothing_is_left()
    assert_problem(post(content_digest(b"other")), 422, "digest_mismatch")
    assert on_disk() == set()
    assert post(content_digest(data)).status_code == 201


def test_a_key_that_was_used_for_other_bytes_of_the_same_size_is_refused(api):
    first = api.post_raw(b"hello", filename="a", idempotency_key="k")
    other = api.post_raw(b"HELLO", filename="a", idempotency_key="k")
    again = api.post_raw(b"hello", filename="a", idempotency_key="k")
    assert_problem(other, 409, "idempotency_key_reused")
    assert (again.status_code, again.json()) == (201, first.json())


def test_a_repeat_that_was_quicker_is_the_answer(api, monkeypatch):
    """Two requests with one key: the one that comes second to its end finds the other's file."""
    insert = one_request._insert

    def overtaken(*args):
        monkeypatch.setattr(one_request, "_insert", insert)
        assert api.post_raw(TEXT, filename="a", idempotency_key="k").status_code == 201
        return insert(*args)

    monkeypatch.setattr(one_request, "_insert", overtaken)
    reply = api.post_raw(TEXT, filename="a", idempotency_key="k")
    assert (reply.status_code, reply.json()["sha256"]) == (201, sha256(TEXT))
    assert [event.event_type for event in events()] == ["file.uploaded"]
    assert len(on_disk()) == 1


@pytest.mark.django_db(transaction=True)
def test_an_error_after_the_file_was_stored_is_told_as_it_is(monkeypatch):
    api = Api()
    insert = one_request._insert

    def lost(*args):
        insert(*args)
        raise OperationalError("the connection was lost")

    monkeypatch.setattr(one_request, "_insert", lost)
    assert_problem(api.post_raw(TEXT, filename="a"), 503, "database_unavailable")
    file = IngestFile.objects.get()
    assert (file.status, stored_bytes(file)) == (FileStatus.STORED, TEXT)
    make_everything_old()
    tasks.clean_up_uploads()
    assert stored_bytes(file) == TEXT
    assert on_disk() == {f"files/{file.storage_key}"}


@pytest.mark.django_db(transaction=True)
def test_bytes_whose_row_did_not_come_are_swept(monkeypatch):
    api = Api()

    def lost(*_):
        raise OperationalError("the connection was lost")

    monkeypatch.setattr(one_request, "_insert", lost)
    assert_problem(api.post_raw(TEXT, filename="a"), 503, "database_unavailable")
    assert len(on_disk()) == 2
    make_everything_old()
    assert tasks.clean_up_uploads() == 1
    assert on_disk() == set()


def make_everything_old() -> None:
    for path in (Path(configured.DOORITO_DATA_DIR) / "spool").glob("??/*"):
        os.utime(path, (0, 0))


def form_of(name: str, *, further: str = "") -> bytes:
    """A form with a file of this name, and more fields, as text."""
    return (
        f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        f"data\r\n{further}--x--\r\n"
    ).encode()


def post_form_bytes(api, body: bytes, *, length: int | None = None, **headers: str):
    return api.http.generic(
        "POST",
        FILES,
        body,
        content_type="multipart/form-data; boundary=x",
        headers=headers,
        CONTENT_LENGTH=str(len(body) if length is None else length),
        **{"wsgi.input": io.BytesIO(body)},
    )


@pytest.mark.parametrize("kept", range(10, 150, 7))
def test_a_form_that_is_cut_off_anywhere_is_not_taken_for_whole(api, kept):
    further = '--x\r\nContent-Disposition: form-data; name="relative_path"\r\n\r\na/report\r\n'
    whole = form_of("a.txt", further=further)
    assert kept < len(whole)
    reply = post_form_bytes(api, whole[:kept], length=len(whole))
    assert_problem(reply, 400, "body_incomplete")
    assert_nothing_is_left()


@pytest.mark.parametrize(
    "name", ["\U0001f469\u200d\U0001f469.txt", "a\u200cb.txt", "a&amp;b&lt;.txt", "C:\\fakepath\\x"]
)
def test_a_forms_file_keeps_the_name_that_it_was_sent_with(api, name):
    reply = post_form_bytes(api, form_of(name))
    assert reply.status_code == 201, reply.content
    assert reply.json()["original_filename"] == name.rsplit("\\", 1)[-1]


@pytest.mark.parametrize("name", ["a" * 300, "a\x07b", ".."])
def test_a_name_that_is_none_is_refused_and_not_mended(api, name):
    assert_problem(post_form_bytes(api, form_of(name)), 400, "invalid_filename")
    assert_nothing_is_left()


def test_nothing_that_a_form_says_is_lost(api):
    assert_problem(api.post_form({"file": form_file(), "other": form_file()}), 400, "unknown_field")
    assert_problem(
        api.post_form({"file": form_file(), "relative_path": ["a/b", "c/d"]}), 400, "repeated_field"
    )
    reply = post_form_bytes(api, form_of("a"), **{"Content-Digest": content_digest(b"data")})
    assert_problem(reply, 400, "digest_unsupported")
    assert_nothing_is_left()


def test_a_disk_that_is_full_is_told_as_one(api, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(forms, "TemporaryFile", full)
    assert_problem(api.post_form({"file": form_file()}), 507, "no_room")
    assert_nothing_is_left()
