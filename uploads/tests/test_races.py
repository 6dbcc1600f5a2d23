"""Calls that meet at the same moment, in real threads on real connections."""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.principals import PORTAL
from accounts.tests.factories import principal_of
from common.errors import Conflict, DooritoError, Gone
from common.http.digests import Digest
from common.sha256 import ResumableSha256
from common.tests.threads import at_once
from uploads.files import lifecycle, retention, states
from uploads.models import FileStatus, IngestFile, SessionStatus, UploadPart, UploadSession
from uploads.receiving import abandoned, digests, parts, sessions
from uploads.receiving.bodies import PartRange
from uploads.receiving.finalizing import finalize_session
from uploads.receiving.record import Range
from uploads.storage import handle_of, storage_for
from uploads.storage.base import Receipt
from uploads.tests.factories import (
    Api,
    events,
    held,
    make_session,
    make_stored,
    on_disk,
    repeated,
    send_part,
    send_parts,
    sha256,
    some_bytes,
    stored_bytes,
)
from uploads.tests.wire import until

pytestmark = pytest.mark.django_db(transaction=True)


def outcome(call):
    """What a call gave, or the code of its error."""
    try:
        return call()
    except DooritoError as error:
        return error.code


def test_sixteen_finalizes_of_one_session_store_one_file_and_one_event():
    api = Api()
    data = some_bytes(5000)
    session = api.session_of(data, chunk=1000)
    api.put_all(session, data)
    clients = [Api(api.user) for _ in range(16)]
    replies = at_once([partial(client.finalize, session["session_id"]) for client in clients])
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    assert replies[0].json()["sha256"] == sha256(data)
    assert [event.event_type for event in events()] == ["file.uploaded"]
    assert on_disk() == {f"files/{IngestFile.objects.get().storage_key}"}


def test_finalizes_that_wait_for_one_another_leave_it_a_database_connection():
    """There are 16 connections: more waiters than that must not own them all."""
    data = some_bytes(200_000)
    session = make_session(data, chunk=20_000)
    send_parts(session, data, order=range(10, 0, -1))
    finalize = partial(
        finalize_session,
        principal=principal_of(session.created_by),
        session_id=session.id,
    )
    results = at_once(repeated(finalize, 40))
    assert {file.sha256 for file in results} == {sha256(data)}
    assert len(events()) == 1


def test_sixteen_puts_of_one_part_with_equal_bytes_make_one_part():
    api = Api()
    data = some_bytes(300_000)
    session = api.session_of(data, chunk=200_000)
    clients = [Api(api.user) for _ in range(16)]
    replies = at_once(
        [partial(client.put_part, session["session_id"], 1, data[:200_000]) for client in clients]
    )
    answers = Counter(
        "ok" if reply.status_code == 200 else reply.json()["code"] for reply in replies
    )
    assert answers["ok"] >= 1
    assert set(answers) <= {"ok", "part_in_progress"}
    row = UploadSession.objects.get()
    assert (row.received_parts_count, row.received_bytes) == (1, 200_000)
    assert UploadPart.objects.count() == 1
    assert api.put_part(session["session_id"], 2, data[200_000:]).status_code == 200
    assert api.finalize(session["session_id"]).json()["sha256"] == sha256(data)


def test_sixteen_puts_of_one_part_with_different_bytes_have_one_winner():
    api = Api()
    session = api.session_of(some_bytes(200_000), chunk=200_000)
    bodies = [some_bytes(200_000, seed=seed) for seed in range(16)]
    clients = [Api(api.user) for _ in bodies]
    replies = at_once(
        [
            partial(client.put_part, session["session_id"], 1, data)
            for client, data in zip(clients, bodies, strict=True)
        ]
    )
    answers = [reply.status_code for reply in replies]
    assert sorted(set(answers)) == [200, 409]
    assert answers.count(200) == 1
    file = api.finalize(session["session_id"]).json()
    winner = bodies[answers.index(200)]
    assert file["sha256"] == sha256(winner)
    stored = IngestFile.objects.get()
    assert stored_bytes(stored) == winner


