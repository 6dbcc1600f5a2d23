"""Quotas: what an account may take up, exact however many requests come at once."""

import pytest

from accounts.models import User
from accounts.tests.factories import PASSWORD, make_user, principal_of
from common.errors import Conflict, InsufficientStorage, TooManyRequests
from common.tests.threads import results_and_errors
from uploads.files import grants, lifecycle
from uploads.files.limits import Limits, limits_of
from uploads.files.usage import Usage, recount, usage_of
from uploads.models import AccountLimits
from uploads.receiving import sessions
from uploads.receiving.appending import declare_length
from uploads.receiving.one_request import store_in_one_request
from uploads.receiving.requests import UploadRequest
from uploads.tests.factories import make_grant, make_session, make_stored, on_disk
from uploads.tests.workflow_factories import make_completed

pytestmark = pytest.mark.django_db


def store(principal, data: bytes = b"12345", **values):
    request = UploadRequest(filename="a.txt", size_bytes=len(data), **values)
    return store_in_one_request(
        principal=principal, request=request, blocks=iter([memoryview(data)])
    )


def begin(principal, size: int = 5):
    request = UploadRequest(filename="a.txt", size_bytes=size)
    return sessions.create_session(principal=principal, request=request)[0]


@pytest.fixture
def principal():
    return principal_of(make_user())


def limit(principal, **values: int) -> None:
    AccountLimits.objects.update_or_create(owner=principal.owner, defaults=values)


def test_bytes_are_refused_beyond_the_quota_and_taken_again_once_there_is_room(principal, settings):
    settings.PORTAL_QUOTA_BYTES = 12
    first = store(principal)
    store(principal)
    with pytest.raises(InsufficientStorage) as caught:
        store(principal)
    assert caught.value.code == "quota_bytes"
    assert "12 bytes" in caught.value.message
    assert caught.value.extra == {"limit": 12, "used": 10}
    assert len(on_disk()) == 2
    lifecycle.delete_file(principal=principal, file_id=first.id)
    store(principal)
    assert usage_of(principal.owner.id) == Usage(10, files=2)


def test_a_session_is_refused_before_space_is_set_aside(principal, settings):
    settings.PORTAL_QUOTA_BYTES = 12
    begin(principal, 8)
    with pytest.raises(InsufficientStorage) as caught:
        begin(principal, 5)
    assert caught.value.code == "quota_bytes"
    assert len(on_disk()) == 1


def test_files_are_counted(principal, settings):
    settings.PORTAL_QUOTA_FILES = 2
    store(principal)
    begin(principal)
    for another in (store, begin):
        with pytest.raises(InsufficientStorage) as caught:
            another(principal)
        assert caught.value.code == "quota_files"


def test_open_uploads_are_counted_and_may_be_tried_again(principal, settings):
    settings.PORTAL_QUOTA_UPLOADS = 1
    session = begin(principal)
    with pytest.raises(TooManyRequests) as caught:
        begin(principal)
    assert (caught.value.code, caught.value.retry_after) == ("quota_uploads", 60)
    store(principal)  # is no upload under way
    sessions.abort_session(principal=principal, session_id=session.id)
    begin(principal)


def test_an_account_may_have_more_or_less_than_the_settings_say(principal, settings):
    settings.PORTAL_QUOTA_BYTES = 5
    settings.PORTAL_QUOTA_FILES = 1
    limit(principal, size_bytes=0, files=3)
    for _ in range(3):
        store(principal, b"1234567")
    with pytest.raises(InsufficientStorage) as caught:
        store(principal)
    assert caught.value.code == "quota_files"
    limit(principal, files=1)
    with pytest.raises(InsufficientStorage):
        store(principal)
    assert usage_of(principal.owner.id).files == 3  # what is there stays


def test_a_quota_is_of_one_account(principal, settings):
    settings.PORTAL_QUOTA_FILES = 1
    store(principal)
    store(principal_of(make_user()))


