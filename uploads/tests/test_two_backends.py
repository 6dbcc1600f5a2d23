"""Two storage backends that serve side by side: each row says which one has its bytes."""

import errno
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest
from django.test import Client
from django.utils import timezone

from accounts.tests.factories import principal_of
from common.models import OutboxEvent
from uploads import storage, tasks
from uploads.files import lifecycle, retention
from uploads.models import IngestFile, UploadSession
from uploads.receiving import digests, finalizing, reading, reading_queue
from uploads.storage import UploadHandle
from uploads.tests.factories import Api, assert_problem, body, sha256, some_bytes
from uploads.tests.s3_servers import names_in

pytestmark = pytest.mark.django_db
DATA = some_bytes(95)


def content(api: Api, file_id: str) -> bytes:
    return body(api.get(f"/api/v1/files/{file_id}/content"))


@pytest.mark.parametrize("order", [[1, 2, 3, 4], [4, 3, 2, 1], [2, 1, 2, 4, 3]])
def test_the_api_is_the_same_on_every_store(api, each_store, order):
    session = api.session_of(DATA, chunk=30)
    for number in order:
        reply = api.put_part(session["session_id"], number, DATA[(number - 1) * 30 : number * 30])
        assert reply.status_code == 200, reply.content
    file = api.finalize(session["session_id"]).json()
    assert (file["sha256"], file["status"]) == (sha256(DATA), "stored")
    assert IngestFile.objects.get().storage_backend == each_store
    assert content(api, file["id"]) == DATA


@pytest.mark.usefixtures("each_store")
def test_one_request_is_the_same_on_every_store(api):
    for _ in range(2):
        reply = api.post_raw(DATA, filename="a.bin", idempotency_key="once")
        assert (reply.status_code, reply.json()["sha256"]) == (201, sha256(DATA))
    assert IngestFile.objects.count() == 1
    assert content(api, reply.json()["id"]) == DATA


@pytest.mark.usefixtures("each_store")
def test_what_is_refused_leaves_no_object_on_any_store(api, tmp_path):
    session = api.session_of(DATA, chunk=30, sha256="0" * 64)
    api.put_all(session, DATA)
    assert_problem(api.finalize(session["session_id"]), 422, "sha256_mismatch")
    assert_problem(api.post_raw(DATA, filename="a.bin", sha256="0" * 64), 422, "sha256_mismatch")
    assert [
        path
        for folder in ("files", "spool", "multipart/objects", "multipart/parts")
        for path in (tmp_path / folder).rglob("*")
        if path.is_file()
    ] == []


def test_a_store_bounds_the_parts_that_are_smaller_than_it_takes(api, settings, multipart):
    settings.PORTAL_STORAGE = multipart.name
    session = api.session_of(DATA, chunk=1)
    assert session["chunk_size_bytes"] == multipart.uploads.rules.min_bytes
    api.put_all(session, DATA)
    assert api.finalize(session["session_id"]).json()["sha256"] == sha256(DATA)


def test_a_part_that_was_overwritten_late_is_missed_when_finalizing(api, s3):
    session = api.session_of(DATA, chunk=30)
    api.put_all(session, DATA)
    handle = UploadHandle("s3", UploadSession.objects.get().spool_key)
    with storage.named("s3").uploads.write(handle, offset=30, size_bytes=30, number=2) as late:
        late.write(memoryview(b"x" * 30))
        late.commit()
    reply = api.finalize(session["session_id"])
    assert_problem(reply, 400, "parts_missing")
    assert reply.json()["missing_parts"] == "2"
    api.put_part(session["session_id"], 2, DATA[30:60])
    assert api.finalize(session["session_id"]).json()["sha256"] == sha256(DATA)


@pytest.mark.parametrize(("order", "hashed"), [([3, 1, 2, 4], 60), ([4, 3, 2, 1], 30)])
def test_what_came_out_of_order_is_read_once_by_a_worker(api, s3, monkeypatch, order, hashed):
    monkeypatch.setattr(finalizing, "AT_ONCE_BYTES", 10)
    kicks: list[bool] = []
    monkeypatch.setattr(reading_queue, "_senders", [lambda: kicks.append(True)])
    read: list[int] = []
    watch_reads(monkeypatch, read)
    session = api.session_of(DATA, chunk=30)
    for number in order:
        api.put_part(session["session_id"], number, DATA[(number - 1) * 30 : number * 30])
    for _ in range(2):
        reply = api.finalize(session["session_id"])
        assert (reply.status_code, reply.json()["status"]) == (202, "finalizing")
        assert reply["Location"] == f"/api/v1/uploads/sessions/{session['session_id']}"
    assert api.get_session(session["session_id"]).json()["finalizing"]["hashed_bytes"] == hashed
    assert OutboxEvent.objects.count() == 0
    assert tasks.finalize_uploads() == 1
    file = api.finalize(session["session_id"]).json()
    assert (file["sha256"], file["status"]) == (sha256(DATA), "stored")
    assert sum(read) == len(DATA) - hashed
    event = OutboxEvent.objects.get()
    assert (event.event_type, event.payload["actor"]["kind"]) == ("file.uploaded", "token")
    assert api.get_session(session["session_id"]).json()["finalizing"] is None


