"""The lines of a PDF's page: where they are, how large, and what is a paragraph or a heading.

PDF tells of neither; both are guessed from distances and sizes.
"""

import ctypes
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import hypot

import pypdfium2
from pypdfium2 import raw

from uploads.workflows.text.clean import one_line

# PDFium's mark for a word that continues on the next line.
_HYPHENS = ("\ufffe", "\x02")
# A gap larger than this many times the usual line distance starts a new paragraph.
_PARAGRAPH_GAP = 1.35
_LARGE_GAP = 1.6  # of a large line, times its size
_BOLD = 700
_FONT_NAME_MAX = 200  # bytes
# A heading is larger than the text by this, or bold and apart from it.
_LARGER = 1.15
_SAME_SIZE = 1.04
_HEADING_MAX = 150  # characters
_HEADING_LINES = 3
_LEVELS_MAX = 4
_LEADERS = re.compile(r"(?:\. ?){5}|\u2026{2}")  # of a table of contents
_MARKDOWN = re.compile(r"#{1,6} ")
_SAMPLE_PAGES = 12


@dataclass(frozen=True)
class Line:
    """A line of text, in points from the page's left and bottom edges.

    Its first character is `top` high. A line that ends in a broken word has the rest of the word,
    and so is on two lines of the page: `bottom` is the top of its last character.
    """

    text: str
    left: float
    right: float
    top: float
    bottom: float
    size: float  # of its font, as it is shown
    is_bold: bool


def lines_of(page: pypdfium2.PdfTextPage) -> list[Line] | None:
    """None if the page's text has other indices than its characters: then nothing is known."""
    text = page.get_text_range()  # get_text_bounded would lose some line ends
    if len(text) != page.count_chars():
        text = _as_units(text)
    if len(text) != page.count_chars():
        return None
    lines = []
    at = 0
    for words in text.split("\r\n"):
        lines.append(_line(page, words, at))
        at += len(words) + 2
    return lines


