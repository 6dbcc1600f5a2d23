"""What every storage backend does, whichever it is: one suite for all of them.

It is run for the local store, for one that is as unlike it as can be (`multipart_store`), and for
S3 on two servers.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from boot.tests.database import url_of_the_tests
from common.errors import Conflict, Gone, NotFound
from common.ids import uuid7
from uploads.storage import leases
from uploads.storage.base import ListsObjects, Receipt, Storage, StoredObject, UploadHandle
from uploads.storage.local import local_storage, locks
from uploads.storage.s3 import S3Config
from uploads.tests.multipart_store import multipart_storage
from uploads.tests.s3_servers import LEASE_SECONDS, SERVERS, names_in, storage_of

ROOT = Path(__file__).resolve().parents[2]
MAKERS = {
    "local": ("uploads.storage.local", local_storage),
    "multipart": ("uploads.tests.multipart_store", multipart_storage),
}
DATA = bytes(range(30))


IN_ROWS = [
    pytest.param(server, marks=[*marks, pytest.mark.django_db(transaction=True)])
    for server, marks in SERVERS.items()
]


@pytest.fixture(params=[*MAKERS, *IN_ROWS])
def kind(request) -> str:
    return request.param


@pytest.fixture
def name(kind) -> str:
    """What rows call it."""
    return kind if kind in MAKERS else "s3"


@pytest.fixture
def config(kind, request) -> S3Config | None:
    if kind in MAKERS:
        return None
    return request.getfixturevalue(kind).config


@pytest.fixture
def storage(kind, config, tmp_path: Path) -> Storage:
    return storage_of(config) if config else MAKERS[kind][1](tmp_path)


@pytest.fixture
def left(config, tmp_path: Path) -> Callable[[], Sequence[object]]:
    """What the store has."""
    if config:
        return lambda: names_in(config)
    return lambda: [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.fixture
def upload(storage) -> UploadHandle:
    """An upload with room for 30 bytes."""
    return storage.uploads.create(uuid7().hex, size_bytes=30)


def write(storage: Storage, upload: UploadHandle, data: bytes, *, offset: int = 0) -> Receipt:
    size = len(data)
    with (
        storage.locks.writing(upload, offset=offset, size_bytes=size),
        storage.uploads.write(upload, offset=offset, size_bytes=size) as writer,
    ):
        writer.write(memoryview(data))
        return writer.commit()


def append(storage: Storage, upload: UploadHandle, data: bytes, *, offset: int) -> Receipt:
    with (
        storage.locks.writing(upload, offset=offset, size_bytes=None),
        storage.uploads.write(upload, offset=offset, size_bytes=None) as writer,
    ):
        writer.write(memoryview(data))
        return writer.commit()


def write_thirds(storage: Storage, upload: UploadHandle) -> list[Receipt]:
    """DATA in three parts, the last one first; the receipts in the file's order."""
    receipts = [write(storage, upload, DATA[at : at + 10], offset=at) for at in (20, 0, 10)]
    return sorted(receipts, key=lambda receipt: receipt.offset_bytes)


def finished(storage: Storage, upload: UploadHandle):
    receipts = write_thirds(storage, upload)
    return storage.uploads.finish(upload, receipts, size_bytes=30)


def content(storage: Storage, stored, **span: int) -> bytes:
    with storage.objects.open(stored, **span) as opened:
        return opened.read()


@pytest.fixture
def making(kind, config, tmp_path: Path) -> str:
    """The lines of a program that make the same store."""
    if kind == "local":
        return making_local(tmp_path)
    if config is None:
        module, make = MAKERS[kind]
        return _making(module, make.__name__, tmp_path)
    return (
        "from uploads.storage.s3 import S3Config, s3_storage\n"
        f"storage = s3_storage({config!r}, lease_seconds={LEASE_SECONDS})"
    )


def making_local(root: Path) -> str:
    return _making("uploads.storage.local", "local_storage", root)


def _making(module: str, name: str, root: Path) -> str:
    return f"from {module} import {name}\nstorage = {name}(Path({str(root)!r}))"


