"""What every storage backend has to do; run here for the local one."""

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.errors import Conflict, Gone, InsufficientStorage, NotFound
from common.ids import uuid7
from uploads.storage import local
from uploads.storage.local import LocalStorage

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


@pytest.fixture
def key(store) -> str:
    """An upload with room for 30 bytes."""
    key = uuid7().hex
    store.create(key, size_bytes=30)
    return key


def write(store, key, data: bytes, *, offset: int = 0) -> None:
    with store.write_part(key, offset=offset, size_bytes=len(data)) as writer:
        writer.write(memoryview(data))
        writer.flush()


def read(store, key, size: int = 100, *, offset: int = 0) -> bytes:
    buffer = memoryview(bytearray(size))
    with store.reader(key) as reader:
        return bytes(buffer[: reader.read_into(buffer, offset=offset)])


@contextmanager
def other_process(tmp_path: Path, body: str):
    """Another process that runs `body`, says so, and waits until it is killed."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom uploads.storage.local import LocalStorage\n"
        f"store = LocalStorage(Path({str(tmp_path)!r}))\n"
        f"{body}\n    print('ready', flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "boot.settings"},
    )
    with process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def test_an_upload_has_its_whole_size_from_the_start(store, key):
    assert read(store, key) == b"\0" * 30


def test_room_is_really_claimed(store, tmp_path):
    key = uuid7().hex
    store.create(key, size_bytes=1_000_000)
    status = (tmp_path / "spool" / key[-2:] / key).stat()
    assert status.st_size == 1_000_000
    assert status.st_blocks * 512 >= 1_000_000


def test_bytes_are_only_their_owners(store, key, tmp_path):
    assert (tmp_path / "spool" / key[-2:] / key).stat().st_mode & 0o077 == 0


def test_an_upload_without_room_is_refused_and_leaves_nothing(store, tmp_path):
    with pytest.raises(InsufficientStorage) as error:
        store.create(uuid7().hex, size_bytes=2**60)
    assert error.value.code == "no_room"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_key_is_created_once(store, key):
    with pytest.raises(FileExistsError):
        store.create(key, size_bytes=1)
    assert read(store, key) == b"\0" * 30


def test_parts_are_written_at_their_place_in_any_order(store, key):
    write(store, key, b"c" * 10, offset=20)
    write(store, key, b"a" * 10)
    write(store, key, b"b" * 10, offset=10)
    assert read(store, key) == b"a" * 10 + b"b" * 10 + b"c" * 10
    assert read(store, key, 5, offset=18) == b"bbccc"
    assert read(store, key, offset=30) == b""


def test_blocks_of_a_part_follow_one_another(store, key):
    with store.write_part(key, offset=10, size_bytes=10) as writer:
        for block in (b"01", b"", b"2345", b"6789"):
            writer.write(memoryview(block))
    assert read(store, key, 10, offset=10) == b"0123456789"


def test_a_second_writer_of_a_part_is_sent_away(store, key):
    with store.write_part(key, offset=10, size_bytes=10):
        with pytest.raises(Conflict) as error, store.write_part(key, offset=10, size_bytes=10):
            pass
        assert error.value.code == "part_in_progress"
        assert error.value.retry_after > 0
    write(store, key, b"x" * 10, offset=10)


def test_overlapping_ranges_exclude_one_another_and_neighbours_do_not(store, key):
    with store.write_part(key, offset=10, size_bytes=10):
        for offset, size in [(5, 6), (19, 1), (0, 30)]:
            with pytest.raises(Conflict), store.write_part(key, offset=offset, size_bytes=size):
                pass
        write(store, key, b"x" * 10)
        write(store, key, b"y" * 10, offset=20)


def test_the_lock_holds_between_threads(store, key):
    seen: list[str] = []

    def second() -> None:
        try:
            write(store, key, b"x" * 10)
        except Conflict as error:
            seen.append(error.code)

    with store.write_part(key, offset=0, size_bytes=10):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert seen == ["part_in_progress"]


def test_the_lock_holds_between_processes_and_ends_with_its_process(store, key, tmp_path):
    body = f"with store.write_part({key!r}, offset=0, size_bytes=10) as writer:\n"
    body += "    writer.write(memoryview(b'half'))"
    with other_process(tmp_path, body) as process:
        with pytest.raises(Conflict), store.write_part(key, offset=0, size_bytes=10):
            pass
        with store.try_idle(key) as idle:
            assert not idle
        write(store, key, b"y" * 10, offset=10)
        process.kill()
        process.wait()
        write(store, key, b"x" * 10)
    assert read(store, key, 20) == b"x" * 10 + b"y" * 10


def test_a_writer_that_fails_frees_its_part(store, key):
    with pytest.raises(ZeroDivisionError), store.write_part(key, offset=0, size_bytes=10):
        raise ZeroDivisionError
    write(store, key, b"x" * 10)


def test_an_upload_is_idle_while_nobody_has_a_part(store, key):
    with store.try_idle(key) as idle:
        assert idle
        with pytest.raises(Conflict), store.write_part(key, offset=0, size_bytes=10):
            pass
    with store.write_part(key, offset=29, size_bytes=1), store.try_idle(key) as idle:
        assert not idle
    with store.exclusive(key), store.try_idle(key) as idle:
        assert not idle


def test_an_upload_that_is_not_there_is_idle(store):
    with store.try_idle(uuid7().hex) as idle:
        assert idle


def test_a_settled_upload_is_ones_own_and_lets_parts_be_asked_for(store, key):
    with store.settled(key):
        with store.try_exclusive(key) as alone:
            assert not alone
        with store.write_part(key, offset=0, size_bytes=10):
            pass
    with store.try_exclusive(key) as alone:
        assert alone


def test_one_at_a_time_is_exclusive_and_writers_go_on(store, key):
    with store.try_exclusive(key) as alone, store.try_exclusive(key) as second:
        assert (alone, second) == (True, False)
        write(store, key, b"x" * 10)
    with store.try_exclusive(key) as alone:
        assert alone


def test_who_waits_for_exclusiveness_gets_it_when_it_is_free(store, key):
    order: list[str] = []
    started = threading.Event()

    def second() -> None:
        started.set()
        with store.exclusive(key):
            order.append("second")

    with store.exclusive(key):
        thread = threading.Thread(target=second)
        thread.start()
        started.wait()
        time.sleep(0.05)  # gives a broken lock the time to let it in
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_nobody_waits_for_exclusiveness_for_ever(store, key, monkeypatch):
    monkeypatch.setattr(local, "LONGEST_WAIT_SECONDS", 0.05)
    with store.exclusive(key), pytest.raises(Conflict) as error, store.exclusive(key):
        pass
    assert (error.value.code, error.value.retry_after) == ("finalize_in_progress", 2)


def test_exclusiveness_ends_with_its_process(store, key, tmp_path):
    with other_process(tmp_path, f"with store.exclusive({key!r}):") as process:
        with store.try_exclusive(key) as alone:
            assert not alone
        process.kill()
        process.wait()
        with store.exclusive(key):
            pass


def test_a_finished_upload_is_a_stored_object(store, key):
    write(store, key, b"x" * 30)
    stored = store.finish(key, size_bytes=30)
    assert (stored.backend, stored.key) == ("local", key)
    with store.open(stored.key) as content:
        assert content.read() == b"x" * 30
    assert list(store.unfinished(older_than=datetime.now(UTC) + timedelta(days=1))) == []


def test_finishing_again_is_harmless(store, key):
    write(store, key, b"x" * 30)
    assert store.finish(key, size_bytes=30) == store.finish(key, size_bytes=30)
    assert read(store, key) == b"x" * 30


def test_a_finish_that_was_cut_short_after_the_rename_can_be_repeated(store, key, tmp_path):
    """The kill came before the row was written: everything that finalizing does works again."""
    write(store, key, b"x" * 30)
    (tmp_path / "files" / key[-2:]).mkdir(parents=True)
    (tmp_path / "spool" / key[-2:] / key).rename(tmp_path / "files" / key[-2:] / key)
    with store.exclusive(key):
        assert read(store, key) == b"x" * 30
        store.finish(key, size_bytes=30)
    with store.open(key) as content:
        assert content.read() == b"x" * 30


def test_a_part_of_a_finished_upload_can_be_asked_for_again(store, key):
    """Its sender may not know: who holds the part compares, and writes nothing."""
    store.finish(key, size_bytes=30)
    with (
        store.write_part(key, offset=0, size_bytes=10),
        pytest.raises(Conflict) as error,
        store.write_part(key, offset=0, size_bytes=10),
    ):
        pass
    assert error.value.code == "part_in_progress"


def test_an_upload_of_another_size_is_not_finished(store, key, tmp_path):
    os.truncate(tmp_path / "spool" / key[-2:] / key, 29)
    with pytest.raises(OSError, match="has 29 bytes on disk, not 30"):
        store.finish(key, size_bytes=30)
    with store.reader(key):
        assert not (tmp_path / "files" / key[-2:] / key).exists()


@pytest.mark.parametrize("finished", [False, True])
def test_a_discarded_upload_is_gone_and_discarding_again_is_harmless(store, key, finished):
    if finished:
        store.finish(key, size_bytes=30)
    store.discard(key)
    store.discard(key)
    for call in (store.reader, store.exclusive, store.settled, store.try_exclusive):
        with pytest.raises(NotFound) as error, call(key):
            pass
        assert error.value.code == "upload_missing"
    with pytest.raises(NotFound):
        store.finish(key, size_bytes=30)
    with pytest.raises(Gone):
        store.open(key)


def test_a_deleted_object_is_gone_and_deleting_again_is_harmless(store, key):
    store.finish(key, size_bytes=30)
    store.delete(key)
    store.delete(key)
    with pytest.raises(Gone) as error:
        store.open(key)
    assert error.value.code == "file_purged"


def test_who_reads_a_deleted_object_may_finish_reading(store, key):
    write(store, key, b"x" * 30)
    store.finish(key, size_bytes=30)
    with store.open(key) as content:
        store.delete(key)
        assert content.read() == b"x" * 30


def test_unfinished_uploads_are_listed_by_their_age(store, key, tmp_path):
    now = datetime.now(UTC)
    assert list(store.unfinished(older_than=now - timedelta(minutes=1))) == []
    old = uuid7().hex
    store.create(old, size_bytes=1)
    os.utime(tmp_path / "spool" / old[-2:] / old, (0, 0))
    (tmp_path / "spool" / old[-2:] / ".nfs0001").touch()  # not ours
    os.utime(tmp_path / "spool" / old[-2:] / ".nfs0001", (0, 0))
    assert list(store.unfinished(older_than=now - timedelta(minutes=1))) == [old]


def test_an_empty_store_has_nothing_unfinished(store):
    assert list(store.unfinished(older_than=datetime.now(UTC))) == []


def test_a_full_disk_while_writing_says_so(store, key, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("uploads.storage.local.os.pwrite", full)
    with pytest.raises(InsufficientStorage) as error:
        write(store, key, b"x")
    assert error.value.code == "no_room"
