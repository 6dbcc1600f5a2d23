"""Accounts are deleted once no file of theirs is left, and in the order of locks of all others."""

from contextlib import contextmanager
from functools import partial
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models.signals import post_delete
from django.urls import reverse

from accounts import services
from accounts.models import ApiToken, User
from accounts.principals import PORTAL
from accounts.tests.factories import make_token, make_user, principal_of
from common.errors import Conflict, DooritoError
from common.tests.threads import at_once, blocked_by_us
from uploads.files import batches, retention, states
from uploads.models import IngestFile, UploadBatch, UploadGrant, UploadSession, UsageShare
from uploads.receiving import sessions
from uploads.tests.factories import make_grant, make_session, make_stored
from uploads.tests.workflow_factories import make_completed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_run_kicks")]


@pytest.fixture
def office(client):
    client.force_login(make_user(is_staff=True))
    return client


def make_user_with_token() -> User:
    return make_token()[0].user


def make_tombstone(user: User) -> IngestFile:
    file = make_stored(user=user)
    states.delete(file.id, actor=PORTAL)
    return file


def delete(user: User) -> None:
    services.delete_user(user_id=user.id)


def test_an_account_with_a_file_is_not_deleted():
    file = make_stored()
    with pytest.raises(Conflict, match="has 1 file") as refused:
        delete(file.uploaded_by)
    assert refused.value.code == "account_has_files"
    assert IngestFile.objects.get().uploaded_by == file.uploaded_by


def test_an_account_with_an_upload_under_way_is_not_deleted_until_it_has_ended():
    session = make_session()
    owner = session.created_by
    with pytest.raises(Conflict, match="has 1 file"):
        delete(owner)
    sessions.abort_session(principal=principal_of(owner), session_id=session.id)
    delete(owner)
    assert not User.objects.exists()


def test_what_is_left_of_a_deleted_account_is_nobodys():
    user = make_user()
    make_token(user=user)
    make_grant(user=user)
    batch = batches.create_batch(principal=principal_of(user))
    run = make_completed(file=make_stored(user=user, batch_id=batch.id))
    states.delete(run.file_id, actor=PORTAL)

    delete(user)

    assert not User.objects.exists()
    assert not ApiToken.objects.exists()
    assert not UploadGrant.objects.exists()
    assert not UsageShare.objects.exists()
    run.refresh_from_db()
    named = [run.owner, run.started_by, run.file.uploaded_by, UploadBatch.objects.get().created_by]
    assert named == [None] * 4
    assert UploadSession.objects.get().created_by is None
    retention.purge_files()
    assert IngestFile.objects.get().purged_at is not None


def test_a_deletion_waits_for_a_session_before_it_takes_the_file():
    """As whoever has the session may do next: in the other order both would wait for ever."""
    user = make_user()
    file = make_tombstone(user)
    with transaction.atomic():
        UploadSession.objects.select_for_update().get(file=file)
        deleted = blocked_by_us(partial(delete, user))
        IngestFile.objects.select_for_update().get(id=file.id)
    deleted.result(timeout=20)
    assert not User.objects.exists()


def test_a_deletion_waits_for_a_grant_before_it_takes_the_batch():
    user = make_user()
    batch = batches.create_batch(principal=principal_of(user))
    grant, _ = make_grant(user=user, batch_id=batch.id)
    with transaction.atomic():
        UploadGrant.objects.select_for_update().get(id=grant.id)
        deleted = blocked_by_us(partial(delete, user))
        UploadBatch.objects.select_for_update().get(id=batch.id)
    deleted.result(timeout=20)
    assert not User.objects.exists()


def test_uploads_and_deletions_of_their_owner_at_once_never_deadlock():
    user = make_user()
    kept = make_stored(user=user)

    def upload_and_delete():
        for _ in range(5):
            file = make_stored(user=user)
            states.delete(file.id, actor=PORTAL)

    def try_to_delete():
        for _ in range(10):
            with pytest.raises(Conflict, match="Switch it off"):
                delete(user)

    at_once([upload_and_delete] * 3 + [try_to_delete] * 2 + [retention.purge_files])

    states.delete(kept.id, actor=PORTAL)
    delete(user)
    assert not IngestFile.objects.exclude(uploaded_by=None).exists()


@contextmanager
def while_it_is_deleted(call):
    """`call` happens on another connection once all is let go; the account, with a token, is not
    deleted yet."""

    def at(**_):
        at_once([call])

    post_delete.connect(at, sender=ApiToken)
    try:
        yield
    finally:
        post_delete.disconnect(at, sender=ApiToken)


def test_an_account_that_does_something_meanwhile_stays():
    user = make_user_with_token()
    begin = partial(batches.create_batch, principal=principal_of(user))
    with while_it_is_deleted(begin), pytest.raises(DooritoError) as refused:
        delete(user)
    assert refused.value.code == "account_in_use"
    assert UploadBatch.objects.get().created_by == user


# --- In the admin --------------------------------------------------------------------------------


def test_the_admin_says_what_keeps_an_account_and_deletes_it_afterwards(office):
    file = make_stored(user=make_user(email="owner@example.org"))
    address = reverse("admin:accounts_user_delete", args=[file.uploaded_by.id])

    asked = office.get(address).content.decode()
    assert "owner@example.org: The account has 1 file. Switch it off" in asked
    assert 'type="submit"' not in asked.partition("<main")[2]
    office.post(address, {"post": "yes"})
    assert User.objects.filter(id=file.uploaded_by.id).exists()

    states.delete(file.id, actor=PORTAL)
    assert office.post(address, {"post": "yes"}).status_code == 302
    assert not User.objects.filter(id=file.uploaded_by.id).exists()


def test_the_admin_says_so_if_an_account_has_become_busy_meanwhile(office):
    user = make_user_with_token()
    begin = partial(batches.create_batch, principal=principal_of(user))
    address = reverse("admin:accounts_user_delete", args=[user.id])
    with while_it_is_deleted(begin):
        answer = office.post(address, {"post": "yes"}, follow=True)
    assert "The account does something just now." in answer.content.decode()
    assert User.objects.filter(id=user.id).exists()


def delete_selected(office, *user_ids: UUID):
    form = {"action": "delete_selected", "_selected_action": user_ids, "post": "yes"}
    return office.post(reverse("admin:accounts_user_changelist"), form, follow=True)


def test_of_several_accounts_none_is_deleted_while_one_has_files(office):
    free, busy = make_user(), make_stored().uploaded_by
    answer = delete_selected(office, free.id, busy.id)
    assert f"{busy.email}: The account has 1 file." in answer.content.decode()
    assert User.objects.filter(id__in=[free.id, busy.id]).count() == 2
    delete_selected(office, free.id)
    assert not User.objects.filter(id=free.id).exists()


def test_of_several_accounts_those_that_have_become_busy_stay(office):
    user = make_user_with_token()
    begin = partial(batches.create_batch, principal=principal_of(user))
    with while_it_is_deleted(begin):
        answer = delete_selected(office, user.id)
    assert "The account does something just now." in answer.content.decode()
    assert "Successfully" not in answer.content.decode()
    assert User.objects.filter(id=user.id).exists()
