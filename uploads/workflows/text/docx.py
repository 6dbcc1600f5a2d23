"""Word documents, by way of HTML, which keeps headings, lists, tables and notes."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import mammoth

from uploads.workflows.text.base import Job, Piece, reading
from uploads.workflows.text.html import html_to_markdown
from uploads.workflows.text.zips import repack

_LABEL = "a Word document"
_STYLES = "p[style-name='Title'] => h1:fresh"  # besides Mammoth's own


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    with TemporaryDirectory(dir=job.options.folder) as folder:
        copy = Path(folder, "copy.docx")
        with reading(_LABEL):
            yield from repack(source, copy, job.options)
        with reading(_LABEL, OSError), copy.open("rb") as honest:
            html = mammoth.convert_to_html(
                honest,
                convert_image=lambda _image: [],
                style_map=_STYLES,
                include_embedded_style_map=False,
            ).value
        yield Piece("", 0.5)
        yield Piece(html_to_markdown(html), 1.0)
