"""CSV and similar formats, row by row."""

import csv
from collections import Counter
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import PurePath
from typing import BinaryIO

from uploads.workflows.text.base import Job, Piece, reading, size_of, unreadable
from uploads.workflows.text.clean import row, table_head
from uploads.workflows.text.decoding import decoded

_LINE_MAX = 1024 * 1024  # characters
_SAMPLE_LINES = 100
_ROWS_A_PIECE = 200
_LABEL = "a table of values"


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    size = size_of(source)
    csv.field_size_limit(_LINE_MAX * 8)
    with reading(_LABEL), decoded(source) as text:
        lines = _lines(text)
        sample = list(islice(lines, _SAMPLE_LINES))
        is_tabbed = PurePath(job.filename).suffix.lower() == ".tsv"
        delimiter = "\t" if is_tabbed else _delimiter(sample)
        rows = _rows(chain(sample, lines), delimiter)
        first = list(islice(rows, _SAMPLE_LINES))
        if not first:
            return
        width = max(map(len, first))
        yield Piece(table_head(_padded(first[0], width)))
        bounded = islice(chain(first[1:], rows), job.options.max_rows)
        while batch := list(islice(bounded, _ROWS_A_PIECE)):
            table = "".join(row(_padded(values, width)) for values in batch)
            yield Piece(table, min(1.0, source.tell() / size))
        if next(rows, None) is not None:
            yield Piece(f"\n*Only the first {job.options.max_rows:,} rows are shown.*\n", 1.0)


def _lines(text: TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_LINE_MAX):
        if len(line) == _LINE_MAX:
            raise unreadable(_LABEL, f"a line is longer than {_LINE_MAX:,} characters")
        yield line.replace("\0", "")


def _rows(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    """The rows that are not empty."""
    return (values for values in csv.reader(lines, delimiter=delimiter) if any(values))


def _delimiter(sample: list[str]) -> str:
    """The delimiter that gives the most rows of equal width; among equals, the widest rows."""

    def fitness(delimiter: str) -> tuple[int, int]:
        widths = Counter(map(len, csv.reader(sample, delimiter=delimiter)))
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
        return (count, width) if width > 1 else (0, 0)

    return max(",;\t|", key=fitness)


def _padded(values: list[str], width: int) -> list[str]:
    return values + [""] * (width - len(values))
