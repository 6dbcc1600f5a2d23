"""POST /api/v1/files/{id}/consume"""

from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from common.tests.threads import at_once
from uploads.files import retention
from uploads.models import IngestFile
from uploads.tests.factories import FILES, Api, assert_problem, body, events, on_disk

DATA = b"0123456789ABCDE"


def consume(api, file):
    return api.post(f"{FILES}/{file['id']}/consume")


def test_the_consumer_gets_the_file_and_a_private_link_to_its_bytes(api, settings):
    settings.PORTAL_CONSUME_GRACE_SECONDS = 60
    reply = consume(api, api.upload(DATA))
    assert reply.status_code == 200
    taken = reply.json()
    assert (taken["status"], taken["processed_at"] is not None) == ("processed", True)
    grace = datetime.fromisoformat(taken["claim_expires_at"]) - datetime.fromisoformat(
        taken["processed_at"]
    )
    assert grace == timedelta(seconds=60)
    assert taken["claim_url"].startswith(settings.PUBLIC_URL)
    link = Client().get(urlsplit(taken["claim_url"]).path)
    assert (link.status_code, body(link)) == (200, DATA)
    (event,) = events("file.processed")
    assert event.payload["file"]["id"] == taken["id"]
    assert "/c/" not in str(event.payload)


@pytest.mark.django_db(transaction=True)
def test_exactly_one_of_sixteen_callers_gets_the_file():
    api = Api()
    file = api.upload(DATA)
    replies = at_once([partial(consume, Api(api.user), file) for _ in range(16)])
    codes = sorted(reply.status_code for reply in replies)
    assert codes == [200] + [409] * 15
    assert {r.json()["code"] for r in replies if r.status_code == 409} == {"already_consumed"}
    assert len(events("file.processed")) == 1


def test_the_bytes_go_after_the_grace_time_and_the_record_stays(api):
    taken = consume(api, api.upload(DATA)).json()
    assert retention.purge_files() == 0
    assert len(on_disk()) == 1
    IngestFile.objects.update(purge_at=timezone.now())
    assert retention.purge_files() == 1
    assert on_disk() == set()
    assert_problem(Client().get(urlsplit(taken["claim_url"]).path), 410, "file_purged")
    assert api.get(f"{FILES}/{taken['id']}").json()["status"] == "processed"


def test_the_claim_link_ends_with_the_grace_time_even_before_the_sweep(api):
    taken = consume(api, api.upload(DATA)).json()
    IngestFile.objects.update(purge_at=timezone.now())
    assert_problem(Client().get(urlsplit(taken["claim_url"]).path), 410, "file_purged")


def test_a_file_under_way_cannot_be_consumed(api):
    session = api.create_session().json()
    reply = consume(api, {"id": session["file_id"]})
    assert_problem(reply, 409, "file_not_stored")


def test_a_failed_file_cannot_be_consumed(api):
    session = api.create_session().json()
    api.abort(session["session_id"])
    assert_problem(consume(api, {"id": session["file_id"]}), 410, "file_failed")


def test_a_deleted_file_cannot_be_consumed(api):
    file = api.upload(DATA)
    api.delete(f"{FILES}/{file['id']}")
    assert_problem(consume(api, file), 410, "file_deleted")


def test_an_expired_file_cannot_be_consumed_even_before_the_sweep(api):
    file = api.upload(DATA)
    IngestFile.objects.update(expires_at=timezone.now())
    assert_problem(consume(api, file), 410, "file_deleted")
    assert not events("file.processed")


def test_another_users_file_does_not_exist(api, other):
    assert_problem(consume(other, api.upload(DATA)), 404, "file_not_found")


def test_a_runner_with_access_to_all_files_may_consume_one(api):
    runner = Api()
    runner.user.user_permissions.add(Permission.objects.get(codename="access_all_files"))
    assert consume(runner, api.upload(DATA)).status_code == 200
    assert events("file.processed")[0].payload["actor"]["email"] == api.user.email
