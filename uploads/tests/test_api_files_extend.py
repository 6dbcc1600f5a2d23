"""POST /api/v1/files/{id}/extend"""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from uploads.models import IngestFile
from uploads.tests.factories import FILES, assert_problem


def extend(api, file, expires_at):
    value = expires_at.isoformat() if isinstance(expires_at, datetime) else expires_at
    return api.post(f"{FILES}/{file['id']}/extend", {"expires_at": value})


def test_a_file_is_kept_longer(api):
    file = api.upload()
    later = timezone.now() + timedelta(days=3)
    reply = extend(api, file, later)
    assert reply.status_code == 200
    assert abs(datetime.fromisoformat(reply.json()["expires_at"]) - later) < timedelta(seconds=1)
    assert IngestFile.objects.get().expires_at == later


def test_an_earlier_time_is_refused(api):
    file = api.upload()
    reply = extend(api, file, timezone.now() + timedelta(minutes=1))
    assert_problem(reply, 400, "invalid_expiry")
    assert api.get(f"{FILES}/{file['id']}").json() == file


def test_the_same_time_again_changes_nothing(api):
    file = api.upload()
    reply = extend(api, file, datetime.fromisoformat(file["expires_at"]))
    assert (reply.status_code, reply.json()) == (200, file)


def test_no_file_is_kept_longer_than_the_maximum(api, settings):
    settings.PORTAL_MAX_TTL_HOURS = 48
    file = api.upload()
    stored = datetime.fromisoformat(file["stored_at"])
    problem = assert_problem(
        extend(api, file, stored + timedelta(hours=48, seconds=1)), 400, "invalid_expiry"
    )
    assert abs(
        datetime.fromisoformat(problem["latest"]) - stored - timedelta(hours=48)
    ) < timedelta(seconds=1)
    assert extend(api, file, stored + timedelta(hours=47)).status_code == 200


@pytest.mark.parametrize(
    "value", ["2020-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
def test_a_time_outside_what_is_possible_is_refused(api, value):
    assert_problem(extend(api, api.upload(), value), 400, "invalid_expiry")


@pytest.mark.parametrize(
    "value",
    ["2099-01-01T00:00:00", "tomorrow", "", None, [], "2099-01-01", 4_070_908_800, "4070908800", 0],
)
def test_what_is_no_time_with_a_zone_is_refused(api, value):
    assert_problem(extend(api, api.upload(), value), 400, "invalid_request")


def test_an_extended_file_is_announced_as_expiring_again(api):
    file = api.upload()
    IngestFile.objects.update(expiry_notified_at=timezone.now())
    extend(api, file, timezone.now() + timedelta(days=3))
    assert IngestFile.objects.get().expiry_notified_at is None


def test_only_a_stored_file_can_be_extended(api):
    later = timezone.now() + timedelta(days=3)
    session = api.create_session().json()
    assert_problem(extend(api, {"id": session["file_id"]}, later), 409, "file_not_stored")
    file = api.upload()
    api.post(f"{FILES}/{file['id']}/consume")
    assert_problem(extend(api, file, later), 409, "already_consumed")
    api.delete(f"{FILES}/{file['id']}")
    assert_problem(extend(api, file, later), 410, "file_deleted")


def test_an_expired_file_does_not_come_back(api):
    file = api.upload()
    IngestFile.objects.update(expires_at=timezone.now())
    reply = extend(api, file, timezone.now() + timedelta(days=1))
    assert_problem(reply, 410, "file_deleted")


def test_another_users_file_does_not_exist(api, other):
    reply = extend(other, api.upload(), timezone.now() + timedelta(days=1))
    assert_problem(reply, 404, "file_not_found")
