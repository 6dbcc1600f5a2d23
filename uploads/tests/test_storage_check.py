"""Rows and bytes are compared: what is wrong is found and mended; what is under way is left."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from django.conf import settings
from django.utils import timezone

from common.errors import Conflict
from common.ids import uuid7
from uploads import storage, tasks
from uploads.checking import mending, rounds, walking
from uploads.checking.cli import storage as command
from uploads.checking.walking import Walk
from uploads.files import lifecycle, retention
from uploads.files.usage import recount, usage_of
from uploads.models import FileStatus, IngestFile, SessionStatus, StorageCheck, UploadSession
from uploads.storage import object_of, storage_for, storage_for_new
from uploads.storage.local import objects as local_objects
from uploads.tests.factories import (
    events,
    finish,
    held,
    make_consumed,
    make_session,
    make_stored,
    send_parts,
    spool_path,
    stored_bytes,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_kicks", "no_run_kicks")]
DATA = b"0123456789ABCDE"


def make_all_old() -> None:
    """As if neither rows nor bytes had been touched for a day."""
    day_ago = timezone.now() - timedelta(days=1)
    IngestFile.objects.update(updated_at=day_ago)
    UploadSession.objects.update(last_activity_at=day_ago)
    for path in Path(settings.DOORITO_DATA_DIR).rglob("*"):
        if path.is_file():
            os.utime(path, (day_ago.timestamp(), day_ago.timestamp()))


@pytest.fixture
def all_is_old(monkeypatch) -> None:
    """The same, where a store's own clock says when an object was made."""
    monkeypatch.setattr(walking, "GRACE", timedelta(minutes=-1))


def put(data: bytes = DATA, *, key: str | None = None) -> storage.StoredObject:
    """An object that no row knows."""
    with storage_for_new().uploads.put(key or uuid7().hex, size_bytes=len(data)) as writer:
        writer.write(memoryview(data))
        return writer.commit()


def found(**options: bool) -> list[tuple[str, str]]:
    walk = Walk(storage_for_new(), **options)
    return sorted((each.kind.value, each.key) for each in [*walk.files(), *walk.uploads()])


