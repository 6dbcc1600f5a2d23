"""Bytes of a body that have to be kept until more is known of it."""

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
    """A file without a name in the data directory; it is written first, and then read."""

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
        """From the beginning; each is valid until the one after the next is asked for."""
        self._file.seek(0)
        size = min(BLOCK_BYTES, self.size_bytes)
        for buffer in cycle([memoryview(bytearray(size)), memoryview(bytearray(size))]):
            filled = self._file.readinto(buffer)
            if not filled:
                return
            yield buffer[:filled]


@contextmanager
def set_aside(*, expected_bytes: int = 0) -> Iterator[Aside]:
    """Room for so many bytes, if it is known, which is gone after the block, and after any kill.

    Raises InsufficientStorage `no_room`, ServiceUnavailable `storage_failed`.
    """
    folder = Path(settings.DOORITO_DATA_DIR)
    with disk.disk_errors_explained():
        folder.mkdir(parents=True, exist_ok=True)
        disk.require_room(folder, size_bytes=expected_bytes)
        file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  (open(2), O_TMPFILE)
    with file:
        yield Aside(file, folder)
