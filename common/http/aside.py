"""Bytes that are set aside on the disk until it is known how many they are."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from tempfile import TemporaryFile

from django.conf import settings

from common.disk import disk_errors_explained, require_room
from common.http.exchange import BLOCK_BYTES


class Aside:
    """A file in the data directory without a name: no kill leaves it behind."""

    def __init__(self, file: BufferedRandom) -> None:
        self.size_bytes = 0
        self._file = file

    def take(
        self, blocks: Iterable[bytes | memoryview], *, check_size: Callable[[int], object]
    ) -> None:
        """`check_size` raises for more bytes than it may become.

        Raises InsufficientStorage `no_room`, ServiceUnavailable `storage_failed`, and what
        `blocks` raises.
        """
        for block in blocks:
            size = self.size_bytes + len(block)
            check_size(size)
            with disk_errors_explained():
                require_room(_folder(), size_bytes=len(block))
                self._file.write(block)
            self.size_bytes = size
        with disk_errors_explained():
            self._file.flush()

    def blocks(self) -> Iterator[memoryview]:
        """Its bytes from the beginning."""
        self._file.seek(0)
        while block := self._file.read(BLOCK_BYTES):
            yield memoryview(block)


@contextmanager
def aside(*, expected_bytes: int = 0) -> Iterator[Aside]:
    """An empty one. Raises as `take` does, also if there is no room for what is expected."""
    with disk_errors_explained():
        _folder().mkdir(parents=True, exist_ok=True)
        require_room(_folder(), size_bytes=expected_bytes)
        file = TemporaryFile(dir=_folder())  # noqa: SIM115  (open(2), O_TMPFILE)
    with file:
        yield Aside(file)


def _folder() -> Path:
    return Path(settings.DOORITO_DATA_DIR)
