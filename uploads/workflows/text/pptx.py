"""PowerPoint presentations, slide by slide: text, tables, chart values, notes, comments."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO
from zipfile import ZipFile

from uploads.workflows.text.base import Job, Piece, reading
from uploads.workflows.text.charts import chart_markdown
from uploads.workflows.text.clean import one_line, row, table_head
from uploads.workflows.text.diagrams import diagram_text
from uploads.workflows.text.drawing import drawn_text
from uploads.workflows.text.opc import (
    A,
    Element,
    Package,
    choose,
    first,
    local,
    named,
    relation_id,
)
from uploads.workflows.text.zips import repack

_LABEL = "a PowerPoint presentation"
_TITLES = {"title", "ctrTitle"}  # ECMA-376 part 1, 19.7.10
# What is the same on every slide.
_FURNITURE = {"dt", "ftr", "sldNum", "hdr", "sldImg"}
_FILE_NAME = re.compile(r"\S+\.\w{3,4}")
_TEXTUAL = {"subTitle", *_TITLES}


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    with TemporaryDirectory(dir=job.options.folder) as folder:
        copy = Path(folder, "copy.pptx")
        with reading(_LABEL):
            yield from repack(source, copy, job)
        with reading(_LABEL, OSError), ZipFile(copy) as archive:
            package = Package(archive)
            slides = list(_slides(package))
            for number, part in enumerate(slides, 1):
                text = job.attempt(f"Slide {number}", partial(_slide, package, part, number, job))
                if part in package.damaged:
                    job.warn(f"Slide {number} is damaged; only its beginning was read.")
                yield Piece(f"{text}\n\n", number / len(slides))


def _slides(package: Package) -> Iterator[str]:
    """Part names in the order of the presentation (part 1, 19.2.1.34)."""
    main = package.main_part()
    relations = package.relations(main)
    for entry in named(package.root(main), "sldId"):
        if (relation := relations.get(relation_id(entry))) is not None:
            yield relation.target


def _slide(package: Package, part: str, number: int, job: Job) -> str:
    root = package.root(part)
    choose(root)
    shapes = list(_shapes(root))
    title = next((shape for shape in shapes if _placeholder(shape) in _TITLES), None)
    heading = "" if title is None else one_line(" ".join(text for _l, text in drawn_text(title)))
    texts = [f"## Slide {number}: {heading}" if heading else f"## Slide {number}"]
    where = f"on slide {number}"
    texts += [
        job.attempt(_what(shape, where), partial(_shape, package, part, shape))
        for shape in shapes
        if shape is not title
    ]
    for notes in package.related(part, "notesSlide"):
        texts.append(job.attempt(f"The notes {where}", partial(_notes, package, notes)))
    for comments in package.related(part, "comments"):
        texts.append(job.attempt(f"The comments {where}", partial(_comments, package, comments)))
    return "\n\n".join(filter(None, texts))


def _what(shape: Element, where: str) -> str:
    names = {"tbl": "A table", "chart": "A chart", "relIds": "A diagram"}
    kind = next((names[local(each)] for each in shape.iter() if local(each) in names), "A text")
    return f"{kind} {where}"


def _shapes(element: Element) -> Iterator[Element]:
    """All shapes, including those in groups."""
    return iter(element.iter("{*}sp", "{*}graphicFrame", "{*}pic", "{*}cxnSp"))


def _placeholder(shape: Element) -> str | None:
    """The type of a placeholder (`obj` if it names none); None if it is no placeholder."""
    found = first(shape, "ph")
    return None if found is None else str(found.get("type", "obj"))


def _shape(package: Package, part: str, shape: Element) -> str:
    if (table := first(shape, "tbl")) is not None:
        return _table(table)
    if (chart := first(shape, "chart")) is not None and local(shape) == "graphicFrame":
        return chart_markdown(package.root(package.relations(part)[relation_id(chart)].target))
    if (diagram := first(shape, "relIds")) is not None:
        return diagram_text(package, part, diagram)
    if local(shape) == "pic":
        return _description(shape)
    return _text(shape)


def _text(shape: Element) -> str:
    kind = _placeholder(shape)
    if kind in _FURNITURE:
        return ""
    paragraphs = drawn_text(shape)
    if kind is not None and kind not in _TEXTUAL:
        return "\n".join(f"{'  ' * level}- {text}" for level, text in paragraphs)
    return "\n\n".join(text for _level, text in paragraphs)


def _description(picture: Element) -> str:
    """What the author says that the picture shows."""
    properties = first(picture, "cNvPr")
    told = one_line(properties.get("descr", "")) if properties is not None else ""
    return "" if _FILE_NAME.fullmatch(told) else told


def _table(table: Element) -> str:
    rows = [
        [" ".join(text for _level, text in drawn_text(cell)) for cell in line.iter(f"{A}tc")]
        for line in table.iter(f"{A}tr")
    ]
    return table_head(rows[0]) + "".join(map(row, rows[1:])) if rows else ""


def _notes(package: Package, part: str) -> str:
    texts = [_text_of_notes(shape) for shape in _shapes(package.root(part))]
    text = "\n\n".join(filter(None, texts))
    return f"**Notes:** {text}" if text else ""


def _text_of_notes(shape: Element) -> str:
    is_furniture = _placeholder(shape) in _FURNITURE
    return "" if is_furniture else "\n\n".join(text for _level, text in drawn_text(shape))


def _comments(package: Package, part: str) -> str:
    """Comments of both kinds: part 1, 19.4.1, and [MS-PPTX] 2.16.3 (threads)."""
    return "\n\n".join(
        f"**Comment:** {text}"
        for comment in package.root(part).iter("{*}cm", "{*}reply")
        if (text := _comment_text(comment))
    )


def _comment_text(comment: Element) -> str:
    own = [each for each in comment if local(each) in {"text", "txBody"}]
    return one_line(" ".join("".join(each.itertext()) for each in own))