def _line(page: pypdfium2.PdfTextPage, text: str, at: int) -> Line:
    places = [at + index for index, char in enumerate(text) if not char.isspace()]
    if not places:
        return Line("", 0, 0, 0, 0, 0, is_bold=False)
    first, middle, last = places[0], places[len(places) // 2], places[-1]
    left, _bottom, _right, top = page.get_charbox(first, loose=True)
    _left, _bottom, right, bottom = page.get_charbox(last, loose=True)
    is_bold = _is_bold(page, first) and _is_bold(page, last)
    return Line(_whole(text), left, right, top, bottom, _size(page, middle), is_bold=is_bold)


def _size(page: pypdfium2.PdfTextPage, place: int) -> float:
    """The font's size, times what text and page are scaled by."""
    matrix = raw.FS_MATRIX()
    raw.FPDFText_GetMatrix(page, place, matrix)
    return round(raw.FPDFText_GetFontSize(page, place) * hypot(matrix.b, matrix.d), 1)


def _is_bold(page: pypdfium2.PdfTextPage, place: int) -> bool:
    """By its font's weight, or by its name where the font tells no weight."""
    if raw.FPDFText_GetFontWeight(page, place) >= _BOLD:
        return True
    name = ctypes.create_string_buffer(_FONT_NAME_MAX)
    raw.FPDFText_GetFontInfo(page, place, name, _FONT_NAME_MAX, None)
    return b"bold" in name.value.lower()


def _as_units(text: str) -> str:
    """The text in units of UTF-16, by which PDFium counts: two for what is beyond 16 bits."""
    return "".join(map(chr, memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H")))


def _whole(text: str) -> str:
    for mark in _HYPHENS:
        text = text.replace(mark, "")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").strip()


class Sizes:
    """Which size the text of a document has, and which sizes its headings."""

    def __init__(self, pages: Iterable[list[Line]]) -> None:
        sizes: Counter[float] = Counter()
        bold = total = 0
        for line in (line for page in pages for line in page if line.text):
            sizes[line.size] += len(line.text)
            total += len(line.text)
            bold += len(line.text) * line.is_bold
        self.body = sizes.most_common(1)[0][0] if sizes else 0.0
        self.is_bold_special = bold * 4 < total
        larger = sorted((each for each in sizes if each > self.body * _LARGER), reverse=True)
        self._steps: list[float] = []
        for each in larger:
            if not self._steps or each * _SAME_SIZE < self._steps[-1]:
                self._steps.append(each)

    def limit(self, line: Line, usual: float) -> float:
        """How far above a line the one before may be: further where it is larger than most."""
        is_large = line.size > self.body * _LARGER
        return max(usual, line.size * _LARGE_GAP) if is_large else usual

    def level(self, line: Line, *, is_alone: bool) -> int:
        """From 1; 0 if the line is no heading. `is_alone`: no line of its size is next to it."""
        is_long = len(line.text) > _HEADING_MAX
        if is_long or not any(map(str.isalpha, line.text)) or _LEADERS.search(line.text):
            return 0
        if self.body and line.size > self.body * _LARGER:
            larger = sum(1 for step in self._steps if step > line.size * _SAME_SIZE)
            return min(larger + 1, _LEVELS_MAX)
        is_title = line.is_bold and self.is_bold_special and is_alone
        if is_title and line.size >= self.body and line.text[-1] not in ".,;:!?":
            return min(len(self._steps) + 1, _LEVELS_MAX)
        return 0


def sample_pages(count: int) -> range:
    """Pages, spread over a document, from which its sizes are told."""
    return range(0, count, max(1, count // _SAMPLE_PAGES))


def markdown(lines: list[Line], sizes: Sizes) -> str:
    """Paragraphs and headings. A heading of two lines is one."""
    shown = [line for line in lines if line.text]
    gaps = [above.bottom - below.top for above, below in pairwise(shown)]
    # Not the median: on a page of short paragraphs most gaps are large.
    downwards = sorted(gap for gap in gaps if gap > 0) or [0.0]
    usual = downwards[len(downwards) // 4] * _PARAGRAPH_GAP
    out: list[str] = []
    level_before = 0
    for index, (line, level, goes_on) in enumerate(_levels(shown, gaps, usual, sizes)):
        is_first = not out
        if level and goes_on:
            out.append(f" {one_line(line.text)}")
        elif level:
            out.append(f"{'' if is_first else '\n\n'}{'#' * level} {one_line(line.text)}")
        else:
            is_far = index > 0 and gaps[index - 1] > sizes.limit(line, usual)
            is_new = is_far or level_before > 0
            between = "" if is_first else "\n\n" if is_new else "\n"
            out.append(f"{between}{_unlike_heading(line.text)}")
        level_before = level
    return "".join(out)


def _levels(
    lines: list[Line], gaps: list[float], usual: float, sizes: Sizes
) -> Iterator[tuple[Line, int, bool]]:
    """Each line, the level of the heading that it is in (0: none), whether it goes on with that.

    What looks like a heading of many lines is text.
    """
    breaks = [True, *(gap > usual or gap <= 0 for gap in gaps), True]
    levels = [
        sizes.level(line, is_alone=breaks[index] and breaks[index + 1])
        for index, line in enumerate(lines)
    ]
    start = 0
    for index in range(1, len(lines) + 1):
        if index < len(lines) and _goes_on(lines, levels, gaps, index):
            continue
        is_heading = index - start <= _HEADING_LINES
        for place in range(start, index):
            yield lines[place], levels[place] if is_heading else 0, place > start
        start = index


def _goes_on(lines: list[Line], levels: list[int], gaps: list[float], index: int) -> bool:
    """Whether a line belongs to the heading in the line before it."""
    before, line = lines[index - 1], lines[index]
    is_same = levels[index] == levels[index - 1] > 0 and before.size == line.size
    return is_same and gaps[index - 1] < line.size * 2


def _unlike_heading(text: str) -> str:
    return f"\\{text}" if _MARKDOWN.match(text) else text


def plain(text: str) -> str:
    """The text of a page of which only that is known."""
    for mark in _HYPHENS:
        text = text.replace(f"{mark}\r\n", "").replace(mark, "")
    return text.strip()


def in_box(lines: list[Line], box: tuple[float, float, float, float]) -> Iterator[int]:
    """Indices of the lines that lie in a box (left, bottom, right, top)."""
    left, bottom, right, top = box
    for index, line in enumerate(lines):
        across = left <= line.left and line.right <= right
        if line.text and across and bottom <= line.bottom - line.size / 2 <= top:
            yield index
