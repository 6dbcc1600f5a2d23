"""Sets of byte ranges, as half-open pairs in ascending order."""

from collections.abc import Iterable

Range = tuple[int, int]


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same bytes in as few ranges as can be. `ranges` must come in ascending order."""
    out: list[Range] = []
    for start, end in ranges:
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def missing(ranges: Iterable[Range], *, length: int) -> list[Range]:
    """What of the first `length` bytes no range covers."""
    gaps = []
    position = 0
    for start, end in merged(ranges):
        if start > position:
            gaps.append((position, min(start, length)))
        position = max(position, end)
    if position < length:
        gaps.append((position, length))
    return [(start, end) for start, end in gaps if start < end]
