"""What only a store of parts does: the contract for all is in `test_storage_contract`."""

from dataclasses import replace

import pytest

from common.errors import NotFound
from common.ids import uuid7
from uploads.models import StoreUpload
from uploads.storage import Storage, storage_for_new
from uploads.storage.base import PartsLost, Receipt, UploadHandle
from uploads.storage.s3.appended import Grid
from uploads.tests.s3_servers import names_in, storage_of

pytestmark = pytest.mark.django_db
DATA = bytes(range(30))


@pytest.fixture
def store(s3) -> Storage:
    return storage_for_new()


def append(store: Storage, upload: UploadHandle, data: bytes, *, offset: int) -> Receipt:
    with store.uploads.write(upload, offset=offset, size_bytes=None) as writer:
        writer.write(memoryview(data))
        return writer.commit()


def put_part(store: Storage, upload: UploadHandle, number: int, data: bytes) -> Receipt:
    with store.uploads.write(
        upload, offset=10 * (number - 1), size_bytes=10, number=number
    ) as writer:
        writer.write(memoryview(data))
        return writer.commit()


def content(store: Storage, stored) -> bytes:
    with store.objects.open(stored) as opened:
        return opened.read()


@pytest.mark.parametrize("sizes", [[1] * 13 + [17], [3, 26, 1], [30], [8, 8, 8, 6], [7, 0, 9, 14]])
def test_appended_ranges_of_any_size_make_one_object(store, s3, sizes):
    upload = store.uploads.create(uuid7().hex, size_bytes=None)
    receipts, offset = [], 0
    for size in sizes:
        receipts.append(append(store, upload, DATA[offset : offset + size], offset=offset))
        offset += size
    for _ in range(2):
        stored = store.uploads.finish(upload, receipts, size_bytes=30)
        assert content(store, stored) == DATA
    assert names_in(s3) == [f"files/{upload.key}"]


def test_what_is_appended_again_takes_the_place_of_what_was_not_recorded(store):
    upload = store.uploads.create(uuid7().hex, size_bytes=None)
    first = append(store, upload, DATA[:5], offset=0)
    append(store, upload, b"x" * 12, offset=5)  # its sender was killed before it was recorded
    again = append(store, upload, DATA[5:], offset=5)
    stored = store.uploads.finish(upload, [first, again], size_bytes=30)
    assert content(store, stored) == DATA


def test_parts_of_an_appended_upload_have_room_for_the_largest_object():
    grid = Grid(8 * 2**20)
    cells, end = grid.whole_cells(5 * 2**40)
    assert len(cells) < 10_000
    assert [cell.number for cell in cells] == list(range(1, len(cells) + 1))
    assert 5 * 2**40 - end < cells[-1].size_bytes * 2


def test_a_part_that_another_has_overwritten_is_lost_and_can_be_sent_again(store):
    upload = store.uploads.create(uuid7().hex, size_bytes=30)
    receipts = [put_part(store, upload, n, DATA[10 * (n - 1) : 10 * n]) for n in (1, 2, 3)]
    put_part(store, upload, 2, b"x" * 10)  # late, of a sender whose lease had run out
    with pytest.raises(PartsLost) as lost:
        store.uploads.finish(upload, receipts, size_bytes=30)
    assert lost.value.offsets == [10]
    receipts[1] = put_part(store, upload, 2, DATA[10:20])
    assert content(store, store.uploads.finish(upload, receipts, size_bytes=30)) == DATA


def test_a_body_that_is_not_committed_is_no_part(store, s3):
    upload = store.uploads.create(uuid7().hex, size_bytes=30)
    put_part(store, upload, 1, DATA[:10])
    with store.uploads.write(upload, offset=10, size_bytes=10, number=2) as writer:
        writer.write(memoryview(DATA[10:20]))
    assert [number for number, _, _ in store.uploads.listed_parts(upload)] == [1]


def test_a_file_of_one_range_is_one_object_at_once(store, s3):
    upload = store.uploads.create(uuid7().hex, size_bytes=10)
    receipt = put_part(store, upload, 1, DATA[:10])
    assert names_in(s3) == [f"files/{upload.key}"]
    assert content(store, store.uploads.finish(upload, [receipt], size_bytes=10)) == DATA[:10]


def test_a_multipart_upload_that_somebody_aborted_is_missing(store):
    upload = store.uploads.create(uuid7().hex, size_bytes=30)
    receipts = [put_part(store, upload, n, DATA[10 * (n - 1) : 10 * n]) for n in (1, 2, 3)]
    token = StoreUpload.objects.get().token
    store.uploads._bucket.abort(upload.key, token)
    with pytest.raises(NotFound) as error:
        store.uploads.finish(upload, receipts, size_bytes=30)
    assert error.value.code == "upload_missing"


def test_discarding_leaves_nothing_in_the_bucket(store, s3):
    for size in (10, 30, None):
        upload = store.uploads.create(uuid7().hex, size_bytes=size)
        if size is None:
            append(store, upload, DATA, offset=0)
        else:
            put_part(store, upload, 1, DATA[:10])
        store.uploads.discard(upload)
    assert (names_in(s3), StoreUpload.objects.count()) == ([], 0)


def test_an_object_can_be_read_from_anywhere(store):
    with store.uploads.put(uuid7().hex, size_bytes=30) as writer:
        writer.write(memoryview(DATA))
        stored = writer.commit()
    with store.objects.open(stored) as opened:
        assert (opened.seek(20), opened.read()) == (20, DATA[20:])
        assert (opened.seek(-5, 2), opened.read(2)) == (25, DATA[25:27])
        assert (opened.seek(0), opened.read()) == (0, DATA)


def test_an_object_of_a_backup_needs_no_row_to_be_put_back(store, django_assert_num_queries):
    key = uuid7().hex
    with django_assert_num_queries(0):
        with store.uploads.put_back(key, size_bytes=30) as writer:
            writer.write(memoryview(DATA))
            stored = writer.commit()
        assert content(store, stored) == DATA


def test_an_object_that_is_too_large_for_one_request_is_sent_in_parts(s3):
    store = storage_of(replace(s3, put_bytes=8))
    for put in (store.uploads.put, store.uploads.put_back):
        with put(uuid7().hex, size_bytes=30) as writer:
            writer.write(memoryview(DATA[:19]))
            writer.write(memoryview(DATA[19:]))
            stored = writer.commit()
        assert content(store, stored) == DATA
        store.objects.delete(stored)
        with put(uuid7().hex, size_bytes=30) as writer, pytest.raises(OSError, match="shorter"):
            writer.write(memoryview(DATA[:16]))
            writer.commit()
    assert names_in(s3) == []
