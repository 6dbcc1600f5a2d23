"""Output of commands: results on standard output, as a table for people or as JSON."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

Row = dict[str, Any]
CELL_MAX = 80  # characters: one long URL must not push the columns of every row apart


def print_rows(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print rows with the same keys. JSON is always an array; an empty table prints nothing."""
    if as_json:
        print_json(list(rows))
    elif rows:
        click.echo(_table(rows))


def print_json(value: Row | list[Row]) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def iso(moment: datetime | None) -> str | None:
    """A time as rows show it, to the second."""
    return moment.isoformat(timespec="seconds") if moment else None


def printable(text: str) -> str:
    """The text without terminal control characters, for text of unknown origin."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _table(rows: Sequence[Row]) -> str:
    """One line per row. Columns are as wide as their widest cell; the last one is not padded."""
    cells = [[_cell(value) for value in row.values()] for row in rows]
    lines = [
        [name.upper() for name in rows[0]],
        *([*map(_clipped, line[:-1]), line[-1]] for line in cells),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = ",".join(map(str, value))
    return "-" if value in (None, "") else printable(str(value))


def _clipped(cell: str) -> str:
    return cell if len(cell) <= CELL_MAX else cell[: CELL_MAX - 1] + "…"
