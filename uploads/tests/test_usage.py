"""What an owner takes up is what a recount finds, whatever happens, in whatever order, at once."""

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from importlib import import_module

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from accounts.principals import PORTAL
from accounts.tests.factories import make_user, principal_of
from common.errors import DooritoError, Gone
from common.ids import uuid7
from common.tests.threads import at_once, blocked_by_us
from uploads.files import grants, lifecycle, retention, states
from uploads.files.acceptance.base import Proof
from uploads.files.acceptance.checks import Accepted
from uploads.files.usage import NOTHING, Usage, recount, usage_of
from uploads.models import IngestFile, PartOrder, SessionStatus, UploadSession, UsageShare
from uploads.receiving import abandoned, finalizing, sessions
from uploads.receiving.appending import declare_length
from uploads.receiving.one_request import store_in_one_request
from uploads.receiving.requests import UploadRequest
from uploads.storage import StoredObject
from uploads.tests.factories import (
    make_consumed,
    make_expired,
    make_grant,
    make_rows,
    make_session,
    make_stored,
    send_part,
    send_parts,
)
from uploads.tests.workflow_factories import make_completed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_run_kicks")]


# --- From state to state --------------------------------------------------------------------------


def test_an_upload_is_charged_when_it_begins_as_large_as_it_is_announced():
    session = make_session(b"0123456789")
    assert usage_of(session.created_by.id) == Usage(10, files=1, open_sessions=1)


def test_a_stored_file_has_no_open_session_any_more():
    file = make_stored(b"0123456789")
    assert usage_of(file.uploaded_by.id) == Usage(10, files=1, open_sessions=0)


def test_an_upload_that_is_aborted_is_released():
    session = make_session()
    sessions.abort_session(principal=principal_of(session.created_by), session_id=session.id)
    assert usage_of(session.created_by.id) == NOTHING


def test_a_consumed_file_is_released_once_although_it_is_deleted_afterwards():
    consumption = make_consumed()
    owner = consumption.file.uploaded_by
    assert usage_of(owner.id) == NOTHING
    lifecycle.delete_file(principal=principal_of(owner), file_id=consumption.file.id)
    assert usage_of(owner.id) == NOTHING


def test_a_deleted_file_is_released_once_however_often_it_is_deleted():
    file = make_stored()
    for _ in range(2):
        lifecycle.delete_file(principal=principal_of(file.uploaded_by), file_id=file.id)
    assert usage_of(file.uploaded_by.id) == NOTHING


def test_an_expired_file_is_released():
    file = make_expired()
    assert retention.expire_files() == 1
    assert usage_of(file.uploaded_by.id) == NOTHING


def test_a_workflows_result_is_charged_to_the_owner_of_the_file():
    run = make_completed(file=make_stored(b"0123456789"), result=b"A report.")
    assert usage_of(run.owner.id) == Usage(19, files=2, open_sessions=0)


def test_a_file_in_one_request_is_charged_without_a_session():
    user = make_user()
    store_in_one_request(
        principal=principal_of(user),
        request=UploadRequest("a.bin", 10),
        blocks=iter([memoryview(b"0123456789")]),
    )
    assert usage_of(user.id) == recount(user.id) == Usage(10, files=1)


def test_bytes_are_charged_when_their_number_is_told_and_once():
    user = make_user()
    request = UploadRequest("a.bin", None, part_order=PartOrder.APPENDED)
    session, _ = sessions.create_session(principal=principal_of(user), request=request)
    assert usage_of(user.id) == Usage(0, files=1, open_sessions=1)
    for _ in range(2):
        declare_length(principal=principal_of(user), session_id=session.id, length_bytes=10)
    assert usage_of(user.id) == recount(user.id) == Usage(10, files=1, open_sessions=1)
    sessions.abort_session(principal=principal_of(user), session_id=session.id)
    assert usage_of(user.id) == NOTHING


def test_a_guests_file_is_charged_to_the_owner_of_the_grant():
    grant, _ = make_grant()
    guest = grants.principal_of(grant)
    session, _ = sessions.create_session(principal=guest, request=UploadRequest("a.bin", 10))
    assert usage_of(grant.owner.id) == recount(grant.owner.id)
    assert usage_of(grant.owner.id) == Usage(10, files=1, open_sessions=1)
    sessions.abort_session(principal=guest, session_id=session.id)
    assert usage_of(grant.owner.id) == NOTHING


def test_an_empty_file_is_a_file():
    session = make_session(b"")
    assert usage_of(session.created_by.id) == Usage(0, files=1, open_sessions=1)


