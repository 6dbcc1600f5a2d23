"""Word documents, by way of HTML, which keeps headings, lists, tables and notes."""

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO
from zipfile import ZipFile

import mammoth

from uploads.workflows.text.base import Job, Piece, reading
from uploads.workflows.text.docx_parts import prepare
from uploads.workflows.text.html import html_to_markdown
from uploads.workflows.text.opc import Package, W
from uploads.workflows.text.zips import repack

_LABEL = "a Word document"
_STYLES = """
p[style-name='Title'] => h1:fresh
comment-reference => sup
"""  # besides Mammoth's own
_BACK = re.compile(r" ?\[\u2191\]\(#(?:footnote|endnote|comment)-ref-[^)]*\)")
_MARK = re.compile(r"\[(\[[^\]]{1,40}\])\]\(#(?:footnote|endnote|comment)-[^)]*\)")
_COMMENT = re.compile(r"^Comment (\[[^\]]{1,40}\])\n:\s+", re.MULTILINE)
_CHUNKS = (".htm", ".html", ".xhtml", ".txt", ".mht", ".mhtml", ".rtf", ".docx")


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    with TemporaryDirectory(dir=job.options.folder) as folder:
        copy, ready = Path(folder, "copy.docx"), Path(folder, "ready.docx")
        with reading(_LABEL):
            yield from repack(source, copy, job, keep=_CHUNKS)
        with reading(_LABEL, OSError), ZipFile(copy) as archive:
            insertions = prepare(Package(archive), archive, ready, job)
        yield Piece("", 0.3)
        with reading(_LABEL, OSError), ZipFile(ready) as archive:
            text = _with_layout(ready)
            if text is None:
                job.warn("The document's layout could not be read; only its words were.")
                text = _words(Package(archive))
        yield Piece(insertions.put_into(text), 1.0)


def _with_layout(path: Path) -> str | None:
    """The Markdown by Mammoth; None if it fails at something in the document."""
    try:
        with path.open("rb") as document:
            html = mammoth.convert_to_html(
                document,
                convert_image=lambda _image: [],
                style_map=_STYLES,
                include_embedded_style_map=False,
            ).value
    except MemoryError:
        raise
    except Exception:  # it fails in as many ways as documents are broken
        return None
    return _without_links_back(html_to_markdown(html))


def _without_links_back(text: str) -> str:
    """Notes and comments without the links between them and their marks, which lead nowhere."""
    text = _MARK.sub(r"\1", _BACK.sub("", text))
    return _COMMENT.sub(r"**Comment \1:** ", text)


def _words(package: Package) -> str:
    """The text of each paragraph."""
    root = package.root(package.main_part())
    paragraphs = (
        "".join(text.text or "" for text in paragraph.iter(f"{W}t"))
        for paragraph in root.iter(f"{W}p")
    )
    return "\n\n".join(filter(None, paragraphs)) + "\n"
