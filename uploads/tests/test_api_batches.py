"""/api/v1/batches"""

import json
from functools import partial

import pytest

from common.tests.threads import at_once
from uploads.models import IngestFile, UploadBatch
from uploads.tests.factories import BATCHES, Api, assert_problem, events, on_disk

DATA = b"0123456789ABCDE"


def ready(api, batch, **values):
    """A session of the batch that can be finalized."""
    session = api.session_of(DATA, batch_id=batch["id"], **values)
    api.put_all(session, DATA)
    return session["session_id"]


def state(api, batch) -> tuple:
    now = api.get(f"{BATCHES}/{batch['id']}").json()
    return now["status"], now["total_files"], now["stored_count"], now["failed_count"]


def test_a_new_batch_is_empty_and_open(api):
    batch = api.create_batch(name="Scans vom März")
    assert batch == {
        "id": str(UploadBatch.objects.get().id),
        "name": "Scans vom März",
        "status": "init",
        "total_files": 0,
        "stored_count": 0,
        "failed_count": 0,
        "expected_files": None,
        "created_at": batch["created_at"],
        "closed_at": None,
    }
    assert api.create_batch()["name"] == ""


@pytest.mark.parametrize("name", ["a" * 256, "ä" * 128, "nul\x00", "line\n"])
def test_a_name_that_is_none_is_refused(api, name):
    assert_problem(api.post(BATCHES, {"name": name}), 400, "invalid_name")


@pytest.mark.parametrize("value", [1, [], {}])
def test_a_name_that_is_no_text_is_refused(api, value):
    assert_problem(api.post(BATCHES, {"name": value}), 400, "invalid_request")


def test_a_batch_counts_its_files(api):
    batch = api.create_batch()
    api.upload(DATA, batch_id=batch["id"])
    assert state(api, batch) == ("in_progress", 1, 1, 0)
    session = api.create_session(batch_id=batch["id"]).json()
    assert state(api, batch) == ("in_progress", 2, 1, 0)
    api.abort(session["session_id"])
    assert state(api, batch) == ("in_progress", 2, 1, 1)
    assert events("batch.completed") == []


def test_a_closed_batch_with_every_file_stored_is_complete(api):
    batch = api.create_batch(name="b")
    file = api.upload(DATA, batch_id=batch["id"])
    closed = api.close_batch(batch["id"])
    assert (closed.status_code, closed.json()["status"]) == (200, "complete")
    assert closed.json()["closed_at"]
    (event,) = events("batch.completed")
    assert event.payload == {
        "batch": {
            "id": batch["id"],
            "name": "b",
            "status": "complete",
            "total_files": 1,
            "stored_count": 1,
            "failed_count": 0,
        },
        "actor": api.as_actor(),
    }
    assert file["batch_id"] == batch["id"]


def test_a_batch_closed_early_completes_with_its_last_file(api):
    batch = api.create_batch()
    sessions = [ready(api, batch) for _ in range(2)]
    assert api.close_batch(batch["id"]).json()["status"] == "in_progress"
    api.finalize(sessions[0])
    assert events("batch.completed") == []
    api.finalize(sessions[1])
    assert state(api, batch) == ("complete", 2, 2, 0)
    assert len(events("batch.completed")) == 1


def test_a_batch_with_some_failed_files_is_partial(api):
    batch = api.create_batch()
    api.finalize(ready(api, batch))
    assert api.finalize(ready(api, batch, sha256="0" * 64)).status_code == 422
    api.close_batch(batch["id"])
    assert state(api, batch) == ("partial", 2, 1, 1)
    assert events("batch.completed")[0].payload["batch"]["status"] == "partial"


def test_a_batch_with_only_failed_files_has_failed(api):
    batch = api.create_batch()
    session = api.create_session(batch_id=batch["id"]).json()
    api.close_batch(batch["id"])
    api.abort(session["session_id"])
    assert state(api, batch) == ("failed", 1, 0, 1)
    assert events("batch.completed")[0].payload["batch"]["status"] == "failed"