def test_a_request_for_a_closed_batch_charges_nothing(api):
    batch = api.create_batch()
    api.close_batch(batch["id"])
    assert api.create_session(batch_id=batch["id"]).status_code == 409
    assert usage_of(api.user.id) == NOTHING


def test_somebody_elses_files_are_somebody_elses():
    mine, other = make_stored(b"0123456789"), make_session(b"01234")
    assert usage_of(mine.uploaded_by.id) == Usage(10, files=1)
    assert usage_of(other.created_by.id) == Usage(5, files=1, open_sessions=1)


# --- Costs ----------------------------------------------------------------------------------------


def statements(call: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        call()
    return [query["sql"] for query in captured if "upload_usage" in query["sql"]]


def test_a_part_costs_no_statement_and_a_finalize_one():
    data = b"0123456789ABCDE"
    session = make_session(data)
    principal = principal_of(session.created_by)
    assert statements(lambda: send_part(session, 1, data)) == []
    send_part(session, 2, data)
    finalize = partial(finalizing.finalize_session, principal=principal, session_id=session.id)
    assert len(statements(finalize)) == 1


def test_usage_is_read_from_as_many_rows_however_many_files_there_are():
    user = make_user()
    for _ in range(3):
        make_stored(user=user)
    assert len(statements(lambda: usage_of(user.id))) == 1
    assert UsageShare.objects.filter(owner=user).count() <= UsageShare.SHARES


def share_of_this_connection() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0] % UsageShare.SHARES


def with_another_share(than: int, call: Callable[[], object], tries: int = 8) -> object:
    """What a call gives on a connection that charges another share of an owner's usage."""
    if share_of_this_connection() != than:
        return call()
    assert tries, "every connection charges the same share"
    again = partial(with_another_share, than, call, tries - 1)
    return at_once([again])[0]  # in a thread with a connection of its own, while this one has its


def test_uploads_of_one_owner_do_not_wait_for_one_another():
    user = make_user()
    with transaction.atomic():
        file = make_stored(user=user)
        share = share_of_this_connection()
        other = partial(with_another_share, share, partial(make_stored, user=user))
        assert at_once([other]) != [file]
    assert usage_of(user.id) == recount(user.id) == Usage(30, files=2)


# --- Nobody waits in a circle ---------------------------------------------------------------------


def test_an_upload_that_is_aborted_while_it_is_begun_anew_in_the_same_batch(api, monkeypatch):
    """The new session waits for the key of the old one, whose end needs the batch."""
    batch_id = api.create_batch()["id"]
    old = make_session(user=api.user, batch_id=batch_id, idempotency_key="again")
    again = partial(
        make_session, b"01234", user=api.user, batch_id=batch_id, idempotency_key="again"
    )
    with monkeypatch.context() as patched, transaction.atomic():
        UploadSession.objects.filter(id=old.id).update(
            status=SessionStatus.ABORTED, idempotency_key=None
        )
        # It has looked for the key just before the old session was there.
        patched.setattr(sessions, "session_of_key", lambda **_: None)
        begun = blocked_by_us(again)
        assert states.fail(old.file_id, Gone("aborted", "Aborted."), actor=PORTAL)
    assert begun.result(timeout=20).idempotency_key == "again"
    assert usage_of(api.user.id) == recount(api.user.id) == Usage(5, files=1, open_sessions=1)


def test_an_owner_who_is_deleted_while_a_file_of_theirs_is_consumed():
    """The deletion waits for the file, whose consumer needs the owner's usage."""
    file = make_stored()
    owner = User.objects.get(id=file.uploaded_by.id)
    with transaction.atomic():
        IngestFile.objects.select_for_update().get(id=file.id)
        deleted = blocked_by_us(owner.delete)
        assert states.consume(file.id, purge_at=timezone.now(), actor=PORTAL)
    deleted.result(timeout=20)
    assert not User.objects.exists()
    assert not UsageShare.objects.exists()


# --- Owners who go, and files from before ---------------------------------------------------------


def test_usage_goes_with_its_owner_and_the_files_that_stay_are_nobodys():
    stored, other = make_stored(), make_stored(b"01234")
    uploading = make_session(user=stored.uploaded_by)
    owner_id = stored.uploaded_by.id
    stored.uploaded_by.delete()
    assert usage_of(owner_id) == recount(owner_id) == NOTHING
    assert states.delete(stored.id, actor=PORTAL)
    error = Gone("aborted", "Aborted.")
    assert sessions.give_up(file_id=uploading.file_id, error=error, actor=PORTAL)
    assert usage_of(owner_id) == recount(owner_id) == NOTHING
    assert usage_of(other.uploaded_by.id) == Usage(5, files=1)


