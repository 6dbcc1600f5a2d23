"""The rolling SHA-256: what is read, and when."""

import hashlib
from contextlib import contextmanager
from itertools import permutations

import pytest

from accounts.tests.factories import principal_of
from uploads.models import UploadSession
from uploads.receiving import digests, finalizing
from uploads.storage import handle_of, storage_for
from uploads.storage.local import LocalUploads
from uploads.tests.factories import make_session, send_part, send_parts, some_bytes

pytestmark = pytest.mark.django_db


@pytest.fixture
def rolls_at_once(monkeypatch) -> None:
    """Every part is worth a turn."""
    monkeypatch.setattr(digests, "_DUE_BYTES", 1)


@pytest.fixture
def read_bytes(monkeypatch) -> list[int]:
    """How many bytes each read of an upload gave; `detect_type` reads through this too."""
    counts: list[int] = []
    original = LocalUploads.reader

    class CountingReader:
        def __init__(self, reader) -> None:
            self.reader = reader

        def read_into(self, buffer, *, offset):
            counts.append(self.reader.read_into(buffer, offset=offset))
            return counts[-1]

    @contextmanager
    def counting(self, key):
        with original(self, key) as reader:
            yield CountingReader(reader)

    monkeypatch.setattr(LocalUploads, "reader", counting)
    return counts


def hashed(session) -> int:
    return UploadSession.objects.get(id=session.id).hashed_bytes


def complete(session) -> str:
    current = UploadSession.objects.select_related("file").get(id=session.id)
    with storage_for(session).locks.exclusive(handle_of(session)):
        return digests.complete_digest(current, length=current.length_bytes)


@pytest.mark.usefixtures("rolls_at_once")
def test_the_digest_follows_parts_that_come_in_order():
    data = some_bytes(95)
    session = make_session(data, chunk=10)
    for number in range(1, 11):
        send_part(session, number, data)
        assert hashed(session) == min(number * 10, 95)


def test_a_file_that_came_in_order_is_not_read_again_to_finalize_it(read_bytes):
    data = some_bytes(95)
    session = make_session(data, chunk=10)
    send_parts(session, data)
    assert complete(session) == hashlib.sha256(data).hexdigest()
    assert read_bytes == []


def test_the_digest_is_rolled_when_enough_has_come_together_and_at_the_end(monkeypatch):
    monkeypatch.setattr(digests, "_DUE_BYTES", 30)
    data = some_bytes(75)
    session = make_session(data, chunk=10)
    seen = []
    for number in (2, 1, 4, 3, 5, 7, 8, 6):
        send_part(session, number, data)
        seen.append(hashed(session))
    assert seen == [0, 10, 10, 40, 50, 50, 50, 75]


@pytest.mark.usefixtures("rolls_at_once")
def test_a_gap_stops_the_digest_and_filling_it_carries_it_on():
    data = some_bytes(100)
    session = make_session(data, chunk=10)
    send_parts(session, data, order=[1, 3, 4])
    assert hashed(session) == 10
    send_part(session, 2, data)
    assert hashed(session) == 40


@pytest.mark.parametrize(
    "order", [range(40, 0, -1), [*range(2, 41), 1], [*range(1, 41, 2), *range(2, 41, 2)]]
)
def test_a_file_that_came_out_of_order_is_read_at_most_once_in_all(read_bytes, order):
    data = some_bytes(397)
    session = make_session(data, chunk=10)
    send_parts(session, data, order=order)
    assert complete(session) == hashlib.sha256(data).hexdigest()
    assert sum(read_bytes) <= len(data)


def test_any_order_of_parts_gives_the_same_digest():
    data = some_bytes(35)
    for order in permutations(range(1, 5)):
        session = make_session(data, chunk=10)
        send_parts(session, data, order=order)
        file = finalizing.finalize_session(
            principal=principal_of(session.created_by), session_id=session.id
        )
        assert file.sha256 == hashlib.sha256(data).hexdigest()


def test_a_request_carries_the_digest_until_it_has_caught_up(read_bytes):
    data = some_bytes(1000)
    session = make_session(data, chunk=10)
    send_parts(session, data, order=[*range(2, 101), 1])
    assert hashed(session) == 1000
    read_bytes.clear()
    assert complete(session) == hashlib.sha256(data).hexdigest()
    assert read_bytes == []


def test_a_request_carries_the_digest_only_so_long_for_others(monkeypatch):
    """The sender of one part must not wait for the hashing of a whole large file."""
    monkeypatch.setattr(digests, "_LONGEST_SECONDS", 0)
    monkeypatch.setattr(digests, "_ROUND_BYTES", 40)
    data = some_bytes(1000)
    session = make_session(data, chunk=10)
    send_parts(session, data, order=range(2, 101))
    send_part(session, 1, data)
    assert hashed(session) == 10 + 40
    assert complete(session) == hashlib.sha256(data).hexdigest()


def test_blocks_larger_than_the_buffer_are_read_in_pieces(read_bytes, monkeypatch):
    monkeypatch.setattr(digests, "BLOCK_BYTES", 7)
    data = some_bytes(100)
    session = make_session(data, chunk=50)
    send_parts(session, data, order=[2, 1])
    assert max(read_bytes) == 7
    assert complete(session) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("round_bytes", "first_run"), [(1, 20), (10, 20), (11, 30), (40, 50)])
@pytest.mark.usefixtures("rolls_at_once")
def test_a_round_takes_whole_parts_until_it_has_its_bytes(monkeypatch, round_bytes, first_run):
    monkeypatch.setattr(digests, "_LONGEST_SECONDS", 0)
    monkeypatch.setattr(digests, "_ROUND_BYTES", round_bytes)
    data = some_bytes(95)
    session = make_session(data, chunk=10)
    send_parts(session, data, order=[*range(2, 11), 1])
    assert hashed(session) == first_run


@pytest.mark.usefixtures("rolls_at_once")
def test_a_repeated_part_is_not_hashed_again(read_bytes):
    data = some_bytes(20)
    session = make_session(data, chunk=10)
    send_part(session, 1, data)
    read_bytes.clear()
    send_part(session, 1, data)
    assert read_bytes == []
    assert hashed(session) == 10


def test_without_a_libcrypto_the_file_is_read_once_at_the_end(read_bytes, monkeypatch):
    monkeypatch.setattr(digests, "can_save_state", lambda: False)
    data = some_bytes(95)
    session = make_session(data, chunk=10)
    send_parts(session, data)
    assert (hashed(session), read_bytes) == (0, [])
    assert complete(session) == hashlib.sha256(data).hexdigest()
    assert sum(read_bytes) == len(data)


def test_a_machine_that_loses_its_libcrypto_midway_still_finishes(monkeypatch):
    data = some_bytes(95)
    session = make_session(data, chunk=10)
    send_parts(session, data, order=range(1, 5))
    monkeypatch.setattr(digests, "can_save_state", lambda: False)
    send_parts(session, data, order=range(5, 11))
    assert complete(session) == hashlib.sha256(data).hexdigest()


def test_an_upload_that_is_shorter_than_it_should_be_is_an_error(tmp_path):
    data = some_bytes(20)
    session = make_session(data, chunk=10)
    send_part(session, 2, data)
    key = session.spool_key
    (tmp_path / "spool" / key[-2:] / key).write_bytes(data[:15])
    with pytest.raises(OSError, match="ends at byte 15"):
        complete(session)