def test_an_empty_batch_is_complete_when_closed(api):
    batch = api.create_batch()
    assert api.close_batch(batch["id"]).json()["status"] == "complete"
    assert len(events("batch.completed")) == 1


def test_closing_again_changes_nothing(api):
    batch = api.create_batch()
    api.upload(DATA, batch_id=batch["id"])
    first = api.close_batch(batch["id"]).json()
    assert api.close_batch(batch["id"]).json() == first
    assert len(events("batch.completed")) == 1


def test_deleting_or_consuming_a_file_does_not_change_what_was_counted(api):
    batch = api.create_batch()
    files = [api.upload(DATA, batch_id=batch["id"]) for _ in range(2)]
    api.close_batch(batch["id"])
    api.delete(f"/api/v1/files/{files[0]['id']}")
    api.post(f"/api/v1/files/{files[1]['id']}/consume")
    assert state(api, batch) == ("complete", 2, 2, 0)
    assert len(events("batch.completed")) == 1


@pytest.mark.django_db(transaction=True)
def test_the_counters_are_exact_when_sixteen_files_finish_at_once():
    """Half are stored, half fail, and the batch is closed in the middle of it."""
    api = Api()
    batch = api.create_batch()
    good = [ready(api, batch) for _ in range(8)]
    bad = [ready(api, batch, sha256="0" * 64) for _ in range(8)]
    clients = [Api(api.user) for _ in range(17)]
    replies = at_once(
        [
            *(partial(c.finalize, s) for c, s in zip(clients, good + bad, strict=False)),
            partial(clients[16].close_batch, batch["id"]),
        ]
    )
    codes = [reply.status_code for reply in replies]
    assert codes == [200] * 8 + [422] * 8 + [200]
    assert state(api, batch) == ("partial", 16, 8, 8)
    assert len(events("batch.completed")) == 1


@pytest.mark.django_db(transaction=True)
def test_no_file_slips_into_a_batch_while_it_is_closed():
    api = Api()
    batch = api.create_batch()
    clients = [Api(api.user) for _ in range(12)]
    replies = at_once(
        [
            *(partial(c.create_session, size_bytes=0, batch_id=batch["id"]) for c in clients[:11]),
            partial(clients[11].close_batch, batch["id"]),
        ]
    )
    made = [reply for reply in replies[:11] if reply.status_code == 201]
    assert {reply.status_code for reply in replies[:11]} <= {201, 409}
    assert UploadBatch.objects.get().total_files == len(made)
    for reply in made:
        api.finalize(reply.json()["session_id"])
    assert state(api, batch) == ("complete", len(made), len(made), 0)
    assert len(events("batch.completed")) == 1


@pytest.mark.django_db(transaction=True)
def test_no_file_that_comes_in_one_request_slips_into_a_batch_while_it_is_closed():
    api = Api()
    batch = api.create_batch()
    clients = [Api(api.user) for _ in range(12)]
    replies = at_once(
        [
            *(partial(c.post_raw, DATA, filename="a", batch_id=batch["id"]) for c in clients[:11]),
            partial(clients[11].close_batch, batch["id"]),
        ]
    )
    made = [reply for reply in replies[:11] if reply.status_code == 201]
    assert {reply.status_code for reply in replies[:11]} <= {201, 409}
    assert state(api, batch) == ("complete", len(made), len(made), 0)
    assert IngestFile.objects.count() == len(made)
    assert len(events("batch.completed")) == 1
    assert len(events("file.uploaded")) == len(made)
    assert len(on_disk()) == len(made)