def test_a_length_that_is_told_late_is_held_to_the_quota(principal, settings):
    settings.PORTAL_QUOTA_BYTES = 4
    session = make_session(user=principal.owner, part_order="appended", size_bytes=None)
    with pytest.raises(InsufficientStorage) as caught:
        declare_length(principal=principal, session_id=session.id, length_bytes=5)
    assert caught.value.code == "quota_bytes"
    declare_length(principal=principal, session_id=session.id, length_bytes=4)


def test_a_guest_is_told_nothing_of_the_accounts_usage(principal, settings):

    settings.PORTAL_QUOTA_BYTES = 6
    guest = grants.principal_of(make_grant(user=principal.owner)[0])
    store(guest)
    with pytest.raises(InsufficientStorage) as caught:
        store(guest)
    assert (caught.value.code, caught.value.extra) == ("quota_of_owner", {})


@pytest.mark.usefixtures("no_run_kicks")
def test_results_of_workflows_are_charged_and_never_refused(settings):
    settings.PORTAL_QUOTA_FILES = 1
    run = make_completed(result=b"a result")
    assert usage_of(run.owner_id).files == 2
    with pytest.raises(InsufficientStorage):
        make_stored(user=run.owner)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("begins", [store, begin])
def test_quotas_are_exact_when_many_begin_at_once(principal, settings, begins):
    settings.PORTAL_QUOTA_FILES = 5
    outcomes = results_and_errors([lambda: begins(principal)] * 12)
    refused = [each for each in outcomes if isinstance(each, Exception)]
    assert len(refused) == 7
    assert {getattr(each, "code", repr(each)) for each in refused} == {"quota_files"}
    assert usage_of(principal.owner.id) == recount(principal.owner.id)
    assert usage_of(principal.owner.id).files == 5
    assert len(on_disk()) == 5


@pytest.mark.django_db(transaction=True)
def test_the_same_key_at_both_doors_at_once_locks_nobody_out(principal, settings):
    settings.PORTAL_QUOTA_FILES = 100
    request = UploadRequest(filename="a", size_bytes=5, idempotency_key="k")

    def by_session():
        return sessions.create_session(principal=principal, request=request)

    def by_one_request():
        return store_in_one_request(
            principal=principal, request=request, blocks=iter([memoryview(b"12345")])
        )

    outcomes = results_and_errors([by_session, by_one_request] * 2)
    errors = [each for each in outcomes if isinstance(each, Exception)]
    assert all(isinstance(error, Conflict) for error in errors), errors
    assert usage_of(principal.owner.id) == recount(principal.owner.id)


def test_the_api_tells_use_and_limits(api, settings):
    settings.PORTAL_QUOTA_BYTES = 100
    limit(api.principal, open_sessions=7)
    make_stored(b"12345", user=api.user)
    make_session(b"123", user=api.user)
    answer = api.get("/api/v1/usage")
    assert answer.status_code == 200
    assert answer.json() == {
        "bytes": {"used": 8, "limit": 100},
        "files": {"used": 2, "limit": None},
        "uploads_under_way": {"used": 1, "limit": 7},
    }


def test_the_api_names_the_limit(api, settings):
    settings.PORTAL_QUOTA_BYTES = 3
    answer = api.http.post(
        "/api/v1/files?filename=a.txt", b"12345", content_type="application/octet-stream"
    )
    assert answer.status_code == 507
    problem = answer.json()
    assert (problem["code"], problem["limit"], problem["used"]) == ("quota_bytes", 3, 0)


def test_administrators_give_an_account_limits_of_its_own(client, db):
    client.force_login(User.objects.create_superuser("staff@example.org", PASSWORD))
    user = make_user()
    added = client.post(
        "/admin/uploads/accountlimits/add/", {"owner": user.pk, "files": "3", "size_bytes": ""}
    )
    assert added.status_code == 302
    assert limits_of(user.pk) == Limits(None, 3, None)
    page = client.get(f"/admin/uploads/accountlimits/{user.pk}/change/").content.decode()
    assert "0 bytes in 0 files" in page
    assert user.email in client.get("/admin/uploads/accountlimits/").content.decode()
