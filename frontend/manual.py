"""The manual: the pages of docs/, whose index.md lists them in order, as HTML.

They are the portal's own and as trustworthy as its code, unlike what `frontend.markdown` renders.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from django.conf import settings
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

from frontend.markdown import adapt_tables

INDEX = "index"
SETTINGS = "settings"  # made of .env.example, which lists each with its default
_EXAMPLE = ".env.example"
_SECTION = re.compile(r"^# --- (.+?) -+$", re.MULTILINE)
_CHAPTER = re.compile(r"^## (.+)$")
_ENTRY = re.compile(r"^- \[(.+?)\]\((\w+)\.md\)")
_NO_PART_OF_AN_ANCHOR = re.compile(r"[^\w\- ]")


@dataclass(frozen=True)
class Entry:
    """A page as the index names it."""

    name: str
    title: str


@dataclass(frozen=True)
class Chapter:
    title: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Heading:
    anchor: str
    title: str


@dataclass(frozen=True)
class Page:
    """`headings` are those below the title, of the second level."""

    name: str
    title: str
    html: SafeString
    headings: tuple[Heading, ...]


@cache
def chapters() -> tuple[Chapter, ...]:
    found: dict[str, list[Entry]] = {}
    title = ""
    for line in _source(INDEX).splitlines():
        if chapter := _CHAPTER.match(line):
            title = chapter[1]
        elif entry := _ENTRY.match(line):
            found.setdefault(title, []).append(Entry(entry[2], entry[1]))
    return tuple(Chapter(name, tuple(entries)) for name, entries in found.items())


@cache
def page(name: str) -> Page | None:
    """The page of that name, if the index lists it."""
    if name not in {
        INDEX,
        SETTINGS,
        *(entry.name for chapter in chapters() for entry in chapter.entries),
    }:
        return None
    tokens = _parser.parse(_source(name))
    title, headings = "", []
    for opening, inline in _headings(tokens):
        text = "".join(child.content for child in inline.children or ())
        anchor = anchor_of(text)
        opening.attrSet("id", anchor)
        if opening.tag == "h1":
            title = text
        elif opening.tag == "h2":
            headings.append(Heading(anchor, text))
    for token in _inner(tokens):
        if token.type == "link_open":
            _lead_to_pages(token)
    html = _parser.renderer.render(tokens, _parser.options, {})
    return Page(name, title, mark_safe(html), tuple(headings))  # noqa: S308  (our own text)


def anchor_of(heading: str) -> str:
    """As the sites that show a repository's Markdown make them, so that links work in both."""
    return _NO_PART_OF_AN_ANCHOR.sub("", heading.lower()).replace(" ", "-")


def _source(name: str) -> str:
    folder: Path = settings.BASE_DIR
    if name == SETTINGS:
        return _settings((folder / _EXAMPLE).read_text())
    return (folder / "docs" / f"{name}.md").read_text()


def _settings(example: str) -> str:
    """The file as Markdown, a section under each of its headings."""
    preface, *rest = _SECTION.split(example)
    sections = zip(["How they are read", *rest[::2]], [preface, *rest[1::2]], strict=True)
    blocks = (f"## {title}\n\n```ini\n{text.strip()}\n```\n" for title, text in sections)
    return "\n".join(["# Every setting\n", *blocks])


def _headings(tokens: list[Token]) -> Iterator[tuple[Token, Token]]:
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            yield token, following


def _inner(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield from token.children or ()


def _lead_to_pages(link: Token) -> None:
    """Point a link between files to the page; one out of docs/ has nowhere to lead to here."""
    target, _, anchor = str(link.attrs["href"]).partition("#")
    if not target or ":" in target:
        return
    name = SETTINGS if target == f"../{_EXAMPLE}" else target.removesuffix(".md")
    if "/" in name or name == target:
        del link.attrs["href"]
        return
    path = (
        reverse("frontend:manual")
        if name == INDEX
        else reverse("frontend:manual_page", args=[name])
    )
    link.attrs["href"] = f"{path}#{anchor}" if anchor else path


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    adapt_tables(parser)
    return parser


_parser = _make_parser()
