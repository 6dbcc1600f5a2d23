import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import User
from accounts.tests.factories import PASSWORD, make_user
from common.admin_records import BoundedPaginator
from uploads.files.retention import purge_files
from uploads.models import (
    FileStatus,
    IngestFile,
    SessionStatus,
    UploadBatch,
    UploadGrant,
)
from uploads.tests.factories import (
    Guest,
    events,
    make_consumed,
    make_grant,
    make_rows,
    make_session,
    make_stored,
    on_disk,
)

MODELS = ["ingestfile", "uploadbatch", "uploadgrant", "uploadsession"]


@pytest.fixture
def staff(client, db):
    client.force_login(User.objects.create_superuser("staff@example.org", PASSWORD))
    return client


def address(model: str, rest: str = "") -> str:
    return f"/admin/uploads/{model}/{rest}"


def listed(staff: Client, model: str, **query: str) -> list:
    answer = staff.get(address(model), query)
    assert answer.status_code == 200
    return list(answer.context["cl"].result_list)


def choose_to_delete(staff: Client, *rows: IngestFile, **fields: str):
    chosen = {"action": "delete_selected", "_selected_action": [str(row.pk) for row in rows]}
    return staff.post(address("ingestfile"), chosen | fields, follow=True)


def make_batch(**values) -> UploadBatch:
    return UploadBatch.objects.create(name="Tuesday's", created_by=make_user(), **values)


@pytest.mark.parametrize("model", MODELS)
def test_every_list_and_page_opens(staff, model):
    batch = make_batch()
    file = make_stored(user=batch.created_by, batch_id=batch.id)
    grant, _ = make_grant(user=batch.created_by, batch_id=batch.id)
    row = {
        "ingestfile": file,
        "uploadbatch": batch,
        "uploadgrant": grant,
        "uploadsession": file.session,
    }[model]
    assert listed(staff, model) == [row]
    assert staff.get(address(model, f"{row.pk}/change/")).status_code == 200


def test_a_session_shows_how_much_it_received_and_no_hash_state(staff):
    session = make_stored(b"0123456789ABCDE", chunk=10).session
    page = staff.get(address("uploadsession", f"{session.pk}/change/")).content.decode()
    assert "2 of 2" in page
    assert "hash_state" not in page
    assert session.request_digest not in page


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_added_or_changed_by_hand(staff, model):
    batch = make_batch()
    file = make_stored(user=batch.created_by, batch_id=batch.id)
    grant, _ = make_grant(user=batch.created_by, batch_id=batch.id)
    row = {
        "ingestfile": file,
        "uploadbatch": batch,
        "uploadgrant": grant,
        "uploadsession": file.session,
    }[model]
    assert staff.get(address(model, "add/")).status_code == 403
    assert staff.post(address(model, f"{row.pk}/change/"), {"status": "failed"}).status_code == 403
    row.refresh_from_db()
    assert getattr(row, "status", "") != "failed"


@pytest.mark.parametrize("model", ["uploadbatch", "uploadgrant", "uploadsession"])
def test_only_files_are_deleted_here(staff, model):
    batch = make_batch()
    session = make_session(user=batch.created_by, batch_id=batch.id)
    grant, _ = make_grant(user=batch.created_by)
    row = {"uploadbatch": batch, "uploadgrant": grant, "uploadsession": session}[model]
    assert staff.post(address(model, f"{row.pk}/delete/"), {"post": "yes"}).status_code == 403
    row.refresh_from_db()


def test_files_are_found_by_their_id_their_batch_and_their_owners_address(staff):
    batch = make_batch()
    inside = make_stored(user=batch.created_by, batch_id=batch.id)
    outside = make_stored(user=make_user(email="ada@example.org"))
    assert listed(staff, "ingestfile") == [outside, inside]
    assert listed(staff, "ingestfile", q=str(outside.id)) == [outside]
    assert listed(staff, "ingestfile", q=str(batch.id)) == [inside]
    assert listed(staff, "ingestfile", q="ADA@") == [outside]
    assert listed(staff, "ingestfile", q="da@example") == []
    assert listed(staff, "ingestfile", status__exact="failed") == []


def test_sessions_are_found_by_their_id_and_their_file(staff):
    session, _ = make_session(), make_session()
    for wanted in (session.id, session.file_id):
        assert listed(staff, "uploadsession", q=str(wanted)) == [session]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("query", ["q", "status__exact", "created_at__gte", "id"])
def test_a_nul_byte_in_a_query_breaks_nothing(staff, model, query):
    assert staff.get(address(model), {query: "a\0b"}, follow=True).status_code < 500


