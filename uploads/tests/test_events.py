"""The events of files and batches: typed, once, and never for what is not true."""

import json
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.principals import PORTAL
from accounts.tests.factories import principal_of
from uploads import events as payloads
from uploads.files import batches, retention
from uploads.files.announce import announce_file
from uploads.files.lifecycle import delete_file
from uploads.models import FileStatus, IngestFile, UploadBatch
from uploads.receiving.sessions import abort_session
from uploads.tests.factories import (
    events,
    make_consumed,
    make_expired,
    make_session,
    make_stored,
    sha256,
)

pytestmark = pytest.mark.django_db
MODELS = {"file.failed": payloads.FileFailed, "batch.completed": payloads.BatchEvent}


def test_file_uploaded_says_everything_that_a_runner_needs(settings):
    data = b"0123456789ABCDE"
    file = make_stored(
        data, filename="ü.txt", relative_path="a/ü.txt", content_type="text/csv", metadata={"a": 1}
    )
    (event,) = events()
    assert event.payload == {
        "file": {
            "id": str(file.id),
            "original_filename": "ü.txt",
            "relative_path": "a/ü.txt",
            "content_type": "text/csv",
            "detected_type": "text/plain",
            "size_bytes": 15,
            "sha256": sha256(data),
            "storage": {"backend": "local", "bucket": "", "key": file.storage_key},
            "url": event.payload["file"]["url"],
            "expires_at": file.expires_at.isoformat().replace("+00:00", "Z"),
            "batch_id": None,
            "metadata": {"a": 1},
        },
        "actor": {
            "user_id": str(file.uploaded_by_id),
            "email": file.uploaded_by.email,
            "kind": "user",
            "id": str(file.uploaded_by_id),
            "label": file.uploaded_by.email,
        },
    }
    assert event.payload["file"]["url"].startswith(f"{settings.PUBLIC_URL}/f/{file.id.hex}:")
    assert (event.aggregate_type, event.aggregate_id) == ("file", file.id)


def test_every_event_of_a_life_is_valid_against_its_model():
    expiring = make_stored()
    IngestFile.objects.filter(id=expiring.id).update(
        expires_at=timezone.now() + timedelta(minutes=5)
    )
    retention.notify_expiring_files()
    make_consumed()
    make_expired()
    retention.expire_files()
    session = make_session()
    abort_session(principal=principal_of(session.created_by), session_id=session.id)
    batch = batches.create_batch(principal=principal_of(session.created_by), name="b")
    batches.close_batch(principal=principal_of(session.created_by), batch_id=batch.id)
    kinds = set()
    for event in events():
        model = MODELS.get(event.event_type, payloads.FileEvent)
        assert model.model_validate(event.payload, extra="forbid").to_json() == event.payload
        assert json.loads(json.dumps(event.payload)) == event.payload
        kinds.add(event.event_type)
    assert kinds == {
        "file.uploaded",
        "file.expiring",
        "file.processed",
        "file.deleted",
        "file.failed",
        "batch.completed",
    }


def test_a_failed_file_says_why():
    session = make_session()
    abort_session(principal=principal_of(session.created_by), session_id=session.id)
    (event,) = events()
    assert event.payload["error"] == {"code": "aborted", "message": "The upload was aborted."}


@pytest.mark.parametrize("status", [s for s in FileStatus.values if s != FileStatus.STORED])
def test_file_uploaded_is_never_emitted_for_a_file_that_is_not_stored(status):
    file = make_stored()
    file.status = status
    file.id = UUID(int=1)
    with pytest.raises(ValueError, match="only a stored file"), transaction.atomic():
        announce_file("file.uploaded", file, actor=PORTAL)
    assert len(events()) == 1


@pytest.mark.parametrize("missing", ["sha256", "storage_backend", "storage_key", "stored_at"])
def test_file_uploaded_is_never_emitted_for_a_file_that_is_not_whole(missing):
    file = make_stored()
    setattr(file, missing, None if missing == "stored_at" else "")
    with pytest.raises(ValueError, match="only a stored file"), transaction.atomic():
        announce_file("file.uploaded", file, actor=PORTAL)


def test_a_fact_is_written_once_however_often_it_is_announced():
    file = make_stored()
    with transaction.atomic():
        again = announce_file("file.uploaded", file, actor=PORTAL)
    assert [event.id for event in events()] == [again.id]


def test_nothing_is_announced_outside_a_transaction(transactional_db):
    file = make_stored()
    with pytest.raises(RuntimeError):
        announce_file("file.deleted", file, actor=PORTAL)


@pytest.mark.parametrize("status", ["stored", "processed"])
@pytest.mark.parametrize(
    "broken",
    [
        {"sha256": ""},
        {"sha256": "A" * 64},
        {"sha256": "a" * 63},
        {"sha256": "g" * 64},
        {"storage_key": ""},
        {"storage_backend": ""},
        {"stored_at": None},
        {"expires_at": None},
    ],
)
def test_the_database_refuses_a_stored_file_that_is_not_whole(status, broken):
    file = make_stored()
    with pytest.raises(IntegrityError, match="ingest_file_stored_is_whole"), transaction.atomic():
        IngestFile.objects.filter(id=file.id).update(status=status, **broken)


def test_the_database_lets_no_file_begin_as_stored():
    with pytest.raises(IntegrityError), transaction.atomic():
        IngestFile.objects.create(original_filename="a", size_bytes=1, status="stored")


def test_the_database_refuses_counters_that_do_not_add_up():
    with pytest.raises(IntegrityError, match="counters_add_up"), transaction.atomic():
        UploadBatch.objects.create(total_files=1, stored_count=1, failed_count=1)


def test_an_event_survives_the_account_of_its_file():
    file = make_stored()
    owner = file.uploaded_by
    owner.delete()
    IngestFile.objects.update(expires_at=timezone.now())
    assert retention.expire_files() == 1
    assert events("file.deleted")[0].payload["actor"] == {
        "user_id": None,
        "email": None,
        "kind": "system",
        "id": None,
        "label": "the portal",
    }


def test_a_deletion_is_announced_with_what_the_file_was():
    file = make_stored()
    delete_file(principal=principal_of(file.uploaded_by), file_id=file.id)
    assert events("file.deleted")[0].payload["file"]["sha256"] == file.sha256
