"""DELETE /api/v1/files/{id}"""

from urllib.parse import urlsplit

from django.test import Client

from uploads.files import retention
from uploads.models import IngestFile
from uploads.tests.factories import FILES, assert_problem, events, on_disk


def test_a_deleted_file_leaves_a_tombstone_and_its_bytes_go(api):
    file = api.upload()
    reply = api.delete(f"{FILES}/{file['id']}")
    assert (reply.status_code, reply.content) == (204, b"")
    tombstone = api.get(f"{FILES}/{file['id']}").json()
    assert (tombstone["status"], tombstone["sha256"]) == ("deleted", file["sha256"])
    assert tombstone["deleted_at"]
    retention.purge_files()
    assert on_disk() == set()
    assert [event.event_type for event in events()] == ["file.uploaded", "file.deleted"]


def test_deleting_again_is_harmless(api):
    file = api.upload()
    assert [api.delete(f"{FILES}/{file['id']}").status_code for _ in range(3)] == [204] * 3
    assert len(events("file.deleted")) == 1


def test_deleting_a_file_under_way_aborts_its_upload(api):
    session = api.create_session().json()
    assert api.delete(f"{FILES}/{session['file_id']}").status_code == 204
    assert on_disk() == set()
    assert api.get_session(session["session_id"]).json()["status"] == "aborted"
    assert [event.event_type for event in events()] == ["file.failed"]
    assert api.delete(f"{FILES}/{session['file_id']}").status_code == 204


def test_deleting_a_consumed_file_takes_the_bytes_from_its_consumer(api):
    file = api.upload()
    taken = api.post(f"{FILES}/{file['id']}/consume").json()
    api.delete(f"{FILES}/{file['id']}")
    assert_problem(Client().get(urlsplit(taken["claim_url"]).path), 410, "file_purged")
    retention.purge_files()
    assert on_disk() == set()


def test_another_users_file_does_not_exist(api, other):
    file = api.upload()
    assert_problem(other.delete(f"{FILES}/{file['id']}"), 404, "file_not_found")
    assert IngestFile.objects.get().status == "stored"
