"""Takes a request's body into a store, and hashes what it has in hand.

Hashing goes on in threads of its own while the next block is received and written: hashlib,
blake3 and libcrypto let go of the interpreter meanwhile. A block may therefore still be read while
the next one is asked for, but not any longer: its memory must stay as it is until then.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Protocol

from uploads.files.content_types import HEAD_BYTES

_ALONE_BYTES = 256 * 2**10  # a block that is smaller is hashed sooner than handed over


class Digester(Protocol):
    def update(self, block: memoryview, /) -> object: ...


class Writer(Protocol):
    def write(self, block: memoryview) -> None: ...


class Intake:
    """How many bytes of a body were written and hashed, also when it broke off."""

    def __init__(self, writer: Writer | None, digesters: Sequence[Digester]) -> None:
        self._writer = writer
        self._digesters = digesters
        self.size_bytes = 0

    def take(self, blocks: Iterator[memoryview]) -> None:
        """Write and hash what `blocks` gives.

        When `blocks` raises, exactly `size_bytes` were written and hashed until then. Raises what
        `blocks` and the writer raise.
        """
        hashing: Future[None] | None = None
        try:
            for block in blocks:
                if hashing is not None:
                    hashing.result()
                hashing = self._hash(block)
                if self._writer is not None:
                    self._writer.write(block)
                self.size_bytes += block.nbytes
        finally:
            if hashing is not None:
                hashing.result()

    def _hash(self, block: memoryview) -> Future[None] | None:
        if not self._digesters:
            return None
        if block.nbytes < _ALONE_BYTES:
            self._update(block)
            return None
        return _hashers().submit(self._update, block)

    def _update(self, block: memoryview) -> None:
        for digester in self._digesters:
            digester.update(block)


@cache
def _hashers() -> ThreadPoolExecutor:
    """Made at the first use, in the process that uses it: threads do not survive a fork."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="hashing")


def with_head(head: bytearray, blocks: Iterator[memoryview]) -> Iterator[memoryview]:
    """The same blocks; their beginning, by which a type is told, is kept in `head`."""
    for block in blocks:
        if len(head) < HEAD_BYTES:
            head += block[: HEAD_BYTES - len(head)]
        yield block