def test_an_upgrade_charges_the_files_that_are_there():
    first, second = make_user(), make_user()
    make_rows(3, user=first, size_bytes=7)
    make_rows(1, user=first, size_bytes=5, is_result=True)
    make_rows(2, user=first, status="processed")
    make_rows(1, user=None)
    make_session(b"0123456789", user=second)
    UsageShare.objects.all().delete()
    migration = import_module("uploads.migrations.0008_usage_of_present_files")
    with connection.cursor() as cursor:
        cursor.execute(migration.COUNT)
    assert usage_of(first.id) == recount(first.id) == Usage(26, files=4)
    assert usage_of(second.id) == recount(second.id) == Usage(10, files=1, open_sessions=1)


# --- All at once ----------------------------------------------------------------------------------


class Client:
    """Somebody who does this and that with any of the owners' files, as others do meanwhile."""

    def __init__(self, owners: list[User], *, batch_ids: dict[User, object], seed: int) -> None:
        self.owners = owners
        self.batch_ids = batch_ids
        self.random = random.Random(seed)  # noqa: S311
        self.done: list[str] = []

    def run(self) -> list[str]:
        for _ in range(40):
            ending = [self.abort, self.give_up, self.consume, self.delete, self.remove, self.expire]
            action = self.random.choice(
                [self.begin] * 10 + [self.store] * 4 + [self.use_result, *ending]
            )
            try:
                action()
                self.done.append(action.__name__)
            except DooritoError:  # somebody else was quicker
                pass
        return self.done

    def any_file(self, *statuses: str) -> IngestFile:
        files = list(IngestFile.objects.filter(status__in=statuses).select_related("uploaded_by"))
        if not files:
            raise Gone("none", "There is none.")
        return self.random.choice(files)

    def begin(self) -> UploadSession:
        user = self.random.choice(self.owners)
        return make_session(
            bytes(self.random.randrange(25)),
            user=user,
            batch_id=self.random.choice([None, self.batch_ids[user]]),
            idempotency_key=self.random.choice([None, None, None, "a"]),
        )

    def store(self) -> None:
        session = self.any_file("uploading").session
        send_parts(session, bytes(session.file.size_bytes))
        principal = principal_of(session.created_by)
        finalizing.finalize_session(principal=principal, session_id=session.id)

    def abort(self) -> None:
        session = self.any_file("uploading").session
        sessions.abort_session(principal=principal_of(session.created_by), session_id=session.id)

    def give_up(self) -> None:
        session = self.any_file("uploading").session
        long_ago = timezone.now() - timedelta(days=365)
        UploadSession.objects.filter(id=session.id).update(last_activity_at=long_ago)
        abandoned.abort_idle_sessions()

    def consume(self) -> None:
        file = self.any_file("stored")
        lifecycle.consume_file(principal=principal_of(file.uploaded_by), file_id=file.id)

    def delete(self) -> None:
        file = self.any_file("uploading", "stored", "processed")
        lifecycle.delete_file(principal=principal_of(file.uploaded_by), file_id=file.id)

    def remove(self) -> None:
        lifecycle.remove_file(file_id=self.any_file("stored", "processed").id, actor=PORTAL)

    def expire(self) -> None:
        IngestFile.objects.filter(id=self.any_file("stored").id).update(expires_at=timezone.now())
        retention.expire_files()

    def use_result(self) -> None:
        file = self.any_file("stored")
        with transaction.atomic():
            IngestFile.objects.select_for_update().get(id=file.id)
            states.store_new(
                states.NewFile(uuid7(), file.uploaded_by, "result", 5, is_result=True),
                Accepted(Proof("0" * 64, "text/plain", StoredObject("local", "", "k"))),
                actor=PORTAL,
            )
            states.consume_after_runs(file.id, purge_at=timezone.now())


@pytest.mark.parametrize("attempt", range(2))
def test_usage_is_exact_after_many_have_changed_the_same_files_at_once(api, other, attempt):
    owners = [api.user, other.user]
    batch_ids = {owner.user: owner.create_batch()["id"] for owner in (api, other)}
    clients = [Client(owners, batch_ids=batch_ids, seed=attempt * 8 + n) for n in range(8)]
    done = set().union(*at_once([client.run for client in clients]))
    assert len(done) == 9, f"not everything was done: {done}"
    for owner in owners:
        assert usage_of(owner.id) == recount(owner.id)
    assert sum(usage_of(owner.id).files for owner in owners) > 0
    assert UsageShare.objects.filter(owner=owners[0]).count() > 1
