"""Excel workbooks."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from uploads.workflows.text.base import Job, Piece, reading
from uploads.workflows.text.sheets import Box, tables
from uploads.workflows.text.zips import repack

_LABEL = "an Excel workbook"


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    with TemporaryDirectory(dir=job.options.folder) as folder:
        copy = Path(folder, "copy.xlsx")
        with reading(_LABEL):
            yield from repack(source, copy, job.options, watch=_Cells)
        yield from tables(copy, job.options, _LABEL)


class _Cells:
    """Measures a worksheet during parsing: `<row><c r="B7"><v>` (ECMA-376 part 1, 18.3.1)."""

    def __init__(self) -> None:
        self.box = Box()
        self.root = ""
        self.row = self.column = -1

    def __call__(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        self.root = self.root or name
        if self.root != "worksheet":
            return
        if name == "c":
            self._place(attributes.get("r", ""))
        elif name == "row":
            number = attributes.get("r", "")
            self.row = int(number) - 1 if number.isdecimal() else self.row + 1
            self.column = -1
        elif name in {"v", "is", "f"}:
            self.box.add(row=max(0, self.row), column=max(0, self.column))

    def _place(self, reference: str) -> None:
        """Move to a reference like `B7`; without one, to the right of the previous cell."""
        letters = reference.rstrip("0123456789")
        digits = reference[len(letters) :]
        if not (digits and letters.isascii() and letters.isalpha() and len(letters) <= 3):
            self.column += 1
            return
        self.row = int(digits[:10]) - 1
        self.column = -1
        for letter in letters.upper():
            self.column = (self.column + 1) * 26 + ord(letter) - ord("A")
