"""POST /api/v1/files: a form or a raw body."""

import io
import os
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.utils import timezone

from uploads import tasks
from uploads.models import FileStatus, IngestFile
from uploads.receiving import one_request
from uploads.tests.factories import (
    FILES,
    Api,
    CutStream,
    assert_nothing_is_left,
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

    def overtaken(*args, **named):
        monkeypatch.setattr(one_request, "_insert", insert)
        assert api.post_raw(TEXT, filename="a", idempotency_key="k").status_code == 201
        return insert(*args, **named)

    monkeypatch.setattr(one_request, "_insert", overtaken)
    reply = api.post_raw(TEXT, filename="a", idempotency_key="k")
    assert (reply.status_code, reply.json()["sha256"]) == (201, sha256(TEXT))
    assert [event.event_type for event in events()] == ["file.uploaded"]
    assert len(on_disk()) == 1


@pytest.mark.django_db(transaction=True)
def test_an_error_after_the_file_was_stored_is_told_as_it_is(monkeypatch):
    api = Api()
    insert = one_request._insert

    def lost(*args, **named):
        insert(*args, **named)
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

    def lost(*_args, **_named):
        raise OperationalError("the connection was lost")

    monkeypatch.setattr(one_request, "_insert", lost)
    assert_problem(api.post_raw(TEXT, filename="a"), 503, "database_unavailable")
    assert len(on_disk()) == 2
    make_everything_old()
    assert tasks.clean_up_uploads() == 1
    assert on_disk() == set()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ["consume", "delete"])
def test_what_a_kill_left_beside_a_file_goes_also_once_the_file_is_gone(monkeypatch, end):
    """The bytes have two names until the request has ended, and a removal knows of one."""
    api = Api()
    insert = one_request._insert

    def lost(*args, **named):
        insert(*args, **named)
        raise OperationalError("the connection was lost")

    monkeypatch.setattr(one_request, "_insert", lost)
    assert_problem(api.post_raw(TEXT, filename="a"), 503, "database_unavailable")
    file = IngestFile.objects.get()
    path = f"{FILES}/{file.id}"
    reply = api.delete(path) if end == "delete" else api.post(f"{path}/consume")
    assert reply.status_code in {200, 204}
    IngestFile.objects.update(purge_at=timezone.now())
    assert tasks.expire_files() == 0
    assert on_disk() == {f"spool/{file.storage_key}"}
    make_everything_old()
    assert tasks.clean_up_uploads() == 1
    assert on_disk() == set()


def make_everything_old() -> None:
    for path in (Path(configured.DOORITO_DATA_DIR) / "spool").glob("??/*"):
        os.utime(path, (0, 0))