def test_a_worker_that_is_killed_reads_on_from_where_it_was(api, s3, monkeypatch):
    monkeypatch.setattr(finalizing, "AT_ONCE_BYTES", 0)
    monkeypatch.setattr(digests, "_ROUND_BYTES", 20)
    monkeypatch.setattr(reading_queue, "_senders", [lambda: None])
    read: list[int] = []
    watch_reads(monkeypatch, read)
    session = api.session_of(DATA, chunk=30)
    for number in (4, 3, 2, 1):
        api.put_part(session["session_id"], number, DATA[(number - 1) * 30 : number * 30])
    assert api.finalize(session["session_id"]).status_code == 202
    monkeypatch.setattr(reading, "LONGEST_SECONDS", 0)
    for turn in (1, 2, 3):
        assert reading.finalize_next() == 1
        told = api.get_session(session["session_id"]).json()
        assert told["finalizing"]["hashed_bytes"] == 30 + 20 * turn
    assert reading.finalize_next() == 1
    assert api.finalize(session["session_id"]).json()["sha256"] == sha256(DATA)
    assert (sum(read), reading.finalize_next()) == (65, 0)


def test_what_cannot_be_read_is_not_tried_for_ever(api, multipart, settings, monkeypatch):
    settings.PORTAL_STORAGE = multipart.name
    monkeypatch.setattr(finalizing, "AT_ONCE_BYTES", 0)
    monkeypatch.setattr(reading_queue, "_senders", [lambda: None])

    def broken(*_, **__) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(reading, "finish_by_worker", broken)
    session = api.session_of(DATA, chunk=30)
    for number in (4, 3, 2, 1):
        api.put_part(session["session_id"], number, DATA[(number - 1) * 30 : number * 30])
    for waited, told in ((71, 202), (73, 410)):
        api.finalize(session["session_id"])
        UploadSession.objects.update(
            finalizing_at=timezone.now() - timedelta(hours=waited), finalizing_until=None
        )
        assert reading.finalize_next() == 1
        assert api.finalize(session["session_id"]).status_code == told


def test_what_a_worker_finds_is_refused_as_ever(api, s3, monkeypatch):
    monkeypatch.setattr(finalizing, "AT_ONCE_BYTES", 0)
    session = api.session_of(DATA, chunk=30, sha256="0" * 64)
    for number in (4, 3, 2, 1):
        api.put_part(session["session_id"], number, DATA[(number - 1) * 30 : number * 30])
    api.finalize(session["session_id"])
    tasks.finalize_uploads()
    assert_problem(api.finalize(session["session_id"]), 422, "sha256_mismatch")
    assert names_in(s3) == []


def watch_reads(monkeypatch, read: list[int]) -> None:
    """Note how many bytes of objects are hashed after they were finished."""
    hash_from = digests._hash_from

    def noted(content, digest, size_bytes: int) -> None:
        read.append(size_bytes)
        hash_from(content, digest, size_bytes)

    monkeypatch.setattr(digests, "_hash_from", noted)


def test_the_event_says_where_in_the_bucket_a_file_is(api, s3):
    file = api.upload(DATA)
    pointer = OutboxEvent.objects.get(event_type="file.uploaded").payload["file"]["storage"]
    key = UUID(file["id"]).hex
    assert pointer == {"backend": "s3", "bucket": s3.bucket, "key": f"{s3.prefix}files/{key}"}


@pytest.mark.parametrize("downloads", ["redirect", "portal"])
def test_a_signed_link_leads_to_the_bytes(api, s3, settings, downloads):
    settings.PORTAL_DOWNLOADS = downloads
    file = api.upload(DATA, filename='"näme".bin')
    url = OutboxEvent.objects.get(event_type="file.uploaded").payload["file"]["url"]
    reply = Client().get(urlsplit(url).path)
    if downloads == "portal":
        assert (reply.status_code, body(reply)) == (200, DATA)
        return
    assert (reply.status_code, reply["Cache-Control"]) == (302, "private, no-store")
    assert httpx.get(reply["Location"]).content == DATA
    asked = parse_qs(urlsplit(reply["Location"]).query)
    here = api.head(f"/api/v1/files/{file['id']}/content")
    assert asked["response-content-disposition"] == [here["Content-Disposition"]]
    conditional = Client().get(urlsplit(url).path, headers={"If-None-Match": "x"})
    assert (conditional.status_code, body(conditional)) == (200, DATA)


@pytest.mark.usefixtures("multipart")
def test_a_change_of_backend_orphans_nothing(api, settings):
    begun = api.session_of(DATA, chunk=30)
    api.put_part(begun["session_id"], 1, DATA[:30])
    old = api.upload(DATA)
    settings.PORTAL_STORAGE = "multipart"
    new = api.upload(DATA)
    api.put_all(begun, DATA)
    finished = api.finalize(begun["session_id"]).json()
    backends = IngestFile.objects.in_bulk([old["id"], new["id"], finished["id"]])
    assert {str(key): row.storage_backend for key, row in backends.items()} == {
        old["id"]: "local",
        new["id"]: "multipart",
        finished["id"]: "local",
    }
    for file in (old, new, finished):
        assert content(api, file["id"]) == DATA


@pytest.mark.usefixtures("multipart")
def test_both_backends_are_swept(api, settings, tmp_path):
    files = [api.upload(DATA)]
    begun = [api.session_of(DATA)]
    settings.PORTAL_STORAGE = "multipart"
    files.append(api.upload(DATA))
    begun.append(api.session_of(DATA))
    for file in files:
        lifecycle.delete_file(principal=principal_of(api.user), file_id=file["id"])
    while retention.purge_files():
        pass
    for session in begun:
        api.abort(session["session_id"])
    tasks.clean_up_uploads()
    assert UploadSession.objects.filter(spool_removed_at__isnull=False).count() == 2
    assert [
        path
        for folder in ("files", "spool", "multipart/objects", "multipart/parts")
        for path in (tmp_path / folder).rglob("*")
        if path.is_file()
    ] == []
