"""Uploads whose parts get their order last."""

from functools import partial

import pytest

from accounts.tests.factories import make_user, principal_of
from common.errors import Conflict, DooritoError, InvalidInput
from common.ids import uuid7
from common.tests.threads import at_once
from uploads.files.acceptance import checks
from uploads.files.acceptance.base import Check
from uploads.models import PartOrder, UploadPart, UploadSession
from uploads.receiving.assembling import add_part, assemble
from uploads.receiving.finalizing import finalize_session
from uploads.receiving.requests import UploadRequest
from uploads.receiving.sessions import create_session
from uploads.tests.factories import make_session, sha256, some_bytes, stored_bytes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("each_store")]
DATA = some_bytes(300)
PARTS = [DATA[:100], DATA[100:200], DATA[200:]]


@pytest.fixture
def session() -> UploadSession:
    request = UploadRequest("a.bin", 300, part_order=PartOrder.TOLD_LAST)
    return create_session(principal=principal_of(make_user()), request=request)[0]


def add(session: UploadSession, data: bytes, *, size: int | None = None):
    return add_part(
        principal=principal_of(session.created_by),
        session_id=session.id,
        size_bytes=len(data) if size is None else size,
        blocks=iter([memoryview(data)]),
    )


def put_together(session: UploadSession, order) -> None:
    assemble(principal=principal_of(session.created_by), session_id=session.id, order=order)


def finalize(session: UploadSession):
    return finalize_session(principal=principal_of(session.created_by), session_id=session.id)


@pytest.mark.parametrize("arrival", [[0, 1, 2], [2, 0, 1], [2, 1, 0]])
def test_parts_make_the_file_in_the_order_that_is_told(session, arrival):
    ids = {place: add(session, PARTS[place]) for place in arrival}
    put_together(session, [ids[0], ids[1], ids[2]])
    file = finalize(session)
    assert (file.sha256, file.size_bytes) == (sha256(DATA), 300)
    assert stored_bytes(file) == DATA
    assert finalize(session) == file


def test_parts_that_are_not_named_are_left_out(session):
    first, unwanted = add(session, PARTS[0]), add(session, b"x" * 50)
    rest = add(session, DATA[100:])
    put_together(session, [first, rest])
    assert stored_bytes(finalize(session)) == DATA
    assert not UploadPart.objects.filter(id=unwanted).exists()


def test_the_order_can_be_told_again_until_the_end(session):
    ids = [add(session, part) for part in PARTS]
    put_together(session, ids[::-1])
    put_together(session, ids)
    assert stored_bytes(finalize(session)) == DATA


def test_an_order_must_name_parts_of_the_upload_once_and_make_its_length(session):
    ids = [add(session, part) for part in PARTS]
    for order, code in [
        ([*ids, ids[0]], "repeated_part"),
        ([*ids[:2], uuid7()], "unknown_part"),
        (ids[:2], "length_differs"),
    ]:
        with pytest.raises(InvalidInput) as error:
            put_together(session, order)
        assert error.value.code == code
    with pytest.raises(InvalidInput):
        put_together(session, [])
    put_together(session, ids)
    assert stored_bytes(finalize(session)) == DATA


def test_a_part_that_breaks_off_is_no_part(session):
    with pytest.raises(InvalidInput) as error:
        add(session, PARTS[0][:60], size=100)
    assert error.value.code == "body_incomplete"
    ids = [add(session, part) for part in PARTS]
    put_together(session, ids)
    assert stored_bytes(finalize(session)) == DATA


def test_an_upload_takes_no_more_than_was_announced_and_some_waste(session, monkeypatch):
    monkeypatch.setattr("uploads.receiving.assembling._SPARE_BYTES", 0)
    for _ in range(6):
        add(session, b"x" * 100)
    with pytest.raises(DooritoError) as error:
        add(session, b"x")
    assert error.value.code == "parts_too_large"


def test_parts_may_come_at_once(session):
    ids = at_once([partial(add, session, part) for part in PARTS])
    put_together(session, ids)
    assert stored_bytes(finalize(session)) == DATA


def test_nothing_is_written_behind_a_file_while_it_is_checked(session):
    refused: list[str] = []

    def send_more(*_) -> None:
        with pytest.raises(Conflict) as error:
            add(session, b"tail")
        refused.append(error.value.code)

    put_together(session, [add(session, part) for part in PARTS])
    checks.register(Check("further", content=send_more))
    try:
        file = finalize(session)
    finally:
        checks.unregister("further")
    assert refused == ["finalize_in_progress"]
    assert stored_bytes(file) == DATA


def test_a_part_that_comes_while_the_order_is_told_is_refused(session):
    ids = [add(session, part) for part in PARTS]

    def slowly():
        yield memoryview(b"x" * 50)
        put_together(session, ids)
        yield memoryview(b"x" * 50)

    with pytest.raises(Conflict) as error:
        add_part(
            principal=principal_of(session.created_by),
            session_id=session.id,
            size_bytes=100,
            blocks=slowly(),
        )
    assert error.value.code == "finalize_in_progress"
    assert stored_bytes(finalize(session)) == DATA


def test_an_upload_in_numbered_parts_is_not_assembled():
    session = make_session(DATA, chunk=100)
    for call in (lambda: add(session, b"x"), lambda: put_together(session, [])):
        with pytest.raises(Conflict) as error:
            call()
        assert error.value.code == "not_assembled"