def test_parts_sent_at_once_by_many_connections_make_the_whole_file():
    data = some_bytes(64_000)
    session = make_session(data, chunk=1000)
    at_once([partial(send_parts, session, data, range(n, 65, 16)) for n in range(1, 17)])
    session.refresh_from_db()
    assert (session.received_parts_count, session.received_bytes) == (64, 64_000)
    file = finalize_session(principal=principal_of(session.created_by), session_id=session.id)
    assert file.sha256 == sha256(data) == hashlib.sha256(stored_bytes(file)).hexdigest()


@pytest.mark.parametrize("attempt", range(5))
def test_a_finalize_and_an_abort_agree_on_who_came_first(attempt):
    data = some_bytes(50_000)
    session = make_session(data, chunk=50_000)
    send_parts(session, data)
    finalize = partial(
        finalize_session,
        principal=principal_of(session.created_by),
        session_id=session.id,
    )
    abort = partial(
        sessions.abort_session, principal=principal_of(session.created_by), session_id=session.id
    )
    finalized, aborted = at_once([partial(outcome, finalize), partial(outcome, abort)])
    session.refresh_from_db()
    file = IngestFile.objects.get()
    if session.status == SessionStatus.COMPLETE:
        assert finalized == file
        assert aborted == "session_complete"
        assert stored_bytes(file) == data
        assert [event.event_type for event in events()] == ["file.uploaded"]
    else:
        assert finalized in {"session_aborted", "upload_missing"}
        assert aborted is None
        assert (session.status, file.status) == (SessionStatus.ABORTED, FileStatus.FAILED)
        assert [event.event_type for event in events()] == ["file.failed"]
        assert on_disk() == set()


def test_an_abort_that_comes_after_a_finalize_never_touches_the_stored_bytes():
    """The abort has read the session as open; the finalize commits before the abort writes."""
    data = some_bytes(1000)
    session = make_session(data, chunk=1000)
    send_parts(session, data)
    read_before = UploadSession.objects.select_related("file").get(id=session.id)
    file = finalize_session(principal=principal_of(session.created_by), session_id=session.id)
    ended = sessions.end_session(
        read_before,
        status=SessionStatus.ABORTED,
        error=Gone("aborted", "Too late."),
        actor=PORTAL,
    )
    assert not ended
    assert stored_bytes(file) == data
    assert [event.event_type for event in events()] == ["file.uploaded"]


def test_an_abort_that_loses_says_that_the_upload_is_complete(monkeypatch):
    data = some_bytes(1000)
    session = make_session(data, chunk=1000)
    send_parts(session, data)
    stale = UploadSession.objects.select_related("file").get(id=session.id)
    finalize_session(principal=principal_of(session.created_by), session_id=session.id)
    reads = iter([stale])
    fresh = sessions.selectors.get_session
    monkeypatch.setattr(
        sessions.selectors, "get_session", lambda **kwargs: next(reads, None) or fresh(**kwargs)
    )
    with pytest.raises(Conflict) as error:
        sessions.abort_session(principal=principal_of(session.created_by), session_id=session.id)
    assert error.value.code == "session_complete"


def test_a_session_that_came_back_to_life_is_not_aborted_as_idle(settings):
    """The sweep has listed it as idle; a part arrives before its turn comes."""
    data = some_bytes(2000)
    session = make_session(data, chunk=1000)
    send_part(session, 1, data)
    long_ago = timezone.now() - timedelta(hours=settings.PORTAL_SESSION_TTL_HOURS + 1)
    UploadSession.objects.filter(id=session.id).update(last_activity_at=long_ago)
    listed = UploadSession.objects.select_related("file").get(id=session.id)
    send_part(session, 2, data)
    assert not abandoned._abort_if_quiet(listed)
    file = finalize_session(principal=principal_of(session.created_by), session_id=session.id)
    assert stored_bytes(file) == data


def test_a_session_that_was_finalized_meanwhile_is_not_aborted_as_idle(settings):
    data = some_bytes(1000)
    session = make_session(data, chunk=1000)
    send_parts(session, data)
    long_ago = timezone.now() - timedelta(hours=settings.PORTAL_SESSION_TTL_HOURS + 1)
    UploadSession.objects.filter(id=session.id).update(last_activity_at=long_ago)
    listed = UploadSession.objects.select_related("file").get(id=session.id)
    file = finalize_session(principal=principal_of(session.created_by), session_id=session.id)
    assert not abandoned._abort_if_quiet(listed)
    assert stored_bytes(file) == data


