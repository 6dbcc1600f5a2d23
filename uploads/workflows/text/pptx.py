"""PowerPoint presentations, slide by slide: text, tables, chart values, notes."""

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.package import Package

from uploads.workflows.text.base import Job, Piece, reading
from uploads.workflows.text.clean import one_line, row, table_head
from uploads.workflows.text.zips import repack

_LABEL = "a PowerPoint presentation"
_BULLETED = {PP_PLACEHOLDER.BODY, PP_PLACEHOLDER.OBJECT}


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    with TemporaryDirectory(dir=job.options.folder) as folder:
        copy = Path(folder, "copy.pptx")
        with reading(_LABEL):
            yield from repack(source, copy, job.options)
        with reading(_LABEL, OSError), copy.open("rb") as honest:
            slides = Package.open(honest).main_document_part.presentation.slides
            for number, slide in enumerate(slides, 1):
                yield Piece("\n\n".join(_slide(number, slide)) + "\n\n", number / len(slides))


def _slide(number: int, slide: Any) -> Iterator[str]:
    title = slide.shapes.title
    heading = one_line(title.text_frame.text) if title is not None else ""
    yield f"## Slide {number}: {heading}" if heading else f"## Slide {number}"
    for shape in _flat(slide.shapes):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if getattr(shape, "has_table", False):
            yield _table(shape.table)
        elif getattr(shape, "has_chart", False):
            yield from _charts(shape.chart)
        elif getattr(shape, "has_text_frame", False) and (text := _text(shape)):
            yield text
    if slide.has_notes_slide:
        frame = slide.notes_slide.notes_text_frame
        if frame is not None and frame.text.strip():
            yield f"**Notes:** {frame.text.strip()}"


def _flat(shapes: Iterable[Any]) -> Iterator[Any]:
    """All shapes, including those in groups."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _flat(shape.shapes)
        else:
            yield shape


def _text(shape: Any) -> str:
    is_list = shape.is_placeholder and shape.placeholder_format.type in _BULLETED
    paragraphs = [
        (paragraph.level, text)
        for paragraph in shape.text_frame.paragraphs
        if (text := one_line(paragraph.text))
    ]
    if is_list:
        return "\n".join(f"{'  ' * level}- {text}" for level, text in paragraphs)
    return "\n\n".join(text for _level, text in paragraphs)


def _table(table: Any) -> str:
    rows = [[cell.text_frame.text for cell in line.cells] for line in table.rows]
    return table_head(rows[0]) + "".join(map(row, rows[1:])) if rows else ""


def _charts(chart: Any) -> Iterator[str]:
    """A table for each plot, with a row per category and a column per series."""
    for plot in chart.plots:
        names = [str(series.name or "") for series in plot.series]
        values = [series.values for series in plot.series]
        lines = zip_longest(plot.categories, *values)
        shown = [["" if value is None else str(value) for value in line] for line in lines]
        if shown:
            yield table_head(["", *names]) + "".join(map(row, shown))
