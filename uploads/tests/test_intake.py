"""Bodies on their way into a store: hashed while the next block is received."""

import hashlib
from collections.abc import Iterator

import pytest

from uploads.receiving.intake import Intake, with_head
from uploads.tests.factories import some_bytes

BLOCK = 2**20


class Memory:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, block: memoryview) -> None:
        self.data += block


def two_buffers(data: bytes, *, block: int = BLOCK) -> Iterator[memoryview]:
    """As the web server gives a body: each block's memory is used again for the one after next."""
    buffers = [memoryview(bytearray(block)), memoryview(bytearray(block))]
    for turn, at in enumerate(range(0, len(data), block)):
        piece = data[at : at + block]
        buffer = buffers[turn % 2]
        buffer[:] = b"\xff" * block
        buffer[: len(piece)] = piece
        yield buffer[: len(piece)]


@pytest.mark.parametrize("size", [0, 1, 1000, BLOCK, 9 * BLOCK + 7])
def test_what_was_taken_is_written_and_hashed(size):
    data = some_bytes(size)
    memory, digests = Memory(), [hashlib.sha256(), hashlib.sha512()]
    intake = Intake(memory, digests)
    intake.take(two_buffers(data))
    assert (intake.size_bytes, memory.data) == (size, data)
    assert digests[0].digest() == hashlib.sha256(data).digest()
    assert digests[1].digest() == hashlib.sha512(data).digest()


def test_a_body_that_breaks_off_is_hashed_as_far_as_it_was_written():
    data = some_bytes(3 * BLOCK)

    def broken():
        yield from two_buffers(data)
        raise ConnectionResetError

    memory, digest = Memory(), hashlib.sha256()
    intake = Intake(memory, [digest])
    with pytest.raises(ConnectionResetError):
        intake.take(broken())
    assert (intake.size_bytes, memory.data) == (len(data), data)
    assert digest.digest() == hashlib.sha256(data).digest()


def test_a_body_can_be_hashed_alone():
    data, digest = some_bytes(2 * BLOCK), hashlib.sha256()
    Intake(None, [digest]).take(two_buffers(data))
    assert digest.digest() == hashlib.sha256(data).digest()


def test_the_beginning_is_kept_of_blocks_of_any_size():
    data = some_bytes(BLOCK)
    for block in (7_001, BLOCK):
        head = bytearray()
        Intake(Memory(), []).take(with_head(head, two_buffers(data, block=block)))
        assert head == data[: 256 * 2**10]