def test_exactly_one_of_sixteen_consumers_gets_the_file():
    file = make_stored()
    consume = partial(
        lifecycle.consume_file, principal=principal_of(file.uploaded_by), file_id=file.id
    )
    results = at_once([partial(outcome, consume)] * 16)
    taken = [result for result in results if isinstance(result, lifecycle.Consumption)]
    assert len(taken) == 1
    assert results.count("already_consumed") == 15
    assert len(events("file.processed")) == 1


@pytest.mark.parametrize("attempt", range(5))
def test_a_file_is_either_consumed_or_expired(attempt):
    file = make_stored()
    soon = timezone.now() + timedelta(milliseconds=30)
    IngestFile.objects.filter(id=file.id).update(expires_at=soon)
    consume = partial(
        lifecycle.consume_file, principal=principal_of(file.uploaded_by), file_id=file.id
    )

    def expire() -> int:
        while timezone.now() < soon:
            pass
        return retention.expire_files()

    consumed, expired = at_once([partial(outcome, consume), expire])
    file.refresh_from_db()
    kinds = {event.event_type for event in events()} - {"file.uploaded"}
    if isinstance(consumed, lifecycle.Consumption):
        assert (file.status, expired, kinds) == (FileStatus.PROCESSED, 0, {"file.processed"})
    else:
        assert (file.status, expired, kinds) == (FileStatus.DELETED, 1, {"file.deleted"})


def test_a_file_that_was_extended_meanwhile_is_not_deleted(monkeypatch):
    """The sweep has listed it as expired; its owner extends it before its turn comes."""
    file = make_stored()
    IngestFile.objects.filter(id=file.id).update(expires_at=timezone.now())
    later = timezone.now() + timedelta(hours=1)

    def list_then_extend(file_id):
        IngestFile.objects.filter(id=file_id).update(expires_at=later)
        return expire(file_id)

    expire = states.expire
    monkeypatch.setattr(states, "expire", list_then_extend)
    assert retention.expire_files() == 0
    file.refresh_from_db()
    assert file.status == FileStatus.STORED


def test_two_sweeps_at_once_announce_each_deletion_once():
    for _ in range(10):
        file = make_stored()
        IngestFile.objects.filter(id=file.id).update(expires_at=timezone.now())
    assert sum(at_once(repeated(retention.expire_files, 4))) == 10
    assert len(events("file.deleted")) == 10
    at_once(repeated(retention.purge_files, 4))
    assert on_disk() == set()


def test_two_sweeps_at_once_announce_each_expiry_once():
    for _ in range(10):
        file = make_stored()
        IngestFile.objects.filter(id=file.id).update(
            expires_at=timezone.now() + timedelta(minutes=5)
        )
    at_once(repeated(retention.notify_expiring_files, 4))
    assert len(events("file.expiring")) == 10


def test_eight_creates_with_one_idempotency_key_make_one_session():
    user = Api().user
    clients = [Api(user) for _ in range(8)]
    replies = at_once(
        [partial(client.create_session, idempotency_key="once") for client in clients]
    )
    codes = Counter(reply.status_code for reply in replies)
    assert codes == {201: 1, 200: 7}
    assert len({reply.json()["session_id"] for reply in replies}) == 1
    assert UploadSession.objects.count() == IngestFile.objects.count() == len(on_disk()) == 1


def test_eight_different_uploads_with_one_idempotency_key_have_one_winner():
    user = Api().user
    replies = at_once(
        [
            partial(Api(user).create_session, idempotency_key="once", filename=f"{number}")
            for number in range(8)
        ]
    )
    codes = Counter(reply.status_code for reply in replies)
    assert codes == {201: 1, 409: 7}
    assert UploadSession.objects.count() == len(on_disk()) == 1


def sha256_of(left: bytes) -> ResumableSha256:
    """What the killed request had hashed: the first part, and then its own bytes."""
    digest = ResumableSha256()
    digest.update(b"x" * 1000 + left)
    return digest


