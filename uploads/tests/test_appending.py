"""Uploads that grow at their end."""

import hashlib
from functools import partial

import pytest

from accounts.tests.factories import make_user, principal_of
from common.errors import Conflict, DooritoError, Gone, InvalidInput, NotFound, RequestTimeout
from common.http.digests import Digest
from common.tests.threads import at_once
from uploads.models import PartOrder, UploadPart, UploadSession
from uploads.receiving import appending
from uploads.receiving.appending import Progress, append, declare_length
from uploads.receiving.finalizing import finalize_session
from uploads.receiving.requests import UploadRequest
from uploads.receiving.sessions import abort_session, create_session
from uploads.tests.factories import (
    events,
    make_session,
    sha256,
    some_bytes,
    stored_bytes,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_store")]
DATA = some_bytes(300)


def begin(size_bytes: int | None = len(DATA)) -> UploadSession:
    request = UploadRequest("a.bin", size_bytes, part_order=PartOrder.APPENDED)
    session, created = create_session(principal=principal_of(make_user()), request=request)
    assert created
    return session


def send(session: UploadSession, data: bytes, *, offset: int, declared=None) -> Progress:
    blocks = (memoryview(data[at : at + 40]) for at in range(0, len(data), 40))
    return append(
        principal=principal_of(session.created_by),
        session_id=session.id,
        offset=offset,
        blocks=blocks,
        declared=declared,
    )


def where(progress: Progress) -> tuple[int, int | None]:
    return progress.offset_bytes, progress.length_bytes


def finalize(session: UploadSession):
    return finalize_session(principal=principal_of(session.created_by), session_id=session.id)


def broken(data: bytes, error: DooritoError):
    yield memoryview(data)
    raise error


def break_off(session: UploadSession, data: bytes, *, offset: int, declared=None) -> None:
    with pytest.raises(RequestTimeout):
        append(
            principal=principal_of(session.created_by),
            session_id=session.id,
            offset=offset,
            blocks=broken(data, RequestTimeout("body_stalled", "It stalled.")),
            declared=declared,
        )


def test_what_is_appended_makes_the_file():
    session = begin()
    assert where(send(session, DATA[:100], offset=0)) == (100, 300)
    assert where(send(session, DATA[100:], offset=100)) == (300, 300)
    file = finalize(session)
    assert (file.size_bytes, file.sha256) == (300, sha256(DATA))
    assert stored_bytes(file) == DATA
    assert finalize(session) == file
    assert [event.event_type for event in events()] == ["file.uploaded"]


def test_the_digest_is_complete_with_the_last_byte():
    """So that finalizing reads nothing again, whatever the store."""
    session = begin()
    send(session, DATA[:100], offset=0)
    send(session, DATA[100:], offset=100)
    session.refresh_from_db()
    assert session.hashed_bytes == 300


def test_an_offset_that_is_not_the_end_is_refused_with_the_right_one():
    session = begin()
    send(session, DATA[:100], offset=0)
    for offset in (0, 99, 101):
        with pytest.raises(Conflict) as error:
            send(session, DATA[100:], offset=offset)
        assert (error.value.code, error.value.extra["offset_bytes"]) == ("offset_mismatch", 100)
    send(session, DATA[100:], offset=100)
    assert stored_bytes(finalize(session)) == DATA


def test_what_came_of_a_broken_body_is_kept():
    session = begin()
    break_off(session, DATA[:120], offset=0)
    session.refresh_from_db()
    assert session.received_bytes == 120
    send(session, DATA[120:], offset=120)
    assert stored_bytes(finalize(session)) == DATA


def test_nothing_is_kept_of_a_broken_body_whose_digest_was_declared():
    session = begin()
    break_off(session, DATA[:120], offset=0, declared=Digest("sha-256", b"x" * 32))
    session.refresh_from_db()
    assert (session.received_bytes, session.hashed_bytes) == (0, 0)
    send(session, DATA, offset=0)
    assert stored_bytes(finalize(session)) == DATA


def test_a_body_of_another_digest_is_not_kept_and_the_right_one_is():
    session = begin()
    right = Digest("sha-256", hashlib.sha256(DATA).digest())
    with pytest.raises(DooritoError) as error:
        send(session, DATA[::-1], offset=0, declared=right)
    assert error.value.code == "digest_mismatch"
    assert send(session, DATA, offset=0, declared=right).offset_bytes == 300
    assert stored_bytes(finalize(session)) == DATA


def test_a_long_body_is_recorded_as_it_comes(monkeypatch):
    """A kill costs at most the last piece of it."""
    monkeypatch.setattr(appending, "CHECKPOINT_BYTES", 80)
    session = begin()
    send(session, DATA, offset=0)
    sizes = UploadPart.objects.filter(session=session).order_by("part_number")
    assert list(sizes.values_list("size_bytes", flat=True)) == [80, 80, 80, 60]
    assert stored_bytes(finalize(session)) == DATA


def test_more_than_the_length_is_refused():
    session = begin()
    send(session, DATA[:200], offset=0)
    with pytest.raises(InvalidInput) as error:
        send(session, DATA[:120], offset=200)
    assert error.value.code == "beyond_length"
    session.refresh_from_db()
    send(session, DATA[session.received_bytes :], offset=session.received_bytes)


def test_a_length_can_be_given_late():
    session = begin(None)
    assert where(send(session, DATA[:100], offset=0)) == (100, None)
    with pytest.raises(InvalidInput) as error:
        finalize(session)
    assert error.value.code == "upload_incomplete"
    principal = principal_of(session.created_by)
    with pytest.raises(InvalidInput) as error:
        declare_length(principal=principal, session_id=session.id, length_bytes=99)
    assert error.value.code == "length_too_small"
    for _ in range(2):
        declare_length(principal=principal, session_id=session.id, length_bytes=300)
    with pytest.raises(Conflict) as conflict:
        declare_length(principal=principal, session_id=session.id, length_bytes=301)
    assert conflict.value.code == "length_known"
    send(session, DATA[100:], offset=100)
    file = finalize(session)
    assert (file.size_bytes, stored_bytes(file)) == (300, DATA)


def test_a_file_of_unknown_length_has_a_bound(settings):
    settings.PORTAL_MAX_FILE_SIZE = 250
    session = begin(None)
    with pytest.raises(DooritoError) as error:
        send(session, DATA, offset=0)
    assert error.value.code == "file_too_large"


def test_an_upload_that_is_over_takes_nothing():
    session = begin()
    abort_session(principal=principal_of(session.created_by), session_id=session.id)
    with pytest.raises(Gone):
        send(session, DATA, offset=0)


def test_another_persons_upload_does_not_exist():
    session = begin()
    with pytest.raises(NotFound):
        append(
            principal=principal_of(make_user()),
            session_id=session.id,
            offset=0,
            blocks=iter([memoryview(DATA)]),
        )


def test_an_upload_in_numbered_parts_is_not_appended_to():
    session = make_session(DATA, chunk=100)
    with pytest.raises(Conflict) as error:
        send(session, DATA, offset=0)
    assert error.value.code == "not_appendable"


def test_what_a_power_failure_took_is_sent_again_from_there(each_store, settings):
    if each_store != "local":
        return  # nothing that was taken can be lost there
    session = begin()
    for at in (0, 100, 200):
        send(session, DATA[at : at + 100], offset=at)
    UploadSession.objects.filter(id=session.id).update(storage_epoch="an earlier run")
    path = settings.DOORITO_DATA_DIR / "spool" / session.spool_key[-2:] / session.spool_key
    with path.open("r+b") as spool:
        spool.seek(150)
        spool.write(bytes(20))
    with pytest.raises(InvalidInput):
        finalize(session)
    session.refresh_from_db()
    assert session.received_bytes == 100
    send(session, DATA[100:], offset=100)
    assert stored_bytes(finalize(session)) == DATA


@pytest.mark.django_db(transaction=True)
def test_of_several_who_append_at_once_one_does():
    session = begin()
    outcomes = at_once([partial(_outcome, session, data) for data in (DATA, DATA[::-1]) * 2])
    assert sorted(outcomes)[0] == "appended"
    assert outcomes.count("appended") == 1
    assert set(outcomes) <= {"appended", "superseded", "offset_mismatch"}
    assert stored_bytes(finalize(session)) in (DATA, DATA[::-1])


def _outcome(session: UploadSession, data: bytes) -> str:
    try:
        send(session, data, offset=0)
    except Conflict as error:
        return error.code
    return "appended"
