"""Grants under many requests at once: their limits are exact and their counters true."""

import random
from collections import Counter
from functools import partial
from threading import Event

import pytest
from django.db.models import Count, Sum

from accounts.tests.factories import make_user, principal_of
from common.errors import Conflict, DooritoError
from common.tests.threads import at_once, results_and_errors
from uploads.files import batches, grants
from uploads.models import FileStatus, IngestFile, UploadBatch, UploadGrant, UploadSession
from uploads.receiving import finalizing, sessions
from uploads.receiving.one_request import store_in_one_request
from uploads.receiving.parts import receive_part
from uploads.receiving.requests import UploadRequest
from uploads.tests.factories import make_grant, on_disk

pytestmark = pytest.mark.django_db(transaction=True)


def begin(grant: UploadGrant, *, size: int = 4, key: str | None = None) -> UploadSession:
    request = UploadRequest("a.bin", size, chunk_size_bytes=10, idempotency_key=key)
    return sessions.create_session(principal=grants.principal_of(grant), request=request)[0]


def begin_or_code(grant: UploadGrant, **values) -> UploadSession | str:
    try:
        return begin(grant, **values)
    except DooritoError as error:
        return error.code


def send_and_finalize(grant: UploadGrant, session: UploadSession, data: bytes) -> None:
    guest = grants.principal_of(grant)
    receive_part(
        principal=guest,
        session_id=session.id,
        part_number=1,
        length=len(data),
        blocks=iter([memoryview(data)]),
    )
    finalizing.finalize_session(principal=guest, session_id=session.id)


def abort(grant: UploadGrant, session: UploadSession) -> None:
    sessions.abort_session(principal=grants.principal_of(grant), session_id=session.id)


def counted(grant: UploadGrant) -> tuple[int, int]:
    grant.refresh_from_db()
    return grant.files_begun, grant.bytes_begun


def recounted(grant: UploadGrant) -> tuple[int, int]:
    """What the counters must be, by the files themselves."""
    kept = IngestFile.objects.filter(grant=grant).exclude(status=FileStatus.FAILED)
    found = kept.aggregate(files=Count("id"), size=Sum("size_bytes", default=0))
    return found["files"], found["size"]


def test_of_many_that_begin_at_once_as_many_as_granted_do():
    grant, _ = make_grant(max_files=3)

    outcomes = at_once([partial(begin_or_code, grant)] * 8)

    refused = Counter(outcome for outcome in outcomes if isinstance(outcome, str))
    assert refused == {"grant_files_used_up": 5}
    assert counted(grant) == recounted(grant) == (3, 12)


def test_of_many_that_begin_at_once_no_more_bytes_than_granted_do():
    grant, _ = make_grant(max_bytes=10)

    outcomes = at_once([partial(begin_or_code, grant)] * 8)

    refused = Counter(outcome for outcome in outcomes if isinstance(outcome, str))
    assert refused == {"grant_bytes_used_up": 6}
    assert counted(grant) == recounted(grant) == (2, 8)


def test_a_request_that_is_repeated_at_once_counts_once():
    grant, _ = make_grant(max_files=1)

    found = at_once([partial(begin, grant, key="k")] * 8)

    assert len({session.id for session in found}) == 1
    assert counted(grant) == recounted(grant) == (1, 4)


def test_a_small_file_that_is_repeated_at_once_counts_once():
    grant, _ = make_grant(max_files=1, max_bytes=4)
    request = UploadRequest("a.bin", 4, idempotency_key="k")

    def store() -> IngestFile:
        return store_in_one_request(
            principal=grants.principal_of(grant),
            request=request,
            blocks=iter([memoryview(b"0123")]),
        )

    assert len({file.id for file in at_once([store] * 8)}) == 1
    assert counted(grant) == recounted(grant) == (1, 4)