@pytest.mark.parametrize("left", [b"x" * 1000, b"y" * 1000], ids=["same-bytes", "other-bytes"])
def test_a_part_that_a_killed_request_has_recorded_after_all_is_received(left):
    """Its statement waits in the database, where the request's death is not noticed."""
    data = b"x" * 3000
    session = make_session(data, chunk=1000)
    send_part(session, 1, data)
    blake3 = digests.part_digester("blake3")
    blake3.update(left)
    statement = partial(
        parts._record,
        session.id,
        PartRange(2, 1000, 1000),
        Range(Receipt(1000, 1000), Digest("blake3", blake3.digest()), prefix=sha256_of(left)),
        handle=handle_of(session),
    )
    with ThreadPoolExecutor(2) as pool:
        with transaction.atomic():
            UploadSession.objects.select_for_update().get(id=session.id)
            of_the_killed = pool.submit(closing_connection, statement)
            until(lambda: waiting_for_locks() == 1)
            repeat = pool.submit(closing_connection, partial(send_part, session, 2, data))
            until(lambda: waiting_for_locks() == 2)
        of_the_killed.result(timeout=20)
        repeat.result(timeout=20)
    send_part(session, 2, data)  # is known by its own digest
    send_part(session, 3, data)
    session.refresh_from_db()
    assert (session.received_parts_count, session.received_bytes) == (3, 3000)
    file = finalize_session(principal=principal_of(session.created_by), session_id=session.id)
    assert file.sha256 == sha256(data)
    assert stored_bytes(file) == data


def closing_connection(call):
    try:
        return call()
    finally:
        connection.close()


def waiting_for_locks() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0]


def test_of_an_ended_session_a_part_that_is_still_being_sent_is_told_to_be_over():
    data = some_bytes(2000)
    session = make_session(data, chunk=1000)
    with held(session, offset=0, size_bytes=1000):
        with pytest.raises(Conflict) as open_still:
            send_part(session, 1, data)
        UploadSession.objects.filter(id=session.id).update(status=SessionStatus.ABORTED)
        with pytest.raises(Gone) as over:
            send_part(session, 1, data)
    assert (open_still.value.code, over.value.code) == ("part_in_progress", "session_aborted")


def test_a_part_that_is_known_may_be_repeated_by_several_at_once():
    """They write nothing; a slow one keeps neither the others nor a finalize waiting."""
    data = some_bytes(2000)
    session = make_session(data, chunk=1000)
    send_parts(session, data)

    def slowly():
        yield memoryview(data[:500])
        send_part(session, 1, data)
        finalize_session(principal=principal_of(session.created_by), session_id=session.id)
        yield memoryview(data[500:1000])

    receipt = parts.receive_part(
        principal=principal_of(session.created_by),
        session_id=session.id,
        part_number=1,
        length=1000,
        blocks=slowly(),
    )
    assert receipt.received_parts_count == 2


def test_nothing_is_finalized_while_somebody_writes_a_part():
    """Who began before the part was recorded, by a request that was killed then."""
    data = some_bytes(2000)
    session = make_session(data, chunk=1000)
    send_parts(session, data)
    finalize = partial(
        finalize_session,
        principal=principal_of(session.created_by),
        session_id=session.id,
    )
    with ThreadPoolExecutor(1) as pool:
        with held(session, offset=1000, size_bytes=1000):
            finalized = pool.submit(closing_connection, finalize)
            with pytest.raises(TimeoutError):
                finalized.result(timeout=0.5)
        assert finalized.result(timeout=20).sha256 == sha256(data)


def test_a_digest_that_somebody_rolls_is_left_to_them(monkeypatch):
    monkeypatch.setattr(digests, "_DUE_BYTES", 1)
    data = some_bytes(3000)
    session = make_session(data, chunk=1000)
    with storage_for(session).locks.try_exclusive(handle_of(session)) as alone:
        assert alone
        send_parts(session, data, order=[2, 3, 1])
    session.refresh_from_db()
    assert session.hashed_bytes == 1000  # what was in hand
    digests.roll_forward(session.id, handle_of(session))
    session.refresh_from_db()
    assert session.hashed_bytes == 3000


def test_the_spool_of_a_create_that_lost_is_removed(tmp_path: Path):
    user = Api().user
    at_once(
        [partial(make_session, user=user, idempotency_key="k", data=b"x" * 100) for _ in range(8)]
    )
    assert len([path for path in (tmp_path / "spool").rglob("*") if path.is_file()]) == 1
