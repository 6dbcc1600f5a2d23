"""Uploads that grow at their end, in a store whose parts have a least size.

What is not enough for a part yet is the tail: an object of its own, named by where it ends, so that
whoever appends there finds it. It is never larger than a part. Where parts begin follows from their
sizes, which follow from where they begin: whoever sends the same bytes again makes the same parts.
"""

from dataclasses import dataclass

from uploads.storage.s3.config import MAX_PART_BYTES

_PARTS_OF_A_SIZE = 1000


@dataclass(frozen=True)
class Cell:
    """One part of an appended upload."""

    number: int
    size_bytes: int


@dataclass(frozen=True)
class Grid:
    """A thousand parts of `first_bytes`, then a thousand of twice as much, and so on: 8 MiB make
    room for 8 TiB in 10,000 parts, and the tail of a small upload stays small.
    """

    first_bytes: int

    def cell(self, offset: int) -> Cell:
        """The part that begins at `offset`, where one must begin."""
        size, before, begins = self.first_bytes, 0, 0
        while offset >= begins + _PARTS_OF_A_SIZE * size and size < MAX_PART_BYTES:
            begins += _PARTS_OF_A_SIZE * size
            before += _PARTS_OF_A_SIZE
            size *= 2
        return Cell(before + (offset - begins) // size + 1, size)

    def whole_cells(self, length: int) -> tuple[list[Cell], int]:
        """The full parts of an upload, and where they end."""
        cells, position = [], 0
        while (cell := self.cell(position)).size_bytes <= length - position:
            cells.append(cell)
            position += cell.size_bytes
        return cells, position
