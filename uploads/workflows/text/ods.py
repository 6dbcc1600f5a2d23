"""OpenDocument spreadsheets."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from uploads.workflows.text.base import Job, Piece, reading
from uploads.workflows.text.sheets import Box, tables
from uploads.workflows.text.zips import repack

_LABEL = "an OpenDocument spreadsheet"
_SCRIPTS = ("basic/", "dialogs/", "scripts/")


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    with TemporaryDirectory(dir=job.options.folder) as folder:
        copy = Path(folder, "copy.ods")
        with reading(_LABEL):
            yield from repack(source, copy, job, watch=_Cells, skip=_SCRIPTS)
        yield from tables(copy, job, _LABEL)


class _Cells:
    """Measures tables while their XML is parsed; a few bytes can repeat a row a million times
    (ODF 1.3 part 3, 9.1.3 and 9.1.4)."""

    def __init__(self) -> None:
        self.box = Box()
        self.row = self.column = 0
        self.row_repeats = 0

    def __call__(self, name: str, attributes: dict[str, str]) -> None:
        if name == "table:table":
            self.box = Box()
            self.row = self.row_repeats = 0
        elif name == "table:table-row":
            self.row += self.row_repeats
            self.row_repeats = _repeats(attributes, "table:number-rows-repeated")
            self.column = 0
        elif name in {"table:table-cell", "table:covered-table-cell"}:
            columns = _repeats(attributes, "table:number-columns-repeated")
            if any(key.endswith(("value-type", "formula")) for key in attributes):
                self.box.add(
                    row=self.row, column=self.column, rows=self.row_repeats, columns=columns
                )
            self.column += columns


def _repeats(attributes: dict[str, str], name: str) -> int:
    number = attributes.get(name, "1")
    return int(number) if number.isdecimal() and len(number) < 10 else 1
