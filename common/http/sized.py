"""Bodies whose size must be known before they are used."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from django.conf import settings
from django.http import HttpRequest

from common import disk
from common.http.bodies import body_blocks, body_length
from common.http.exchange import BLOCK_BYTES


@dataclass(frozen=True)
class SizedBody:
    """`blocks` are read once; each is valid until the one after the next is asked for."""

    size_bytes: int
    blocks: Iterator[memoryview]


@contextmanager
def sized_body(request: HttpRequest, *, check_size: Callable[[int], object]) -> Iterator[SizedBody]:
    """The raw body of an upload, with its size; one that announces none is set aside to learn it.

    `check_size` raises for more bytes than the body may have. Raises what it does, what
    `body_length` and `body_blocks` do, and InsufficientStorage `no_room`.
    """
    length = body_length(request)
    if length is not None:
        check_size(length)
        yield SizedBody(length, body_blocks(request))
        return
    with _nameless_file() as aside:
        size = _set_aside(body_blocks(request), aside, check_size=check_size)
        yield SizedBody(size, _blocks_of(aside, size_bytes=size))


def whole_body(request: HttpRequest, *, check_size: Callable[[int], object]) -> bytes:
    """A body in memory. Raises as `sized_body` does."""
    check_size(body_length(request) or 0)
    content = bytearray()
    for block in body_blocks(request):
        check_size(len(content) + block.nbytes)
        content += block
    return bytes(content)


@contextmanager
def _nameless_file() -> Iterator[BinaryIO]:
    """A file in the data directory that no kill leaves behind (open(2), O_TMPFILE)."""
    folder = Path(settings.DOORITO_DATA_DIR)
    with disk.disk_errors_explained():
        folder.mkdir(parents=True, exist_ok=True)
        file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
    with file:
        yield file


def _set_aside(
    blocks: Iterator[memoryview], file: BinaryIO, *, check_size: Callable[[int], object]
) -> int:
    size = 0
    for block in blocks:
        size += block.nbytes
        check_size(size)
        with disk.disk_errors_explained():
            disk.require_room(Path(settings.DOORITO_DATA_DIR), size_bytes=block.nbytes)
            file.write(block)
    return size


def _blocks_of(file: BinaryIO, *, size_bytes: int) -> Iterator[memoryview]:
    file.seek(0)
    size = min(BLOCK_BYTES, size_bytes)
    for buffer in cycle([memoryview(bytearray(size)), memoryview(bytearray(size))]):
        filled = file.readinto(buffer)  # type: ignore[attr-defined]
        if not filled:
            return
        yield buffer[:filled]
