"""A file that is read once, in order, and hashed on the way."""

import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from doorito_client.errors import FileChanged

BLOCK = 2**20  # bytes


class Source:
    """An open file that must stay as it was when it was opened. A context manager."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.path = path
        self._file: BinaryIO = path.open("rb")
        self.status = os.fstat(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def size_bytes(self) -> int:
        return self.status.st_size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes. Raises FileChanged where the file has fewer."""
        self._file.seek(offset)
        data = self._file.read(length)
        if len(data) != length:
            raise self._changed()
        return data

    def require_unchanged(self) -> None:
        """Raises FileChanged: what was read may be partly old, partly new."""
        try:
            named = self.path.stat()
        except OSError as exc:
            raise self._changed() from exc
        for now in (named, os.fstat(self._file.fileno())):
            if _version(now) != _version(self.status):
                raise self._changed()

    def _changed(self) -> FileChanged:
        return FileChanged(
            f"{self.path} was changed, moved or removed while it was read; it was not stored.",
            advice="Upload it again once nobody writes to it.",
        )


def _version(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class Part:
    number: int
    data: bytes


class PartReader:
    """Gives the parts that are missing one after another, to several senders.

    Those that the portal has are read too where the whole is hashed: the digest needs all bytes.
    """

    def __init__(
        self, source: Source, *, part_bytes: int, total: int, received: set[int], is_hashed: bool
    ) -> None:
        self._source = source
        self._part_bytes = part_bytes
        self._total = total
        self._received = received
        self._hash = hashlib.sha256() if is_hashed else None
        self._next = 1
        self._stopped = False
        self._lock = threading.Lock()

    def next_part(self) -> Part | None:
        """None after the last, or once it was stopped."""
        with self._lock:
            while self._next <= self._total and not self._stopped:
                number = self._next
                self._next += 1
                data = self._read(number)
                if number not in self._received:
                    return Part(number, data)
            return None

    def stop(self) -> None:
        self._stopped = True

    def skip_the_rest(self) -> None:
        """The portal has them all; they are read for the digest alone."""
        with self._lock:
            self._received = set(range(1, self._total + 1))

    def sha256(self) -> str:
        """Of the whole, once it was read."""
        if self._hash is None:
            raise ValueError("This reader does not hash.")
        return self._hash.hexdigest()

    def size_of(self, number: int) -> int:
        offset = (number - 1) * self._part_bytes
        return min(self._part_bytes, self._source.size_bytes - offset)

    def _read(self, number: int) -> bytes:
        if self._hash is None and number in self._received:
            return b""
        offset = (number - 1) * self._part_bytes
        if number in self._received and self._hash is not None:
            for start in range(0, self.size_of(number), BLOCK):
                length = min(BLOCK, self.size_of(number) - start)
                self._hash.update(self._source.read(offset + start, length))
            return b""
        data = self._source.read(offset, self.size_of(number))
        if self._hash is not None:
            self._hash.update(data)
        return data


def numbers(ranges: str) -> set[int]:
    """`1-3,5` as {1, 2, 3, 5}."""
    found: set[int] = set()
    for each in filter(None, ranges.split(",")):
        first, _, last = each.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