def check(*options: str) -> tuple[int, list[dict[str, str]]]:
    """The exit code, and the lines that it printed."""
    result = CliRunner().invoke(command, ["check", "--json", *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]


def lose_bytes(file: IngestFile) -> IngestFile:
    storage_for(file).objects.delete(object_of(file))
    return file


def test_what_is_in_order_is_told_so_and_left(each_store):
    stored, consumed = make_stored(DATA), make_consumed().file
    make_session(DATA)
    retention.purge_files()
    make_all_old()

    assert found(with_digests=True) == []

    code, lines = check("--fix", "--hash")
    of_store = next(line for line in lines if line["backend"] == each_store)
    assert code == 0
    assert (of_store["objects"], of_store["rows"], of_store["size_bytes"]) == (2, 3, 30)
    assert found(with_digests=True) == []
    assert stored_bytes(stored) == stored_bytes(consumed) == DATA


@pytest.mark.usefixtures("each_store", "all_is_old")
def test_bytes_without_a_row_go_only_when_asked():
    kept, orphan = make_stored(DATA), put()

    assert found() == [("bytes_without_row", orphan.key)]
    assert check()[0] == 1
    assert found() == [("bytes_without_row", orphan.key)]

    code, lines = check("--fix")

    told = [(line["key"], line["fixed"]) for line in lines if "kind" in line]
    assert (code, told) == (0, [(orphan.key, True)])
    assert found() == []
    assert stored_bytes(kept) == DATA


def test_a_file_whose_bytes_are_lost_fails_and_takes_up_nothing(each_store):
    file, kept = lose_bytes(make_stored(DATA, user=None)), make_stored(DATA)
    make_all_old()
    assert found() == [("row_without_bytes", file.storage_key)]

    code, _ = check("--fix")

    file.refresh_from_db()
    assert (code, file.status, file.error_code) == (0, FileStatus.FAILED, "bytes_lost")
    failed = events("file.failed")[-1]
    assert (failed.aggregate_id, failed.payload["error"]["code"]) == (file.id, "bytes_lost")
    assert usage_of(file.uploaded_by_id) == recount(file.uploaded_by_id)
    assert usage_of(file.uploaded_by_id).files == 0
    assert found() == []
    assert stored_bytes(kept) == DATA


def test_a_consumed_file_whose_bytes_are_lost_stays_consumed():
    file = lose_bytes(make_consumed().file)
    put()
    make_all_old()

    check("--fix")

    file.refresh_from_db()
    assert (file.status, file.purged_at is not None) == (FileStatus.PROCESSED, True)


def test_wrong_bytes_are_told_and_never_touched():
    short, other = make_stored(DATA), make_stored(DATA)
    root = Path(settings.DOORITO_DATA_DIR) / "files"
    (root / short.storage_key[-2:] / short.storage_key).write_bytes(DATA[:5])
    (root / other.storage_key[-2:] / other.storage_key).write_bytes(DATA[::-1])
    make_all_old()
    sizes = ("wrong_size", short.storage_key)

    assert found() == [sizes]
    assert found(with_digests=True) == [("wrong_digest", other.storage_key), sizes]

    code, _ = check("--fix", "--hash")

    assert code == 1
    assert found(with_digests=True) == [("wrong_digest", other.storage_key), sizes]
    assert set(IngestFile.objects.values_list("status", flat=True)) == {FileStatus.STORED}


def test_what_is_young_is_left(each_store):
    lose_bytes(make_stored(DATA))
    put()
    assert found() == []


def test_what_is_about_to_be_stored_or_removed_is_left():
    finishing = make_session(DATA)
    send_parts(finishing, DATA)
    finish(finishing, len(DATA))
    deleted = make_stored(DATA)
    lifecycle.remove_file(file_id=deleted.id, actor=mending.PORTAL)
    make_all_old()

    assert found() == []

    finishing.file.refresh_from_db()
    assert finishing.file.status == FileStatus.UPLOADING


def test_what_somebody_writes_is_not_removed():
    session = make_session(DATA)
    IngestFile.objects.filter(id=session.file_id).delete()
    make_all_old()
    with held(session, offset=0, size_bytes=10):
        assert check("--fix")[0] == 1
    assert spool_path(session).exists()
    make_all_old()
    assert check("--fix")[0] == 0
    assert not spool_path(session).exists()


def test_an_upload_whose_bytes_are_lost_fails():
    session = make_session(DATA)
    spool_path(session).unlink()
    put()
    make_all_old()

    assert ("upload_without_bytes", session.spool_key) in found()
    check("--fix")

    session.refresh_from_db()
    assert (session.status, session.error_code) == (SessionStatus.FAILED, "bytes_lost")
    assert usage_of(session.created_by_id).open_sessions == 0


def test_what_changes_after_it_was_seen_is_not_mended():
    session, orphan = make_session(DATA), make_stored(DATA)
    lost = lose_bytes(make_stored(DATA))
    make_all_old()
    store = storage_for_new()
    seen = list(Walk(store).files())
    IngestFile.objects.filter(id=lost.id).update(updated_at=timezone.now())

    assert [mending.mend(store, each) for each in seen] == [False]

    IngestFile.objects.filter(id=orphan.id).update(status=FileStatus.FAILED, purged_at=None)
    (seen_orphan,) = [e for e in Walk(store).files() if e.key == orphan.storage_key]
    IngestFile.objects.filter(id=orphan.id).update(status=FileStatus.STORED)
    assert not mending.mend(store, seen_orphan)
    assert spool_path(session).exists()


def test_a_storage_that_is_not_mounted_loses_nothing():
    file = lose_bytes(make_stored(DATA))
    make_all_old()
    with pytest.raises(Conflict, match="mounted"):
        CliRunner().invoke(command, ["check", "--fix"], catch_exceptions=False)
    file.refresh_from_db()
    assert file.status == FileStatus.STORED


@pytest.mark.usefixtures("each_store", "all_is_old")
def test_a_walk_in_pages_and_slices_sees_all(monkeypatch):
    monkeypatch.setattr(walking, "PAGE", 2)
    monkeypatch.setattr(local_objects, "_LISTED", 3)
    files = [make_stored(DATA) for _ in range(6)]
    orphans = [put() for _ in range(3)]
    for file in files[::2]:
        lose_bytes(file)
    expected = [("bytes_without_row", each.key) for each in orphans]
    expected += [("row_without_bytes", each.storage_key) for each in files[::2]]

    whole = Walk(storage_for_new())
    seen = list(whole.files())
    sliced, walk = [], Walk(storage_for_new())
    for _ in range(5):
        sliced += walk.files(most=2)

    assert [(each.kind.value, each.key) for each in seen] == sorted(
        expected, key=lambda each: each[1]
    )
    assert (sliced, walk.position, walk.tally) == (seen, "", whole.tally)
    assert (walk.tally.objects, walk.tally.rows) == (6, 6)


def test_the_portal_checks_itself_in_slices_and_reports(monkeypatch, caplog):
    monkeypatch.setattr(rounds, "SLICE", 2)
    file = lose_bytes(make_stored(DATA))
    orphans = [put() for _ in range(2)]
    make_all_old()

    for _ in range(4):
        tasks.check_storage()

    (done,) = rounds.latest()
    assert (done.backend, done.objects_seen, done.rows_seen) == ("local", 2, 1)
    assert done.findings == {"bytes_without_row": 2, "row_without_bytes": 1}
    assert {each.key in str(done.examples) for each in orphans} == {True}
    assert "2 bytes_without_row, 1 row_without_bytes" in caplog.text
    file.refresh_from_db()
    assert file.status == FileStatus.STORED  # it only tells
    assert StorageCheck.objects.count() == 1  # the next one is due in a day


def test_two_workers_with_one_slice_count_it_once(monkeypatch):
    monkeypatch.setattr(rounds, "SLICE", 2)
    for _ in range(3):
        make_stored(DATA)
    first = rounds._under_way("local")
    again = StorageCheck.objects.get(id=first.id)
    rounds._slice_of(first)
    rounds._slice_of(again)
    assert StorageCheck.objects.get().rows_seen == 2


def test_checks_can_be_switched_off(settings):
    settings.PORTAL_STORAGE_CHECK_HOURS = 0
    assert tasks.check_storage() == 0
    assert not StorageCheck.objects.exists()


def test_the_command_says_what_can_be_done():
    put()
    make_all_old()
    result = CliRunner().invoke(command, ["check"])
    assert "With --fix, 1 can be fixed" in result.stdout
    CliRunner().invoke(command, ["check", "--fix"])
    assert "They agree" in CliRunner().invoke(command, ["check"]).stdout
