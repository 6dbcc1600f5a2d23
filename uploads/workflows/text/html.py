"""HTML pages, without scripts, styles and images."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from bs4 import BeautifulSoup
from markdownify import ATX, MarkdownConverter

from uploads.workflows.errors import TaskFailed
from uploads.workflows.text.base import Job, Piece, check_fits_memory
from uploads.workflows.text.clean import cell
from uploads.workflows.text.decoding import decoded

# As a tree, a page takes sixty times its size in memory.
_CHARACTERS_MAX = 12 * 1024 * 1024
_UNSEEN = ("script", "style", "noscript", "template", "svg", "object", "iframe", "head")
_SAFE_LINKS = ("http:", "https:", "mailto:", "tel:", "#", "/")


class _Converter(MarkdownConverter):
    def convert_img(self, el: Any, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002
        return " ".join(str(el.get("alt") or "").split())

    def convert_a(self, el: Any, text: str, parent_tags: set[str]) -> str:
        """Only links that lead somewhere: no scripts and no data."""
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
    try:
        text = _converter.convert_soup(soup).strip()
    except RecursionError:
        text = soup.get_text("\n", strip=True)  # nested without end: the words at least
    has_heading = soup.find("h1") is not None
    return f"# {title}\n\n{text}\n" if title and not has_heading else f"{text}\n"
