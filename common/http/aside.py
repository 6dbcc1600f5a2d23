"""Temporary storage for a body that must be kept until more is known about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryFile

from django.conf import settings

from common import disk
from common.http.exchange import BLOCK_BYTES


class Aside:
    """An unnamed file in the data directory. It is first written and then read."""

    def __init__(self, file: FileIO, folder: Path) -> None:
        self._file = file
        self._folder = folder
        self.size_bytes = 0

    def write(self, block: bytes | memoryview) -> None:
        """Raises InsufficientStorage `no_room`, ServiceUnavailable `storage_failed`."""
        with disk.disk_errors_explained():
            disk.require_room(self._folder, size_bytes=len(block))
            left = memoryview(block)
            while left:
                left = left[self._file.write(left) :]
        self.size_bytes += len(block)

    def blocks(self) -> Iterator[memoryview]:
        """Read from the beginning. A block is valid until the second one after it is requested."""
        self._file.seek(0)
        size = min(BLOCK_BYTES, self.size_bytes)
        for buffer in cycle([memoryview(bytearray(size)), memoryview(bytearray(size))]):
            filled = self._file.readinto(buffer)
            if not filled:
                return
            yield buffer[:filled]


@contextmanager
def set_aside(*, expected_bytes: int = 0) -> Iterator[Aside]:
    """A temporary file with room for `expected_bytes`, if known. Deleted after the block.

    The kernel deletes it even if the process is killed. Raises InsufficientStorage `no_room`,
    ServiceUnavailable `storage_failed`.
    """
    folder = Path(settings.DOORITO_DATA_DIR)
    with disk.disk_errors_explained():
        folder.mkdir(parents=True, exist_ok=True)
        disk.require_room(folder, size_bytes=expected_bytes)
        file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  (open(2), O_TMPFILE)
    with file:
        yield Aside(file, folder)
