"""ZIP archives: a list of their entries, without unpacking."""

from collections.abc import Iterator
from typing import BinaryIO

from uploads.workflows.text.base import Job, Piece, reading
from uploads.workflows.text.clean import row, table_head
from uploads.workflows.text.zip_names import names_of
from uploads.workflows.text.zips import open_zip

_ROWS_A_PIECE = 200


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    with reading("a ZIP archive"), open_zip(source) as archive:
        entries = list(zip(names_of(archive), archive.infolist(), strict=True))
        total = sum(entry.file_size for _name, entry in entries)
        yield Piece(
            f"# {job.filename}\n\nEntries: {len(entries):,}. Bytes when unpacked: {total:,}.\n\n"
            + table_head(["Name", "Bytes", "Modified"])
        )
        shown = entries[: job.options.max_entries]
        for start in range(0, len(shown), _ROWS_A_PIECE):
            rows = [
                row([name, f"{entry.file_size:,}", _when(entry.date_time)])
                for name, entry in shown[start : start + _ROWS_A_PIECE]
            ]
            yield Piece("".join(rows), min(1.0, (start + _ROWS_A_PIECE) / len(shown)))
        if len(shown) < len(entries):
            yield Piece(f"\n*Only the first {len(shown):,} entries are shown.*\n", 1.0)


def _when(stamp: tuple[int, int, int, int, int, int]) -> str:
    """The time of an entry. ZIP has no time zone."""
    year, month, day, hour, minute, _second = stamp
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}"
