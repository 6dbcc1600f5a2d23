"""What only the local store does. (What every store does: `test_storage_contract`.)"""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.errors import DooritoError, InsufficientStorage, ServiceUnavailable
from common.ids import uuid7
from uploads.storage.base import MayLoseWrites, ReadsBack, Receipt, Storage, UploadHandle
from uploads.storage.local import local_storage

DATA = bytes(range(30))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return local_storage(tmp_path)


@pytest.fixture
def upload(storage) -> UploadHandle:
    """An upload with room for 30 bytes."""
    return storage.uploads.create(uuid7().hex, size_bytes=30)


def spool_path(root: Path, key: str) -> Path:
    return root / "spool" / key[-2:] / key


def file_path(root: Path, key: str) -> Path:
    return root / "files" / key[-2:] / key


def write(storage, upload, data: bytes, *, offset: int = 0) -> Receipt:
    with storage.uploads.write(upload, offset=offset, size_bytes=len(data)) as writer:
        writer.write(memoryview(data))
        return writer.commit()


def read(storage, upload, size: int = 100, *, offset: int = 0) -> bytes:
    buffer = memoryview(bytearray(size))
    with storage.uploads.reader(upload) as reader:
        return bytes(buffer[: reader.read_into(buffer, offset=offset)])


def test_it_reads_back_and_may_lose_writes(storage):
    assert isinstance(storage.uploads, ReadsBack)
    assert isinstance(storage.uploads, MayLoseWrites)
    assert storage.uploads.epoch() == storage.uploads.epoch() != ""


def test_an_upload_has_its_whole_size_from_the_start(storage, upload):
    assert read(storage, upload) == b"\0" * 30


def test_room_is_really_claimed(storage, tmp_path):
    upload = storage.uploads.create(uuid7().hex, size_bytes=1_000_000)
    status = spool_path(tmp_path, upload.key).stat()
    assert status.st_size == 1_000_000
    assert status.st_blocks * 512 >= 1_000_000


def test_room_is_claimed_once_a_length_is_known(storage, tmp_path):
    upload = storage.uploads.create(uuid7().hex, size_bytes=None)
    write(storage, upload, DATA)
    storage.uploads.resize(upload, size_bytes=1_000_000)
    assert spool_path(tmp_path, upload.key).stat().st_size == 1_000_000
    assert read(storage, upload, 30) == DATA


def test_bytes_are_only_their_owners(storage, upload, tmp_path):
    assert spool_path(tmp_path, upload.key).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("size_bytes", [2**60])
def test_what_has_no_room_is_refused_and_leaves_nothing(storage, upload, tmp_path, size_bytes):
    storage.uploads.discard(upload)
    for refused in (
        lambda: storage.uploads.create(uuid7().hex, size_bytes=size_bytes),
        lambda: storage.uploads.put(uuid7().hex, size_bytes=size_bytes).__enter__(),
    ):
        with pytest.raises(InsufficientStorage) as error:
            refused()
        assert error.value.code == "no_room"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_ranges_can_be_read_back_at_their_place(storage, upload):
    write(storage, upload, DATA[20:], offset=20)
    write(storage, upload, DATA[:20])
    assert read(storage, upload) == DATA
    assert read(storage, upload, 5, offset=18) == DATA[18:23]
    assert read(storage, upload, offset=30) == b""


def test_each_byte_is_written_once(storage, upload, tmp_path):
    """What came in place is renamed, not copied."""
    receipt = write(storage, upload, DATA)
    inode = spool_path(tmp_path, upload.key).stat().st_ino
    storage.uploads.finish(upload, [receipt], size_bytes=30)
    assert file_path(tmp_path, upload.key).stat().st_ino == inode


