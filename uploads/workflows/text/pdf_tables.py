"""Tables of a PDF's page that are drawn with lines: PDF has no tables of its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import pypdfium2
from pypdfium2 import raw

from uploads.workflows.text.clean import row, table_head

_RULES_MAX = 1_500  # of a page; drawings and maps have more
_OBJECTS_MAX = 20_000
_THIN = 3.0  # points
_LONG = 8.0
_NEAR = 3.0  # as far apart are two lines that are meant to be one
_CELLS_MAX = 5_000
_FILLED = 0.5  # of a table's cells have text, at least

Box = tuple[float, float, float, float]  # left, bottom, right, top, in points


@dataclass(frozen=True)
class Rule:
    """A straight line: at `at`, from `start` to `end` along the other axis."""

    at: float
    start: float
    end: float


@dataclass(frozen=True)
class Table:
    box: Box
    cells: list[list[str]]

    def markdown(self) -> str:
        return table_head(self.cells[0]) + "".join(map(row, self.cells[1:]))


def tables_of(page: pypdfium2.PdfPage, text: pypdfium2.PdfTextPage) -> list[Table]:
    across, upright = _rules(page)
    if not (2 <= len(across) <= _RULES_MAX and 2 <= len(upright) <= _RULES_MAX):
        return []
    found = (_table(group, text) for group in _groups(across, upright))
    return [table for table in found if table is not None]


def _rules(page: pypdfium2.PdfPage) -> tuple[list[Rule], list[Rule]]:
    """The horizontal and the vertical lines of a page: strokes, edges of boxes, thin boxes."""
    across: list[Rule] = []
    upright: list[Rule] = []
    objects = page.get_objects(filter=[raw.FPDF_PAGEOBJ_PATH], max_depth=1)
    for count, shape in enumerate(objects):
        if count > _OBJECTS_MAX or len(across) + len(upright) > 2 * _RULES_MAX:
            return [], []
        left, bottom, right, top = shape.get_bounds()
        width, height = right - left, top - bottom
        if height <= _THIN and width >= _LONG:
            across.append(Rule((bottom + top) / 2, left, right))
        elif width <= _THIN and height >= _LONG:
            upright.append(Rule((left + right) / 2, bottom, top))
        elif width >= _LONG and height >= _THIN and _is_box(shape):
            across += [Rule(bottom, left, right), Rule(top, left, right)]
            upright += [Rule(left, bottom, top), Rule(right, bottom, top)]
    return across, upright


def _is_box(shape: pypdfium2.PdfObject) -> bool:
    """Whether a path is a rectangle: four or five points, without curves."""
    count = raw.FPDFPath_CountSegments(shape)
    kinds = {
        raw.FPDFPathSegment_GetType(raw.FPDFPath_GetPathSegment(shape, index))
        for index in range(min(count, 6))
    }
    return 4 <= count <= 5 and raw.FPDF_SEGMENT_BEZIERTO not in kinds


def _groups(across: list[Rule], upright: list[Rule]) -> Iterable[tuple[list[Rule], list[Rule]]]:
    """Lines that touch each other, directly or by way of others."""
    left_over = set(range(len(upright)))
    waiting = set(range(len(across)))
    while waiting:
        rows, columns = {waiting.pop()}, set[int]()
        new = set(rows)
        while new:
            touched = {
                index
                for index in left_over
                if any(_touch(across[at], upright[index]) for at in new)
            }
            left_over -= touched
            columns |= touched
            new = {
                index
                for index in waiting
                if any(_touch(across[index], upright[at]) for at in touched)
            }
            waiting -= new
            rows |= new
        yield [across[index] for index in rows], [upright[index] for index in columns]


def _touch(level: Rule, upright: Rule) -> bool:
    return (
        level.start - _NEAR <= upright.at <= level.end + _NEAR
        and upright.start - _NEAR <= level.at <= upright.end + _NEAR
    )


def _table(group: tuple[list[Rule], list[Rule]], text: pypdfium2.PdfTextPage) -> Table | None:
    """None for what is no table: a box, a drawing."""
    across, upright = group
    edges = _merged(rule.at for rule in upright)
    levels = _merged(rule.at for rule in across)[::-1]
    rows, columns = len(levels) - 1, len(edges) - 1
    if rows < 2 or columns < 2 or rows * columns > _CELLS_MAX:
        return None
    cells = []
    for top, bottom in pairwise(levels):
        middle = (top + bottom) / 2
        borders = [each.at for each in upright if each.start - 1 <= middle <= each.end + 1]
        cells.append(_row(text, edges, borders, (bottom, top)))
    filled = [line for line in cells if any(line)]
    used = [index for index in range(columns) if any(line[index] for line in filled)]
    if len(filled) < 2 or len(used) < 2:
        return None
    kept = [[line[index] for index in used] for line in filled]
    texts = [cell for line in kept for cell in line if cell]
    if len(texts) < len(kept) * len(used) * _FILLED or sum(map(_lines, texts)) > 3 * len(texts):
        return None  # boxes of a form: as rows their lines would be lost
    return Table((edges[0] - 1, levels[-1] - 1, edges[-1] + 1, levels[0] + 1), kept)


def _lines(cell: str) -> int:
    return cell.count("\n") + 1


def _row(
    text: pypdfium2.PdfTextPage,
    edges: list[float],
    borders: list[float],
    between: tuple[float, float],
) -> list[str]:
    """The text of each column; that of a cell over several columns is in the first of them."""
    bottom, top = between
    cells = [""] * (len(edges) - 1)
    start = 0
    for index in range(1, len(edges)):
        is_last = index == len(edges) - 1
        if is_last or any(abs(each - edges[index]) <= _NEAR for each in borders):
            cells[start] = text.get_text_bounded(edges[start], bottom, edges[index], top).strip()
            start = index
    return cells


def _merged(places: Iterable[float]) -> list[float]:
    """Places in order; of those that are near each other the first."""
    merged: list[float] = []
    for place in sorted(places):
        if not merged or place - merged[-1] > _NEAR:
            merged.append(place)
    return merged
