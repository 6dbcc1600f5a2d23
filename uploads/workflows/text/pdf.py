"""PDF, page by page."""

import re
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import BinaryIO

import pypdfium2

from uploads.workflows.errors import TaskFailed
from uploads.workflows.text.base import Job, Piece, encrypted, reading
from uploads.workflows.text.pdf_forms import filled_in

_LABEL = "a PDF"
# PDFium's mark for a word that continues on the next line.
_HYPHENATED = re.compile("[\ufffe\x02](?:\r\n)?")
# A gap larger than this many times the usual line distance starts a new paragraph.
_PARAGRAPH_GAP = 1.35
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
        has_text = False
        for index in range(count):
            text = job.attempt(f"Page {index + 1}", partial(_page_text, document, index))
            has_text = has_text or text != ""
            mark = f"\n---\n\n*Page {index + 1}*\n\n" if index else ""
            yield Piece(f"{mark}{text}\n" if text else mark, (index + 1) / count)
        if not has_text:
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


def _page_text(document: pypdfium2.PdfDocument, index: int) -> str:
    page = document[index]
    try:
        text_page = page.get_textpage()
        try:
            text = text_page.get_text_range()  # get_text_bounded would lose some line ends
            text = _with_paragraphs(text_page, text)
        finally:
            text_page.close()
        written = filled_in(document, page)
    finally:
        page.close()
    own = _HYPHENATED.sub("", text).strip()
    return "\n\n".join(filter(None, [own, written]))


def _with_paragraphs(text_page: pypdfium2.PdfTextPage, text: str) -> str:
    """Insert blank lines at large gaps between lines, because PDF has no paragraphs."""
    lines = text.split("\r\n")
    if len(lines) < 3 or len(text) != text_page.count_chars():
        return text  # text and page have different indices, so that distances are unknown
    tops = []
    at = 0
    for line in lines:
        tops.append(text_page.get_charbox(at, loose=True)[3] if line else None)
        at += len(line) + 2
    gaps = [
        above - top if above is not None and top is not None else 0.0
        for above, top in pairwise(tops)
    ]
    # Not the median: on a page of short paragraphs most gaps are large.
    downwards = sorted(gap for gap in gaps if gap > 0) or [0.0]
    usual = downwards[len(downwards) // 4]
    pieces = [lines[0]]
    for line, gap in zip(lines[1:], gaps, strict=True):
        pieces.append("\r\n\r\n" if gap > usual * _PARAGRAPH_GAP else "\r\n")
        pieces.append(line)
    return "".join(pieces)