def test_the_files_of_a_batch_come_in_pages(api):
    batch = api.create_batch()
    ids = [api.upload(DATA, batch_id=batch["id"])["id"] for _ in range(5)]
    api.upload(DATA)
    first = api.get(f"{BATCHES}/{batch['id']}/files", limit=3).json()
    rest = api.get(f"{BATCHES}/{batch['id']}/files", limit=3, cursor=first["next_cursor"]).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None
    reply = api.get(f"{BATCHES}/{batch['id']}/files", cursor="x")
    assert_problem(reply, 400, "invalid_cursor")


def test_batches_are_listed_newest_first(api, other):
    ids = [api.create_batch(name=str(number))["id"] for number in range(3)]
    other.create_batch()
    first = api.get(BATCHES, limit=2).json()
    rest = api.get(BATCHES, limit=2, cursor=first["next_cursor"]).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ids[::-1]


def test_another_users_batch_does_not_exist(api, other):
    batch = api.create_batch()
    assert_problem(other.get(f"{BATCHES}/{batch['id']}"), 404, "batch_not_found")
    assert_problem(other.get(f"{BATCHES}/{batch['id']}/files"), 404, "batch_not_found")
    assert_problem(other.close_batch(batch["id"]), 404, "batch_not_found")
    assert UploadBatch.objects.get().closed_at is None


@pytest.mark.parametrize("body", [None, [], "name", 5, False, {"title": "x"}])
def test_a_batch_is_asked_for_with_an_object_of_known_members(api, body):
    reply = api.http.post(BATCHES, json.dumps(body), content_type="application/json")
    assert_problem(reply, 400, "invalid_request")
    assert not UploadBatch.objects.exists()


def test_expected_files_that_never_came_count_as_failed(api):
    batch = api.create_batch(expected_files=10)
    for _ in range(6):
        api.upload(DATA, batch_id=batch["id"])
    assert state(api, batch) == ("in_progress", 6, 6, 0)
    assert api.close_batch(batch["id"]).json()["status"] == "partial"
    assert state(api, batch) == ("partial", 10, 6, 4)
    payload = events("batch.completed")[0].payload["batch"]
    assert (payload["total_files"], payload["failed_count"]) == (10, 4)


def test_more_files_than_expected_are_no_fault(api):
    batch = api.create_batch(expected_files=1)
    for _ in range(2):
        api.upload(DATA, batch_id=batch["id"])
    api.close_batch(batch["id"])
    assert state(api, batch) == ("complete", 2, 2, 0)


def test_a_batch_that_no_expected_file_came_to_has_failed(api):
    batch = api.create_batch(expected_files=2)
    api.close_batch(batch["id"])
    assert state(api, batch) == ("failed", 2, 0, 2)


def test_who_closes_may_know_better_how_many_are_expected(api):
    batch = api.create_batch(expected_files=3)
    api.upload(DATA, batch_id=batch["id"])
    api.post(f"{BATCHES}/{batch['id']}/close?expected_files=1")
    assert state(api, batch) == ("complete", 1, 1, 0)
    api.post(f"{BATCHES}/{batch['id']}/close?expected_files=9")  # closed already
    assert state(api, batch) == ("complete", 1, 1, 0)
    assert UploadBatch.objects.get().expected_files == 1


def test_expected_files_under_way_when_it_is_closed_are_waited_for(api):
    batch = api.create_batch(expected_files=3)
    session = ready(api, batch)
    api.close_batch(batch["id"])
    assert state(api, batch) == ("in_progress", 3, 0, 2)
    api.finalize(session)
    assert state(api, batch) == ("partial", 3, 1, 2)


@pytest.mark.parametrize("count", [-1, 2**31])
def test_a_number_of_files_that_cannot_be_is_refused(api, count):
    reply = api.post(BATCHES, {"expected_files": count})
    assert_problem(reply, 400, "invalid_expected_files")
    batch = api.create_batch()
    reply = api.post(f"{BATCHES}/{batch['id']}/close?expected_files={count}")
    assert_problem(reply, 400, "invalid_expected_files")
    assert UploadBatch.objects.get().closed_at is None