def test_a_finish_that_was_cut_short_after_the_rename_can_be_repeated(storage, upload, tmp_path):
    """The kill came before the row was written: everything that finalizing does works again."""
    receipt = write(storage, upload, DATA)
    file_path(tmp_path, upload.key).parent.mkdir(parents=True)
    spool_path(tmp_path, upload.key).rename(file_path(tmp_path, upload.key))
    with storage.locks.exclusive(upload):
        assert read(storage, upload) == DATA
        stored = storage.uploads.finish(upload, [receipt], size_bytes=30)
    with storage.objects.open(stored) as content:
        assert content.read() == DATA


@pytest.mark.parametrize("came_to", ["copying", "renaming"])
def test_a_composition_that_was_cut_short_can_be_repeated(storage, upload, tmp_path, came_to):
    first, second = write(storage, upload, DATA[:10]), write(storage, upload, DATA[10:], offset=10)
    spooled = spool_path(tmp_path, upload.key)
    if came_to == "copying":
        spooled.with_suffix(".composed").write_bytes(b"half of it")
    else:
        file_path(tmp_path, upload.key).parent.mkdir(parents=True)
        file_path(tmp_path, upload.key).write_bytes(DATA[10:] + DATA[:10])
    stored = storage.uploads.finish(upload, [second, first], size_bytes=30)
    with storage.objects.open(stored) as content:
        assert content.read() == DATA[10:] + DATA[:10]
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [file_path(tmp_path, upload.key)]


def test_an_upload_that_lost_its_end_is_not_finished(storage, upload, tmp_path):
    receipt = write(storage, upload, DATA)
    os.truncate(spool_path(tmp_path, upload.key), 29)
    with pytest.raises(OSError, match="has 29 bytes on disk, not 30"):
        storage.uploads.finish(upload, [receipt], size_bytes=30)
    assert not file_path(tmp_path, upload.key).exists()


def test_other_files_in_the_spool_are_not_uploads(storage, upload, tmp_path):
    folder = spool_path(tmp_path, upload.key).parent
    (folder / ".nfs0001").touch()
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert list(storage.uploads.unfinished(older_than=later)) == [upload]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, (507, "no_room")),
        (errno.EDQUOT, (507, "no_room")),
        (errno.EROFS, (503, "storage_failed")),
        (errno.EACCES, (503, "storage_failed")),
        (errno.EIO, (503, "storage_failed")),
    ],
)
def test_a_disk_that_fails_while_writing_says_so(storage, upload, monkeypatch, number, said):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("uploads.storage.local.disk.os.pwrite", fail)
    with pytest.raises(DooritoError) as error:
        write(storage, upload, b"x")
    assert (error.value.status, error.value.code) == said
    assert error.value.retry_after


# The kernel refuses to open the one for writing, and fails to read from the other, for root too.
READ_ONLY, UNREADABLE = Path("/sys/kernel/uevent_seqnum"), Path("/proc/self/mem")


def replace(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to(other)


def test_a_disk_that_has_become_read_only_says_so(storage, upload, tmp_path):
    replace(spool_path(tmp_path, upload.key), READ_ONLY)
    for use in (
        storage.locks.writing(upload, offset=0, size_bytes=1),
        storage.locks.try_idle(upload),
        storage.uploads.write(upload, offset=0, size_bytes=1),
    ):
        with pytest.raises(ServiceUnavailable) as error, use:
            pass
        assert (error.value.code, error.value.retry_after) == ("storage_failed", 60)


def test_a_disk_that_fails_while_reading_says_so(storage, upload, tmp_path):
    replace(spool_path(tmp_path, upload.key), UNREADABLE)
    with (
        storage.uploads.reader(upload) as reader,
        pytest.raises(ServiceUnavailable, match="Input/output error"),
    ):
        reader.read_into(memoryview(bytearray(10)), offset=0)


def test_a_file_system_without_second_names_stores_whole_objects_too(storage, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("uploads.storage.local.uploads.Path.hardlink_to", refuse)
    with storage.uploads.put(uuid7().hex, size_bytes=30) as writer:
        writer.write(memoryview(DATA))
        stored = writer.commit()
    with storage.objects.open(stored) as content:
        assert content.read() == DATA
