"""What a guest may do over the API, and what it never sees."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import TokenScope
from accounts.tests.factories import make_user, principal_of
from common.ids import uuid7
from uploads.files import batches, grants
from uploads.models import IngestFile, UploadBatch, UploadGrant
from uploads.receiving import abandoned
from uploads.tests.factories import (
    BATCHES,
    FILES,
    SESSIONS,
    Api,
    Guest,
    assert_problem,
    body,
    make_stored,
    on_disk,
)

pytestmark = pytest.mark.django_db(transaction=True)

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
    + bytes(20)
)
ALL = tuple(scope.value for scope in UploadGrant.SCOPES)


def test_what_a_guest_sends_is_the_owners():
    guest = Guest()
    owner = Api(guest.user)

    file = guest.upload(b"0123456789ABCDE")

    row = IngestFile.objects.get()
    assert (row.uploaded_by, row.grant) == (guest.user, guest.grant)
    assert [each["id"] for each in owner.get(FILES).json()["items"]] == [file["id"]]
    assert body(owner.get(f"{FILES}/{file['id']}/content")) == b"0123456789ABCDE"
    assert guest.begun() == (1, 15)


def test_a_small_file_in_one_request_counts_as_well():
    guest = Guest()

    assert guest.post_raw(b"hello", filename="a.txt").status_code == 201
    assert guest.begun() == (1, 5)


def test_a_guest_that_may_only_send_asks_what_became_of_it_and_reads_and_removes_nothing():
    guest = Guest()
    file = guest.upload()

    assert guest.get(f"{FILES}/{file['id']}").json()["status"] == "stored"
    for refused in (
        guest.get(FILES),
        guest.get(f"{FILES}/{file['id']}/content"),
        guest.delete(f"{FILES}/{file['id']}"),
        guest.post(f"{FILES}/{file['id']}/consume"),
    ):
        problem = assert_problem(refused, 403, "scope_missing")
        assert "upload link" in problem["detail"]


def test_a_guest_with_all_scopes_reads_and_removes_its_own():
    guest = Guest(scopes=ALL)
    first, second = guest.upload(b"one"), guest.upload(b"two")

    assert {each["id"] for each in guest.get(FILES).json()["items"]} == {first["id"], second["id"]}
    assert body(guest.get(f"{FILES}/{first['id']}/content")) == b"one"
    assert guest.post(f"{FILES}/{first['id']}/consume").status_code == 200
    assert guest.delete(f"{FILES}/{second['id']}").status_code == 204


def test_a_guest_sees_nothing_that_came_another_way():
    guest = Guest(scopes=ALL)
    owner, neighbour = Api(guest.user), Guest(guest.user, scopes=ALL)
    sessions = [
        sender.session_of(b"0123456789")["session_id"] for sender in (owner, neighbour, Api())
    ]
    files = [owner.upload()["id"], neighbour.upload()["id"], make_stored().id]

    assert guest.get(FILES).json()["items"] == []
    for file in files:
        for answer in (
            guest.get(f"{FILES}/{file}"),
            guest.get(f"{FILES}/{file}/content"),
            guest.delete(f"{FILES}/{file}"),
            guest.post(f"{FILES}/{file}/consume"),
        ):
            assert_problem(answer, 404, "file_not_found")
    for session in sessions:
        for answer in (
            guest.get_session(session),
            guest.put_part(session, 1, b"0123456789"),
            guest.finalize(session),
            guest.abort(session),
        ):
            assert_problem(answer, 404, "session_not_found")
    assert owner.get_session(sessions[0]).json()["received_parts"] == ""


def test_the_guest_of_an_administrator_reaches_no_more():
    guest = Guest(make_user(is_staff=True), scopes=ALL)

    assert_problem(guest.get(f"{FILES}/{make_stored().id}"), 404, "file_not_found")
    assert_problem(guest.get("/api/v1/events"), 403, "scope_missing")
    assert_problem(guest.get("/api/v1/runs"), 403, "scope_missing")


def test_the_owner_sees_and_ends_what_a_guest_is_sending():
    guest = Guest()
    owner = Api(guest.user)
    session = guest.session_of(b"0123456789")["session_id"]

    assert owner.get_session(session).status_code == 200
    assert owner.abort(session).status_code == 204
    assert guest.begun() == (0, 0)


# --- Batches -------------------------------------------------------------------------------------


def test_what_is_sent_joins_the_batch_of_the_grant():
    user = make_user()
    batch = batches.create_batch(principal=principal_of(user))
    guest = Guest(user, batch_id=batch.id)

    unnamed = guest.upload()
    named = guest.upload(batch_id=str(batch.id))

    assert {unnamed["batch_id"], named["batch_id"]} == {str(batch.id)}
    assert UploadBatch.objects.get(id=batch.id).stored_count == 2


def test_a_guest_names_no_other_batch():
    guest = Guest()
    others = batches.create_batch(principal=principal_of(guest.user))

    assert_problem(guest.create_session(batch_id=str(others.id)), 404, "batch_not_found")
    assert guest.begun() == (0, 0)
    assert UploadBatch.objects.get(id=others.id).total_files == 0


def test_batches_are_the_owners():
    user = make_user()
    batch = batches.create_batch(principal=principal_of(user))
    guest = Guest(user, scopes=ALL, batch_id=batch.id)

    assert_problem(guest.post(BATCHES, {"name": "mine"}), 403, "batch_by_guest")
    assert guest.get(BATCHES).json()["items"] == []
    for answer in (
        guest.get(f"{BATCHES}/{batch.id}"),
        guest.get(f"{BATCHES}/{batch.id}/files"),
        guest.close_batch(str(batch.id)),
    ):
        assert_problem(answer, 404, "batch_not_found")


def test_a_closed_batch_takes_nothing_and_counts_nothing():
    user = make_user()
    batch = batches.create_batch(principal=principal_of(user))
    guest = Guest(user, batch_id=batch.id)
    batches.close_batch(principal=principal_of(user), batch_id=batch.id)

    assert_problem(guest.create_session(), 409, "batch_closed")
    assert guest.begun() == (0, 0)
    assert on_disk() == set()


# --- Limits --------------------------------------------------------------------------------------


def test_no_more_files_than_granted():
    guest = Guest(max_files=2)
    guest.upload(b"one")
    guest.upload(b"two")

    problem = assert_problem(guest.create_session(), 409, "grant_files_used_up")

    assert problem["max_files"] == 2
    assert "Ask whoever gave it to you" in problem["detail"]
    assert guest.begun() == (2, 6)
    assert len(on_disk()) == 2


def test_no_more_bytes_than_granted():
    guest = Guest(max_bytes=10)
    guest.upload(b"123456")

    problem = assert_problem(guest.create_session(size_bytes=5), 413, "grant_bytes_used_up")
    assert problem["max_bytes"] == 4
    guest.upload(b"1234")
    assert_problem(guest.create_session(size_bytes=1), 413, "grant_bytes_used_up")
    guest.upload(b"")
    assert guest.begun() == (3, 10)


@pytest.mark.parametrize("limit", ["max_file_size", "max_bytes"])
def test_no_larger_file_than_granted(limit):
    guest = Guest(**{limit: 10})

    problem = assert_problem(guest.create_session(size_bytes=11), 413, "file_too_large")

    assert problem["max_bytes"] == 10
    assert guest.create_session(size_bytes=10).status_code == 201


def test_what_fails_is_given_back():
    guest = Guest(max_files=1, max_bytes=10)

    aborted = guest.session_of(b"0123456789")["session_id"]
    assert guest.begun() == (1, 10)
    guest.abort(aborted)
    guest.abort(aborted)
    assert guest.begun() == (0, 0)

    wrong = guest.session_of(b"0123456789", sha256="0" * 64)
    guest.put_all(wrong, b"0123456789")
    assert_problem(guest.finalize(wrong["session_id"]), 422, "sha256_mismatch")
    assert_problem(guest.finalize(wrong["session_id"]), 422, "sha256_mismatch")
    assert guest.begun() == (0, 0)

    guest.upload(b"0123456789")
    assert guest.begun() == (1, 10)


def test_an_upload_that_is_given_up_is_given_back(settings):
    guest = Guest(max_files=1)
    guest.session_of(b"0123456789")
    settings.PORTAL_SESSION_TTL_HOURS = 0

    assert abandoned.abort_idle_sessions() == 1

    assert guest.begun() == (0, 0)


def test_what_was_stored_counts_when_it_is_gone():
    guest = Guest(scopes=ALL, max_files=1)
    file = guest.upload()

    guest.delete(f"{FILES}/{file['id']}")

    assert_problem(guest.create_session(), 409, "grant_files_used_up")


def test_a_repeated_request_counts_once():
    guest = Guest(max_files=1)

    first = guest.create_session(idempotency_key="k")
    second = guest.create_session(idempotency_key="k")

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["session_id"] == second.json()["session_id"]
    assert guest.begun() == (1, 10)


def test_each_guest_and_the_owner_have_idempotency_keys_of_their_own():
    guest = Guest()
    owner, neighbour = Api(guest.user), Guest(guest.user)

    sessions = [
        sender.create_session(idempotency_key="k", filename=name)
        for sender, name in ((guest, "a"), (owner, "b"), (neighbour, "c"))
    ]

    assert [reply.status_code for reply in sessions] == [201] * 3
    assert len({reply.json()["session_id"] for reply in sessions}) == 3


# --- Types ---------------------------------------------------------------------------------------


def test_what_plainly_is_another_type_is_refused_before_it_is_sent():
    guest = Guest(allowed_types=("image/*",))

    reply = guest.create_session(filename="a.pdf", content_type="application/pdf")

    problem = assert_problem(reply, 415, "type_not_allowed")
    assert "this upload link takes image/*" in problem["detail"]
    assert guest.begun() == (0, 0)


def test_the_content_decides():
    guest = Guest(allowed_types=("image/*",))

    assert guest.post_raw(PNG, filename="a.png").status_code == 201
    reply = guest.post_raw(b"plain text", filename="a.png", content_type="image/png")

    assert_problem(reply, 415, "type_not_allowed")
    assert guest.begun() == (1, len(PNG))


def test_a_grant_allows_no_type_that_the_portal_refuses(settings):
    settings.FILE_UPLOAD_ALLOWED_TYPES = ["image/*"]
    guest = Guest(allowed_types=("text/plain",))

    reply = guest.post_raw(b"plain text", filename="a.txt")

    assert "this portal takes" in assert_problem(reply, 415, "type_not_allowed")["detail"]


# --- Let in, or not ------------------------------------------------------------------------------


def test_a_revoked_grant_is_refused_at_once_and_what_came_stays():
    guest = Guest()
    file = guest.upload()
    session = guest.session_of(b"0123456789")["session_id"]

    grants.revoke_grant(principal=principal_of(guest.user), grant_id=guest.grant.id)

    for answer in (guest.create_session(), guest.put_part(session, 1, b"0123456789")):
        problem = assert_problem(answer, 401, "grant_revoked")
        assert "Ask whoever gave it to you" in problem["detail"]
    assert Api(guest.user).get(f"{FILES}/{file['id']}").json()["status"] == "stored"


def test_a_grant_ends_at_its_expiry():
    guest = Guest(expires_at=timezone.now() + timedelta(hours=1))

    assert guest.create_session().status_code == 201
    UploadGrant.objects.filter(id=guest.grant.id).update(expires_at=Now())
    assert_problem(guest.create_session(), 401, "grant_expired")


def test_text_that_is_no_grant_is_refused_without_a_query(django_assert_num_queries):
    guest = Guest()
    typo = guest.token[:-1] + ("0" if guest.token[-1] != "0" else "1")

    with django_assert_num_queries(0):
        reply = guest.http.get(f"{SESSIONS}/{uuid7()}", headers={"authorization": f"Bearer {typo}"})

    assert_problem(reply, 401, "grant_invalid")


def test_the_guest_of_an_account_that_is_off_is_refused():
    guest = Guest()
    guest.user.is_active = False
    guest.user.save()

    assert_problem(guest.create_session(), 403, "account_inactive")


def test_the_scopes_of_a_grant_are_a_part_of_those_of_tokens():
    assert set(ALL) < set(TokenScope.values)
