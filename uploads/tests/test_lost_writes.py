"""Uploads that outlive a crash of the machine, which may lose bytes that the database knows of."""

import os
from functools import partial

import pytest

from accounts.tests.factories import make_user, principal_of
from common.errors import DooritoError, InvalidInput
from common.tests.threads import at_once
from uploads.models import PartOrder, UploadSession
from uploads.receiving import assembling, finalizing
from uploads.receiving.requests import UploadRequest
from uploads.receiving.sessions import create_session
from uploads.tests.factories import (
    make_session,
    send_parts,
    sha256,
    some_bytes,
    spool_path,
    written,
)

pytestmark = pytest.mark.django_db(transaction=True)
DATA = some_bytes(300)


@pytest.fixture
def session():
    """Three parts received, hashed already, before the machine went down."""
    session = make_session(DATA, chunk=100)
    send_parts(session, DATA, order=[1, 2, 3])
    UploadSession.objects.filter(id=session.id).update(storage_epoch="an earlier run")
    return session


def finalize(session):
    return finalizing.finalize_session(
        principal=principal_of(session.created_by), session_id=session.id
    )


def lose(session, *, start: int, end: int) -> None:
    written(session, bytes(end - start), offset=start)


def test_what_is_intact_is_stored(session):
    assert finalize(session).sha256 == sha256(DATA)


def test_a_part_whose_bytes_were_lost_is_asked_for_again(session):
    lose(session, start=150, end=170)
    with pytest.raises(InvalidInput) as error:
        finalize(session)
    assert (error.value.code, error.value.extra["missing_parts"]) == ("parts_missing", "2")
    session.refresh_from_db()
    assert (session.received_parts_count, session.received_bytes) == (2, 200)
    send_parts(session, DATA, order=[2])
    assert finalize(session).sha256 == sha256(DATA)


def test_a_lost_part_whose_order_was_told_can_be_sent_again_in_any_pieces():
    request = UploadRequest("a.bin", 300, part_order=PartOrder.TOLD_LAST)
    session = create_session(principal=principal_of(make_user()), request=request)[0]

    def add(data):
        return assembling.add_part(
            principal=principal_of(session.created_by),
            session_id=session.id,
            size_bytes=len(data),
            blocks=iter([memoryview(data)]),
        )

    def complete(order):
        return assembling.complete(
            principal=principal_of(session.created_by), session_id=session.id, order=order
        )

    first, second, third = (add(DATA[at : at + 100]) for at in (0, 100, 200))
    UploadSession.objects.filter(id=session.id).update(storage_epoch="an earlier run")
    lose(session, start=20, end=50)
    with pytest.raises(InvalidInput):
        complete([first, second, third])
    again = [add(DATA[:50]), add(DATA[50:100])]
    done = complete([*again, second, third])
    assert done.file.sha256 == sha256(DATA)


def test_within_one_run_of_the_machine_nothing_is_read_again(session):
    """Which shows that the two tests above owe their success to the check."""
    UploadSession.objects.filter(id=session.id).update(storage_epoch=session.storage_epoch)
    lose(session, start=150, end=170)
    assert finalize(session).sha256 == sha256(DATA)


def code_of_finalize(session) -> str:
    try:
        finalize(session)
    except DooritoError as error:
        return error.code
    return "stored"


def test_those_who_waited_for_the_check_go_by_it_too(session):
    """The second one finds the session checked already, but not whole."""
    lose(session, start=150, end=170)
    codes = at_once([partial(code_of_finalize, session)] * 8)
    assert set(codes) == {"parts_missing"}
    send_parts(session, DATA, order=[2])
    assert finalize(session).sha256 == sha256(DATA)


def test_parts_that_a_shortened_spool_lacks_are_asked_for_again(session):
    os.truncate(spool_path(session), 250)
    with pytest.raises(InvalidInput) as error:
        finalize(session)
    assert error.value.extra["missing_parts"] == "3"
    send_parts(session, DATA, order=[3])
    assert finalize(session).sha256 == sha256(DATA)
