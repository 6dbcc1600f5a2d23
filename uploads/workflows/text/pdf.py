"""PDF, page by page."""

from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from typing import BinaryIO

import pypdfium2

from uploads.workflows.errors import TaskFailed
from uploads.workflows.text.base import Job, Piece, encrypted, reading, without_notes
from uploads.workflows.text.pdf_forms import filled_in
from uploads.workflows.text.pdf_lines import (
    Line,
    Sizes,
    in_box,
    lines_of,
    markdown,
    plain,
    sample_pages,
)
from uploads.workflows.text.pdf_tables import Table, tables_of

_LABEL = "a PDF"
_PASSWORD_ERROR = pypdfium2.raw.FPDF_ERR_PASSWORD


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    with reading(_LABEL), open_pdf(source) as document:
        count = len(document)
        if count > job.options.max_pages:
            raise TaskFailed(
                "too_many_pages",
                f"The PDF has {count:,} pages; {job.options.max_pages:,} are allowed.",
            )
        document.init_forms()
        sizes = Sizes(_sampled(document))
        has_text = has_lost = False
        for index in range(count):
            text = job.attempt(f"Page {index + 1}", partial(_page_text, document, index, sizes))
            has_text = has_text or without_notes(text) != ""
            has_lost = has_lost or text != without_notes(text)
            mark = f"\n---\n\n*Page {index + 1}*\n\n" if index else ""
            yield Piece(f"{mark}{text}\n" if text else mark, (index + 1) / count)
        if not has_text and not has_lost:
            raise TaskFailed(
                "no_text", "The PDF has no text layer; its pages may be scanned images."
            )


def open_pdf(source: BinaryIO) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(source)
    except pypdfium2.PdfiumError as exc:
        if exc.err_code == _PASSWORD_ERROR:
            raise encrypted() from exc
        raise


def _sampled(document: pypdfium2.PdfDocument) -> Iterator[list[Line]]:
    for index in sample_pages(len(document)):
        with (
            suppress(pypdfium2.PdfiumError),  # what of it cannot be read is told later
            closing(document[index]) as page,
            closing(page.get_textpage()) as text,
        ):
            yield lines_of(text) or []


def _page_text(document: pypdfium2.PdfDocument, index: int, sizes: Sizes) -> str:
    with closing(document[index]) as page, closing(page.get_textpage()) as text:
        lines = lines_of(text)
        if lines is None:
            own = plain(text.get_text_range())
        else:
            own = _with_tables(lines, tables_of(page, text), sizes)
        written = filled_in(document, page)
    return "\n\n".join(filter(None, [own, written]))


def _with_tables(lines: list[Line], tables: list[Table], sizes: Sizes) -> str:
    """Each table in place of its first line, if it has all the words of its lines."""
    taken: dict[int, Table | None] = {}
    for table in tables:
        inside = [index for index in in_box(lines, table.box) if index not in taken]
        words = "".join(lines[index].text for index in inside)
        cells = "".join(cell for line in table.cells for cell in line)
        if inside and sorted(_letters(words)) == sorted(_letters(cells)):
            taken |= dict.fromkeys(inside)
            taken[inside[0]] = table
    blocks: list[str] = []
    between: list[Line] = []
    for index, line in enumerate(lines):
        if index not in taken:
            between.append(line)
        elif (begun := taken[index]) is not None:
            blocks += [markdown(between, sizes), begun.markdown()]
            between = []
    return "\n\n".join(filter(None, [*blocks, markdown(between, sizes)]))


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))
