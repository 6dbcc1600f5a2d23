"""Bodies whose size must be known before they are used."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.http import HttpRequest

from common.http.aside import set_aside
from common.http.bodies import body_blocks, body_length


@dataclass(frozen=True)
class SizedBody:
    """`blocks` can be read once. A block stays valid until the second one after it is requested."""

    size_bytes: int
    blocks: Iterator[memoryview]


@contextmanager
def sized_body(request: HttpRequest, *, check_size: Callable[[int], object]) -> Iterator[SizedBody]:
    """The raw body of an upload and its size. A body of unknown length is stored temporarily.

    `check_size` raises if the body may not have that many bytes. Raises its errors and those of
    `body_length`, `body_blocks` and `set_aside`.
    """
    length = body_length(request)
    if length is not None:
        check_size(length)
        yield SizedBody(length, body_blocks(request))
        return
    with set_aside() as aside:
        for block in body_blocks(request):
            check_size(aside.size_bytes + block.nbytes)
            aside.write(block)
        yield SizedBody(aside.size_bytes, aside.blocks())


def whole_body(request: HttpRequest, *, check_size: Callable[[int], object]) -> bytes:
    """The whole body in memory. Raises the errors of `sized_body`."""
    check_size(body_length(request) or 0)
    content = bytearray()
    for block in body_blocks(request):
        check_size(len(content) + block.nbytes)
        content += block
    return bytes(content)