@contextmanager
def other_process(making: str, body: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that runs `body`, says so, and waits until it is killed."""
    program = (
        "import sys\nfrom pathlib import Path\n"
        "import configurations\nconfigurations.setup()\n"
        f"{making}\n"
        "from uploads.storage.base import UploadHandle\n"
        f"{body}\n    print('ready', flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url_of_the_tests()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


# --- Bytes ---------------------------------------------------------------------------------------


def test_ranges_are_taken_in_any_order_and_make_one_object(storage, upload, name):
    stored = finished(storage, upload)
    assert (stored.backend, stored.key) == (name, upload.key) == (storage.name, upload.key)
    assert content(storage, stored) == DATA


def test_a_receipt_says_which_range_was_taken(storage, upload):
    receipt = write(storage, upload, DATA[10:20], offset=10)
    assert (receipt.offset_bytes, receipt.size_bytes) == (10, 10)


def test_blocks_of_a_range_follow_one_another_and_may_be_overwritten_at_once(storage, upload):
    buffer = memoryview(bytearray(10))
    with storage.uploads.write(upload, offset=0, size_bytes=30) as writer:
        for at in (0, 10, 20):
            buffer[:] = DATA[at : at + 10]
            writer.write(buffer)
        receipt = writer.commit()
    stored = storage.uploads.finish(upload, [receipt], size_bytes=30)
    assert content(storage, stored) == DATA


def test_a_range_can_be_written_again_as_long_as_nothing_is_finished(storage, upload):
    write(storage, upload, b"x" * 10, offset=10)
    assert content(storage, finished(storage, upload)) == DATA


def test_a_length_may_be_given_late_and_ranges_too(storage):
    upload = storage.uploads.create(uuid7().hex, size_bytes=None)
    receipts = [append(storage, upload, DATA[:20], offset=0)]
    storage.uploads.resize(upload, size_bytes=30)
    storage.uploads.resize(upload, size_bytes=30)
    receipts.append(append(storage, upload, DATA[20:], offset=20))
    stored = storage.uploads.finish(upload, receipts, size_bytes=30)
    assert content(storage, stored) == DATA


def test_what_a_broken_request_wrote_behind_the_end_is_no_part_of_the_object(storage):
    upload = storage.uploads.create(uuid7().hex, size_bytes=None)
    receipt = append(storage, upload, DATA[:10], offset=0)
    with storage.uploads.write(upload, offset=10, size_bytes=None) as writer:
        writer.write(memoryview(b"never committed"))
    stored = storage.uploads.finish(upload, [receipt], size_bytes=10)
    assert content(storage, stored) == DATA[:10]


def test_ranges_can_be_finished_in_another_order_than_they_lie_in(storage, upload):
    first, second, third = write_thirds(storage, upload)
    stored = storage.uploads.finish(upload, [third, first, second], size_bytes=30)
    assert content(storage, stored) == DATA[20:] + DATA[:20]
    assert storage.uploads.finish(upload, [third, first, second], size_bytes=30) == stored
    assert content(storage, stored) == DATA[20:] + DATA[:20]


def test_ranges_that_the_order_leaves_out_are_left_out(storage, upload):
    first, _, third = write_thirds(storage, upload)
    stored = storage.uploads.finish(upload, [third, first], size_bytes=20)
    assert content(storage, stored) == DATA[20:] + DATA[:10]


def test_an_empty_upload_is_an_empty_object(storage):
    upload = storage.uploads.create(uuid7().hex, size_bytes=0)
    stored = storage.uploads.finish(upload, [], size_bytes=0)
    assert content(storage, stored) == b""


def test_numbered_ranges_in_any_order_make_one_object(storage, upload):
    receipts = []
    for number in (3, 1, 2):
        span = slice(10 * (number - 1), 10 * number)
        with storage.uploads.write(
            upload, offset=span.start, size_bytes=10, number=number
        ) as writer:
            writer.write(memoryview(DATA)[span])
            receipts.append(writer.commit())
    receipts.sort(key=lambda receipt: receipt.offset_bytes)
    for _ in range(2):
        stored = storage.uploads.finish(upload, receipts, size_bytes=30)
        assert content(storage, stored) == DATA


def test_a_key_is_created_once(storage, upload):
    with pytest.raises(FileExistsError):
        storage.uploads.create(upload.key, size_bytes=1)
    assert content(storage, finished(storage, upload)) == DATA


# --- Finishing, discarding -----------------------------------------------------------------------


def test_finishing_again_is_harmless(storage, upload):
    receipts = write_thirds(storage, upload)
    stored = storage.uploads.finish(upload, receipts, size_bytes=30)
    assert storage.uploads.finish(upload, receipts, size_bytes=30) == stored
    assert content(storage, stored) == DATA


def test_an_upload_of_another_size_is_not_finished(storage, upload, tmp_path):
    receipts = write_thirds(storage, upload)
    with pytest.raises(OSError, match=r"bytes.*, not 31"):
        storage.uploads.finish(upload, receipts, size_bytes=31)
    later = datetime.now(UTC) + timedelta(days=1)
    assert list(storage.uploads.unfinished(older_than=later)) == [upload]  # it can go on


def test_a_finished_upload_is_not_listed_as_unfinished(storage, upload):
    finished(storage, upload)
    later = datetime.now(UTC) + timedelta(days=1)
    assert list(storage.uploads.unfinished(older_than=later)) == []


def test_unfinished_uploads_are_listed_by_their_age(storage, upload):
    now = datetime.now(UTC)
    assert list(storage.uploads.unfinished(older_than=now - timedelta(minutes=1))) == []
    later = now + timedelta(minutes=1)
    assert list(storage.uploads.unfinished(older_than=later)) == [upload]


def test_an_empty_store_has_nothing_unfinished(storage):
    assert list(storage.uploads.unfinished(older_than=datetime.now(UTC))) == []


@pytest.mark.parametrize("is_finished", [False, True])
def test_a_discarded_upload_is_gone_and_discarding_again_is_harmless(storage, upload, is_finished):
    receipts = write_thirds(storage, upload)
    if is_finished:
        stored = storage.uploads.finish(upload, receipts, size_bytes=30)
    storage.uploads.discard(upload)
    storage.uploads.discard(upload)
    for lock in (storage.locks.exclusive, storage.locks.settled, storage.locks.try_exclusive):
        with pytest.raises(NotFound) as error, lock(upload):
            pass
        assert error.value.code == "upload_missing"
    with pytest.raises(NotFound):
        write(storage, upload, DATA)
    with pytest.raises(NotFound):
        storage.uploads.finish(upload, receipts, size_bytes=30)
    if is_finished:
        with pytest.raises(Gone):
            content(storage, stored)


# --- Whole objects -------------------------------------------------------------------------------


def test_a_whole_object_is_stored_at_once(storage):
    key = uuid7().hex
    with storage.uploads.put(key, size_bytes=30) as writer:
        writer.write(memoryview(DATA)[:10])
        writer.write(memoryview(DATA)[10:])
        stored = writer.commit()
        assert content(storage, stored) == DATA
    assert (stored.backend, stored.key) == (storage.name, key)
    assert content(storage, stored) == DATA
    later = datetime.now(UTC) + timedelta(days=1)
    assert list(storage.uploads.unfinished(older_than=later)) == []


def test_an_empty_object_is_stored_at_once(storage):
    with storage.uploads.put(uuid7().hex, size_bytes=0) as writer:
        stored = writer.commit()
    assert content(storage, stored) == b""


def test_an_object_that_is_not_committed_leaves_nothing(storage, left):
    key = uuid7().hex
    with pytest.raises(ZeroDivisionError), storage.uploads.put(key, size_bytes=30) as writer:
        writer.write(memoryview(DATA))
        raise ZeroDivisionError
    with storage.uploads.put(uuid7().hex, size_bytes=30) as writer:
        writer.write(memoryview(DATA))
    assert left() == []


def test_an_object_whose_block_fails_after_the_commit_is_the_callers_to_judge(storage):
    later = datetime.now(UTC) + timedelta(days=1)
    with (
        pytest.raises(ZeroDivisionError),
        storage.uploads.put(uuid7().hex, size_bytes=30) as writer,
    ):
        writer.write(memoryview(DATA))
        stored = writer.commit()
        raise ZeroDivisionError
    (upload,) = storage.uploads.unfinished(older_than=later)
    assert content(storage, stored) == DATA
    storage.uploads.discard(upload)
    assert list(storage.uploads.unfinished(older_than=later)) == []
    with pytest.raises(Gone):
        content(storage, stored)


def test_an_object_that_is_discarded_meanwhile_is_not_stored(storage, left):
    key = uuid7().hex
    later = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(NotFound) as error, storage.uploads.put(key, size_bytes=30) as writer:
        writer.write(memoryview(DATA))
        (upload,) = storage.uploads.unfinished(older_than=later)
        storage.uploads.discard(upload)
        writer.commit()
    assert error.value.code == "upload_missing"
    assert left() == []


def test_an_object_of_another_size_is_not_stored(storage):
    with (
        pytest.raises(OSError, match="30"),
        storage.uploads.put(uuid7().hex, size_bytes=30) as writer,
    ):
        writer.write(memoryview(DATA)[:29])
        writer.commit()


def test_an_object_that_is_being_put_is_busy(storage):
    key = uuid7().hex
    later = datetime.now(UTC) + timedelta(days=1)
    with storage.uploads.put(key, size_bytes=30) as writer:
        (upload,) = storage.uploads.unfinished(older_than=later)
        with storage.locks.try_idle(upload) as idle:
            assert not idle
        writer.write(memoryview(DATA))
        writer.commit()


@pytest.mark.process
def test_a_kill_in_the_midst_of_putting_leaves_what_is_listed(storage, making):
    key = uuid7().hex
    body = (
        f"with storage.uploads.put({key!r}, size_bytes=30) as writer:\n"
        "    writer.write(memoryview(bytes(range(30))))\n    stored = writer.commit()"
    )
    with other_process(making, body) as process:
        process.kill()
        process.wait()
    later = datetime.now(UTC) + timedelta(days=1)
    (upload,) = storage.uploads.unfinished(older_than=later)
    assert upload.key == key
    storage.uploads.settle(upload)
    assert list(storage.uploads.unfinished(older_than=later)) == []


# --- Objects -------------------------------------------------------------------------------------


def test_a_range_of_an_object_can_be_read(storage, upload):
    stored = finished(storage, upload)
    assert content(storage, stored, start=10) == DATA[10:]
    assert content(storage, stored, start=10, end=15) == DATA[10:15]
    assert content(storage, stored, end=5) == DATA[:5]


def test_a_deleted_object_is_gone_and_deleting_again_is_harmless(storage, upload):
    stored = finished(storage, upload)
    storage.objects.delete(stored)
    storage.objects.delete(stored)
    with pytest.raises(Gone) as error:
        content(storage, stored)
    assert error.value.code == "file_purged"


def test_who_reads_a_deleted_object_may_finish_reading(storage, upload):
    stored = finished(storage, upload)
    with storage.objects.open(stored) as opened:
        storage.objects.delete(stored)
        assert opened.read() == DATA


# --- Locks ---------------------------------------------------------------------------------------


def test_a_second_writer_of_a_range_is_sent_away(storage, upload):
    with storage.locks.writing(upload, offset=10, size_bytes=10):
        with pytest.raises(Conflict) as error:
            write(storage, upload, DATA[10:20], offset=10)
        assert error.value.code == "part_in_progress"
        assert error.value.retry_after is not None
    write(storage, upload, DATA[10:20], offset=10)


def test_overlapping_ranges_exclude_one_another_and_neighbours_do_not(storage, upload):
    with storage.locks.writing(upload, offset=10, size_bytes=10):
        for offset, size in [(5, 6), (19, 1), (0, 30), (0, None)]:
            with (
                pytest.raises(Conflict),
                storage.locks.writing(upload, offset=offset, size_bytes=size),
            ):
                pass
        write(storage, upload, DATA[:10])
        with storage.locks.writing(upload, offset=20, size_bytes=None):
            pass


def test_a_lock_holds_between_threads(storage, upload):
    seen: list[str] = []

    def second() -> None:
        try:
            write(storage, upload, DATA[:10])
        except Conflict as error:
            seen.append(error.code)

    with storage.locks.writing(upload, offset=0, size_bytes=10):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert seen == ["part_in_progress"]


@pytest.mark.process
def test_a_lock_holds_between_processes_and_ends_with_its_process(storage, making, upload):
    body = (
        f"with storage.locks.writing({upload!r}, offset=0, size_bytes=10), "
        f"storage.uploads.write({upload!r}, offset=0, size_bytes=10) as writer:\n"
        "    writer.write(memoryview(b'half'))"
    )
    with other_process(making, body) as process:
        with pytest.raises(Conflict):
            write(storage, upload, DATA[:10])
        with storage.locks.try_idle(upload) as idle:
            assert not idle
        process.kill()
        process.wait()
        wait_until_idle(storage, upload)
        assert content(storage, finished(storage, upload)) == DATA


def wait_until_idle(storage: Storage, upload: UploadHandle) -> None:
    """At once where the system frees a lock, when its lease has run out elsewhere."""
    for _ in range(1200):
        with storage.locks.try_idle(upload) as idle:
            if idle:
                return
        time.sleep(0.05)
    raise AssertionError


def test_a_writer_that_fails_frees_its_range(storage, upload):
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(ZeroDivisionError))
        stack.enter_context(storage.locks.writing(upload, offset=0, size_bytes=10))
        stack.enter_context(storage.uploads.write(upload, offset=0, size_bytes=10))
        raise ZeroDivisionError
    assert content(storage, finished(storage, upload)) == DATA


def test_an_upload_is_idle_while_nobody_has_a_range(storage, upload):
    with storage.locks.try_idle(upload) as idle:
        assert idle
        with pytest.raises(Conflict):
            write(storage, upload, DATA[:10])
    with (
        storage.locks.writing(upload, offset=29, size_bytes=1),
        storage.locks.try_idle(upload) as idle,
    ):
        assert not idle
    with storage.locks.exclusive(upload), storage.locks.try_idle(upload) as idle:
        assert not idle


def test_an_upload_that_is_not_there_is_idle(storage, upload):
    storage.uploads.discard(upload)
    with storage.locks.try_idle(upload) as idle:
        assert idle


def test_a_settled_upload_is_ones_own_and_lets_parts_be_asked_for(storage, upload):
    with storage.locks.settled(upload):
        with storage.locks.try_exclusive(upload) as alone:
            assert not alone
        with storage.locks.writing(upload, offset=0, size_bytes=10):
            pass
    with storage.locks.try_exclusive(upload) as alone:
        assert alone


def test_one_at_a_time_is_exclusive_and_writers_go_on(storage, upload):
    with (
        storage.locks.try_exclusive(upload) as alone,
        storage.locks.try_exclusive(upload) as second,
    ):
        assert (alone, second) == (True, False)
        write(storage, upload, DATA[:10])
    with storage.locks.try_exclusive(upload) as alone:
        assert alone


def test_who_waits_for_exclusiveness_gets_it_when_it_is_free(storage, upload):
    order: list[str] = []
    started = threading.Event()

    def second() -> None:
        started.set()
        with storage.locks.exclusive(upload):
            order.append("second")

    with storage.locks.exclusive(upload):
        thread = threading.Thread(target=second)
        thread.start()
        started.wait()
        time.sleep(0.05)  # gives a broken lock the time to let it in
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_nobody_waits_for_exclusiveness_for_ever(storage, upload, monkeypatch):
    for kind in (locks, leases):
        monkeypatch.setattr(kind, "LONGEST_WAIT_SECONDS", 0.05)
    with (
        storage.locks.exclusive(upload),
        pytest.raises(Conflict) as error,
        storage.locks.exclusive(upload),
    ):
        pass
    assert (error.value.code, error.value.retry_after) == ("finalize_in_progress", 2)


def test_a_range_of_a_finished_upload_can_still_be_held(storage, upload):
    """Its sender may not know: who holds the range compares, and writes nothing."""
    finished(storage, upload)
    with storage.locks.writing(upload, offset=0, size_bytes=10), pytest.raises(Conflict) as error:
        write(storage, upload, DATA[:10])
    assert error.value.code == "part_in_progress"


def test_objects_are_listed_in_the_order_of_their_keys(storage):
    for key in ("c" * 32, "a" * 31 + "b", "b" * 31 + "a"):
        with storage.uploads.put(key, size_bytes=30) as writer:
            writer.write(memoryview(DATA))
            writer.commit()
    assert isinstance(storage.objects, ListsObjects)

    held = list(storage.objects.held())
    assert [each.stored.key[0] for each in held] == ["a", "b", "c"]
    assert {each.size_bytes for each in held} == {30}
    assert all(content(storage, each.stored) == DATA for each in held)
    assert list(storage.objects.held(after=held[0].stored.key)) == held[1:]
    assert datetime.now(UTC) - held[0].changed_at < timedelta(minutes=10)

    storage.objects.delete(held[1].stored)
    assert list(storage.objects.held()) == [held[0], held[2]]


def test_an_object_of_a_backup_can_be_put_back_again(storage, left):
    key = uuid7().hex
    with storage.uploads.put_back(key, size_bytes=30) as writer:
        writer.write(memoryview(DATA[:20]))  # a restore that is cut short
    assert not any(key in str(path) for path in left())
    for _ in range(2):
        with storage.uploads.put_back(key, size_bytes=30) as writer:
            writer.write(memoryview(DATA))
            stored = writer.commit()
        assert content(storage, stored) == DATA
    assert stored == StoredObject(storage.name, stored.bucket, key)
