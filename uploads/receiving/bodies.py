"""What a body must be: as long as its part, and of the digest that was declared."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

from common.errors import InvalidInput, UnprocessableContent
from common.http.digests import Digest
from uploads.receiving.digests import part_digester
from uploads.receiving.intake import Intake


@dataclass(frozen=True)
class PartRange:
    """Which bytes of the file a part is. `number` counts from 1."""

    number: int
    offset_bytes: int
    size_bytes: int


def no_more_than(part: PartRange, blocks: Iterator[memoryview]) -> Iterator[memoryview]:
    """The same blocks. Raises InvalidInput `part_size_wrong` rather than give too many bytes."""
    received = 0
    for block in blocks:
        received += block.nbytes
        if received > part.size_bytes:
            raise InvalidInput(
                "part_size_wrong",
                f"Part {part.number} has {part.size_bytes} bytes; the request sent more.",
                expected_bytes=part.size_bytes,
            )
        yield block


def digest_of_repeat(
    part: PartRange,
    algorithm: str,
    *,
    blocks: Iterator[memoryview],
    declared: Digest | None,
) -> bytes:
    """The digest of a body, by the algorithm of what it repeats; nothing is kept.

    Raises InvalidInput `body_incomplete`, UnprocessableContent `digest_mismatch`.
    """
    same = part_digester(algorithm)
    promised = part_digester(declared.algorithm) if declared else None
    intake = Intake(None, [same, promised] if promised else [same])
    intake.take(no_more_than(part, blocks))
    require_whole(part, received=intake.size_bytes)
    if promised:
        require_declared(promised.digest(), declared=declared)
    return bytes(same.digest())


def require_whole(part: PartRange, *, received: int) -> None:
    if received != part.size_bytes:
        raise InvalidInput(
            "body_incomplete",
            f"Part {part.number} ended after {received} of {part.size_bytes} bytes; send it again.",
        )


def require_declared(actual: bytes, *, declared: Digest | None) -> None:
    if declared and actual != declared.value:
        raise UnprocessableContent(
            "digest_mismatch",
            f"The bytes have the {declared.algorithm} digest {base64.b64encode(actual).decode()}, "
            "not the declared one. Nothing was kept; send the part again.",
        )