def test_of_many_small_files_at_once_as_many_as_granted_are_stored():
    grant, _ = make_grant(max_files=3)

    def store() -> FileStatus | str:
        try:
            return store_in_one_request(
                principal=grants.principal_of(grant),
                request=UploadRequest("a.bin", 4),
                blocks=iter([memoryview(b"0123")]),
            ).status
        except DooritoError as error:
            return error.code

    assert Counter(at_once([store] * 8)) == {"stored": 3, "grant_files_used_up": 5}
    assert counted(grant) == recounted(grant) == (3, 12)
    assert len(on_disk()) == 3


def test_what_is_aborted_by_many_at_once_is_given_back_once():
    grant, _ = make_grant()
    kept, session = begin(grant), begin(grant)

    at_once([partial(abort, grant, session)] * 6)

    assert counted(grant) == recounted(grant) == (1, kept.file.size_bytes)


def test_whether_it_is_stored_or_aborted_it_counts_as_what_it_became():
    grant, _ = make_grant()
    under_way = [begin(grant) for _ in range(6)]

    results_and_errors(
        [
            call
            for session in under_way
            for call in (
                partial(send_and_finalize, grant, session, b"0123"),
                partial(abort, grant, session),
            )
        ]
    )

    assert counted(grant) == recounted(grant)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_guests_do_at_once_the_counters_are_true(seed):
    user = make_user()
    batch = batches.create_batch(principal=principal_of(user))
    grant, _ = make_grant(user=user, batch_id=batch.id, max_files=6, max_bytes=40)

    def be_busy(number: int) -> int:
        choice = random.Random(seed * 100 + number)  # noqa: S311
        most = 0
        for _ in range(8):
            session = begin_or_code(grant, size=choice.choice([0, 4, 9]), key=choice.choice("ab "))
            if isinstance(session, str):
                assert session in {
                    "grant_files_used_up",
                    "grant_bytes_used_up",
                    "idempotency_key_reused",
                }
                continue
            most = max(most, UploadGrant.objects.get(id=grant.id).files_begun)
            try:
                if choice.random() < 0.2 and session.file.size_bytes:
                    send_and_finalize(grant, session, bytes(session.file.size_bytes))
                else:
                    abort(grant, session)
            except DooritoError as error:  # others do the same to the same session
                assert error.status in {409, 410}, error.code
        return most

    most = at_once([partial(be_busy, number) for number in range(5)])

    assert 0 < max(most) <= 6
    assert counted(grant) == recounted(grant)
    stored = IngestFile.objects.filter(grant=grant, status=FileStatus.STORED).count()
    failed = IngestFile.objects.filter(grant=grant, status=FileStatus.FAILED).count()
    batch = UploadBatch.objects.get(id=batch.id)
    assert (batch.stored_count, batch.failed_count) == (stored, failed)


def test_nothing_begins_once_the_grant_is_revoked():
    grant, _ = make_grant()
    is_revoked = Event()

    def begin_until_refused() -> str:
        while True:
            was_revoked = is_revoked.is_set()
            try:
                begin(grant)
            except DooritoError as error:
                return error.code
            assert not was_revoked

    def revoke() -> None:
        grants.revoke_grant(principal=principal_of(grant.owner), grant_id=grant.id)
        is_revoked.set()

    *codes, _ = at_once([begin_until_refused] * 4 + [revoke])

    assert codes == ["grant_revoked"] * 4
    assert counted(grant) == recounted(grant)


def test_a_closed_batch_gives_back_what_was_counted_before_it_was_asked():
    user = make_user()
    batch = batches.create_batch(principal=principal_of(user))
    grant, _ = make_grant(user=user, batch_id=batch.id, max_files=20)
    close = partial(batches.close_batch, principal=principal_of(user), batch_id=batch.id)

    *outcomes, _ = at_once([partial(begin_or_code, grant)] * 6 + [close])

    assert {outcome for outcome in outcomes if isinstance(outcome, str)} <= {"batch_closed"}
    assert counted(grant) == recounted(grant)
    assert UploadBatch.objects.get(id=batch.id).total_files == recounted(grant)[0]
    with pytest.raises(Conflict):
        begin(grant)