@pytest.mark.parametrize("model", MODELS)
def test_a_list_costs_as_many_queries_for_many_rows_as_for_one(
    staff, model, django_assert_max_num_queries
):
    for _ in range(5):
        batch = make_batch()
        make_stored(user=batch.created_by, batch_id=batch.id)
        make_grant(user=batch.created_by, batch_id=batch.id)
    with django_assert_max_num_queries(6):
        listed(staff, model)


def test_rows_are_counted_up_to_a_bound(staff, monkeypatch):
    monkeypatch.setattr(BoundedPaginator, "MOST_ROWS", 60)
    make_rows(70, user=make_user())
    page = staff.get(address("ingestfile"), {"p": 2})
    assert page.context["cl"].result_count == 60
    assert len(page.context["cl"].result_list) == 10


def test_files_are_deleted_after_a_confirmation(staff):
    stored, consumed, kept = make_stored(), make_consumed().file, make_stored()
    page = choose_to_delete(staff, stored, consumed)
    assert "Are you sure" in page.content.decode()
    assert IngestFile.objects.filter(status=FileStatus.DELETED).count() == 0

    page = choose_to_delete(staff, stored, consumed, post="yes")
    assert "Successfully deleted 2 ingest files." in page.content.decode()
    assert set(IngestFile.objects.filter(status=FileStatus.DELETED)) == {stored, consumed}
    assert {event.aggregate_id for event in events("file.deleted")} == {stored.id, consumed.id}
    assert purge_files() == 2
    assert on_disk() == {f"files/{kept.storage_key}"}


def test_deleting_a_file_that_is_being_uploaded_aborts_the_upload(staff):
    session = make_session()
    choose_to_delete(staff, session.file, post="yes")
    session.refresh_from_db()
    assert session.status == SessionStatus.ABORTED
    assert session.error_message == "An administrator aborted the upload."
    assert session.file.status == FileStatus.FAILED
    assert on_disk() == set()


def test_a_file_is_deleted_on_its_own_page(staff):
    file = make_stored()
    delete = address("ingestfile", f"{file.pk}/delete/")
    assert delete in staff.get(address("ingestfile", f"{file.pk}/change/")).content.decode()
    staff.post(delete, {"post": "yes"})
    file.refresh_from_db()
    assert file.status == FileStatus.DELETED
    assert staff.post(delete, {"post": "yes"}).status_code == 403


def test_what_is_gone_already_is_not_deleted_again(staff):
    file = make_stored()
    choose_to_delete(staff, file, post="yes")
    page = choose_to_delete(staff, file, post="yes")
    assert "Nothing is left of these files." in page.content.decode()
    assert len(events("file.deleted")) == 1


def test_deleting_needs_its_own_permission(client, db):
    viewer = User.objects.create_user("viewer@example.org", PASSWORD, is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_ingestfile"))
    client.force_login(viewer)
    file = make_stored()
    assert listed(client, "ingestfile") == [file]
    choose_to_delete(client, file, post="yes")
    file.refresh_from_db()
    assert file.status == FileStatus.STORED


# --- Grants --------------------------------------------------------------------------------------


def test_grants_are_shown_with_what_was_sent_and_without_their_digest(staff):
    guest = Guest(name="the suppliers")
    guest.upload(b"0123456789")

    page = staff.get(address("uploadgrant", f"{guest.grant.id}/change/")).content.decode()

    assert "the suppliers" in page
    assert guest.grant.hint in page
    assert guest.token not in page
    assert guest.grant.digest not in page


def revoke_grants(client: Client, *chosen: UploadGrant):
    form = {"action": "revoke_selected", "_selected_action": [str(grant.id) for grant in chosen]}
    return client.post(address("uploadgrant"), form, follow=True)


def test_selected_grants_are_revoked_at_once(staff):
    chosen, spared = [Guest() for _ in range(2)], Guest()

    answer = revoke_grants(staff, *(guest.grant for guest in chosen))

    assert b"2 grant(s) revoked." in answer.content
    assert [guest.create_session().status_code for guest in (*chosen, spared)] == [401, 401, 201]


def test_who_may_only_look_revokes_nothing(client, db):
    viewer = make_user()
    User.objects.filter(id=viewer.id).update(is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_uploadgrant"))
    client.force_login(viewer)
    grant, _ = make_grant()

    assert listed(client, "uploadgrant") == [grant]
    revoke_grants(client, grant)

    assert not UploadGrant.objects.exclude(revoked_at=None).exists()
