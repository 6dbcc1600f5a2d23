"""Rich Text Format."""

from collections.abc import Iterator
from itertools import groupby
from typing import BinaryIO

from striprtf.striprtf import rtf_to_text

from uploads.workflows.text.base import Job, Piece, check_fits_memory, reading
from uploads.workflows.text.clean import row, table_head

_LABEL = "an RTF document"


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    del job
    check_fits_memory(source, "An RTF document")
    with reading(_LABEL):
        yield Piece(rtf_to_markdown(source.read()), 1.0)


def rtf_to_markdown(content: bytes) -> str:
    """RTF is ASCII; its own escapes say in which encoding others of its bytes are."""
    text = rtf_to_text(content.decode("latin-1"), errors="replace")
    # Characters beyond the 16 bits of RTF come as two halves.
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    lines = [line.strip() for line in whole.splitlines()]
    blocks: list[str] = []
    for is_table, group in groupby(filter(None, lines), key=lambda line: line.endswith("|")):
        found = list(group)
        blocks += [_table(found)] if is_table else found
    return "\n\n".join(blocks) + "\n"


def _table(lines: list[str]) -> str:
    """Rows whose cells each end with a `|`."""
    rows = [line[:-1].split("|") for line in lines]
    width = max(map(len, rows))
    padded = [cells + [""] * (width - len(cells)) for cells in rows]
    return (table_head(padded[0]) + "".join(map(row, padded[1:]))).rstrip("\n")
