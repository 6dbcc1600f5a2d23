"""HTML pages, without scripts, styles and images."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from bs4 import BeautifulSoup
from bs4.element import NavigableString
from markdownify import ATX, MarkdownConverter

from uploads.workflows.errors import TaskFailed
from uploads.workflows.text.base import Job, Piece, check_fits_memory
from uploads.workflows.text.clean import cell
from uploads.workflows.text.decoding import decoded

# Bytes. A parsed page takes sixty times its size in memory.
_CHARACTERS_MAX = 12 * 1024 * 1024
_UNSEEN = ("script", "style", "noscript", "template", "svg", "object", "iframe", "head")
# Markdownify's patterns take quadratic time in the length of a gap: an hour for 1 MiB.
_GAP = re.compile(r"[ \t\r\n]{200,}")
# The most empty cells that are added to a page for cells that span rows.
_FILLED_MAX = 20_000
_SPAN_MAX = 1000
# Kinds of fields whose value nobody sees, or that are no answer.
_WITHOUT_VALUE = {"hidden", "password", "submit", "button", "reset", "image", "file"}
_SAFE_LINKS = ("http:", "https:", "mailto:", "tel:", "#", "/")


class _Converter(MarkdownConverter):
    def convert_img(self, el: Any, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002
        return " ".join(str(el.get("alt") or "").split())

    def convert_a(self, el: Any, text: str, parent_tags: set[str]) -> str:
        """Keep http and similar links; drop javascript: and data: links."""
        target = str(el.get("href") or "").strip().lower()
        if ":" in target.split("/")[0] and not target.startswith(_SAFE_LINKS):
            return text
        linked: str = super().convert_a(el, text, parent_tags)  # type: ignore[misc]
        return linked

    def convert_td(self, el: Any, text: str, parent_tags: set[str]) -> str:
        converted: str = super().convert_td(el, cell(text), parent_tags)  # type: ignore[misc]
        return converted

    def convert_th(self, el: Any, text: str, parent_tags: set[str]) -> str:
        converted: str = super().convert_th(el, cell(text), parent_tags)  # type: ignore[misc]
        return converted


_converter = _Converter(
    heading_style=ATX, bullets="-", escape_underscores=False, table_infer_header=True
)


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    del job
    check_fits_memory(source, "An HTML page")
    with decoded(source, declares_charset=True) as text:
        yield Piece(html_to_markdown(text.read()), 1.0)


def html_to_markdown(html: str) -> str:
    """Raises TaskFailed `file_too_large`."""
    if len(html) > _CHARACTERS_MAX:
        raise TaskFailed(
            "file_too_large",
            f"A page of {len(html):,} characters is more than the {_CHARACTERS_MAX:,} that can "
            "be converted.",
        )
    soup = BeautifulSoup(html, "lxml")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for element in soup(_UNSEEN):
        element.decompose()
    for part in soup.find_all(string=_GAP):
        if type(part) is NavigableString:  # not a comment
            part.replace_with(_GAP.sub(_narrow, part))
    _fill_in_fields(soup)
    _fill_spanned_rows(soup)
    try:
        text = _converter.convert_soup(soup).strip()
    except RecursionError:
        text = soup.get_text("\n", strip=True)  # nested too deeply: keep at least the words
    has_heading = soup.find("h1") is not None
    return f"# {title}\n\n{text}\n" if title and not has_heading else f"{text}\n"


def _fill_in_fields(soup: BeautifulSoup) -> None:
    """Put in place of the fields of a form what is entered, ticked or chosen in them."""
    for field in soup("input"):
        kind = str(field.get("type", "text")).lower()
        if kind in {"checkbox", "radio"}:
            after = field.next_sibling
            space = "" if isinstance(after, str) and after[:1].isspace() else " "
            field.replace_with(("[x]" if field.has_attr("checked") else "[ ]") + space)
        elif kind not in _WITHOUT_VALUE and (value := str(field.get("value", ""))):
            field.replace_with(f" {value} ")
    for choice in soup(("select", "textarea")):
        choice.insert_after(" ")
        options = choice("option")
        if any(option.has_attr("selected") for option in options):
            for option in options:
                if not option.has_attr("selected"):
                    option.decompose()


def _narrow(gap: re.Match[str]) -> str:
    return "\n" if "\n" in gap[0] else " "


def _fill_spanned_rows(soup: BeautifulSoup) -> None:
    """Add empty cells below cells that span rows, because Markdown has no row spans."""
    left = _FILLED_MAX
    tables: dict[int, dict[int, int]] = {}  # per table and column: the rows that are still spanned
    for line in soup("tr"):
        spanned = tables.setdefault(id(line.find_parent("table")), {})
        column = 0
        for cell_ in [*line(("td", "th"), recursive=False), None]:
            while spanned.get(column):
                if left == 0:
                    return
                left -= 1
                spanned[column] -= 1
                column += 1
                empty = soup.new_tag("td")
                if cell_ is None:
                    line.append(empty)
                else:
                    cell_.insert_before(empty)
            if cell_ is not None:
                rows, width = _span(cell_, "rowspan"), _span(cell_, "colspan")
                if rows > 1:
                    spanned.update(dict.fromkeys(range(column, column + width), rows - 1))
                column += width


def _span(element: Any, name: str) -> int:
    value = str(element.get(name, ""))
    return min(int(value), _SPAN_MAX) if value.isascii() and value.isdigit() else 1
