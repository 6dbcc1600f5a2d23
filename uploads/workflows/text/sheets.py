"""Converts worksheets of any file format to Markdown tables."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from itertools import islice
from pathlib import Path

from python_calamine import CalamineSheet, CalamineWorkbook, PasswordError, SheetTypeEnum

from uploads.workflows.errors import TaskFailed
from uploads.workflows.text.base import Job, Piece, encrypted, reading, unreadable
from uploads.workflows.text.clean import one_line, row, table_head

# Calamine keeps a sheet as a rectangle of cells (32 bytes each), from first to last used cell.
CELLS_MAX = 8_000_000
_ROWS_A_PIECE = 200

Value = int | float | str | bool | time | date | timedelta


Beside = Callable[[str], str]


def tables(
    path: Path, job: Job, label: str, *, beside: Beside = lambda _sheet: ""
) -> Iterator[Piece]:
    """The tables of a workbook; `beside` gives what else belongs to the sheet of a name."""
    with calamine(label), CalamineWorkbook.from_path(path) as workbook:
        sheets = [
            sheet.name for sheet in workbook.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet
        ]
        for index, name in enumerate(sheets):
            sheet = _sheet(workbook, name, f"Sheet {index + 1}", job)
            if sheet is not None:
                for piece in _table(sheet, max_rows=job.options.max_rows):
                    yield Piece(piece.text, (index + (piece.done or 0.0)) / len(sheets))
            if text := beside(name):
                yield Piece(f"{text}\n\n")


def _sheet(workbook: CalamineWorkbook, name: str, part: str, job: Job) -> CalamineSheet | None:
    """None, and a warning, for a sheet that cannot be read."""
    try:
        with calamine(part):
            return workbook.get_sheet_by_name(name)
    except TaskFailed as exc:
        if exc.code != "file_unreadable":
            raise
        job.warn(f"{part} could not be read.")
        return None


@contextmanager
def calamine(label: str) -> Iterator[None]:
    """Turn Calamine's errors, including panics (no Exceptions), into `file_unreadable`."""
    try:
        with reading(label, OSError):
            yield
    except BaseException as exc:
        if isinstance(exc.__cause__, PasswordError):
            raise encrypted() from exc
        if type(exc).__name__ == "PanicException":
            raise unreadable(label, "its structure is broken") from exc
        raise


def _table(sheet: CalamineSheet, *, max_rows: int) -> Iterator[Piece]:
    yield Piece(f"## {one_line(sheet.name)}\n\n")
    if sheet.height == 0 or sheet.width == 0:
        return
    rows = (list(map(_shown, values)) for values in sheet.iter_rows())
    used = (values for values in rows if any(values))
    head = next(used, None)
    if head is None:
        return
    yield Piece(table_head(head))
    count = 0
    bounded = islice(used, max_rows)
    while batch := list(islice(bounded, _ROWS_A_PIECE)):
        count += len(batch)
        yield Piece("".join(map(row, batch)), min(1.0, count / sheet.height))
    more = next(used, None) is not None
    yield Piece(f"\n*Only the first {max_rows:,} rows are shown.*\n\n" if more else "\n", 1.0)


def _shown(value: Value) -> str:
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case datetime():
            return value.isoformat(" ")
        case date() | time():
            return value.isoformat()
    return str(value)


class Box:
    """The rectangle of a sheet's used cells. Raises TaskFailed if it would not fit in memory."""

    def __init__(self) -> None:
        self.left = self.top = 1 << 40
        self.right = self.bottom = -1

    def add(self, *, row: int, column: int, rows: int = 1, columns: int = 1) -> None:
        self.top = min(self.top, row)
        self.left = min(self.left, column)
        self.bottom = max(self.bottom, row + rows)
        self.right = max(self.right, column + columns)
        if (self.bottom - self.top) * (self.right - self.left) > CELLS_MAX:
            raise TaskFailed(
                "too_many_cells",
                f"A sheet spans {self.bottom - self.top:,} rows and {self.right - self.left:,} "
                f"columns; {CELLS_MAX:,} cells are allowed.",
            )
