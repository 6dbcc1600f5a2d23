"""Two storage backends that serve side by side: each row says which one has its bytes."""

import pytest

from accounts.tests.factories import principal_of
from uploads import tasks
from uploads.files import lifecycle, retention
from uploads.models import IngestFile, UploadSession
from uploads.tests.factories import Api, assert_problem, body, sha256, some_bytes

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
