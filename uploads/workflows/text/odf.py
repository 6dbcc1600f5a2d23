"""OpenDocument texts, presentations and drawings (ODF 1.3 part 3), by way of HTML."""

from collections.abc import Callable, Iterator
from functools import partial
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO
from zipfile import ZipFile

from uploads.workflows.text.base import Job, Piece, reading
from uploads.workflows.text.clean import one_line
from uploads.workflows.text.html import html_to_markdown
from uploads.workflows.text.opc import Element, Package, first, local, named
from uploads.workflows.text.zips import repack

_LABEL = "an OpenDocument document"
_NAMES = "urn:oasis:names:tc:opendocument:xmlns:"
_TEXT = f"{{{_NAMES}text:1.0}}"
_TABLE = f"{{{_NAMES}table:1.0}}"
_DRAW = f"{{{_NAMES}drawing:1.0}}"
_STYLE = f"{{{_NAMES}style:1.0}}"
_XLINK = "{http://www.w3.org/1999/xlink}"
_UNSEEN = {"tracked-changes", "forms", "sequence-decls", "variable-decls", "user-field-decls"}
_FURNITURE = {"date-time", "footer", "header", "page-number"}
_REPEATS_MAX = 100  # of a cell that has text
_SPACES_MAX = 100
_HEADINGS = 6


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    with TemporaryDirectory(dir=job.options.folder) as folder:
        copy = Path(folder, "copy.odf")
        with reading(_LABEL):
            yield from repack(source, copy, job, skip=("basic/", "dialogs/", "scripts/"))
        with reading(_LABEL, OSError), ZipFile(copy) as archive:
            package = Package(archive)
            root = package.root("content.xml")
            if "content.xml" in package.damaged:
                job.warn("The document is damaged; only its beginning was read.")
            body = _body(root)
            document = _Document(package, root, job)
            if local(body) == "text":
                yield Piece(document.text(body), 1.0)
                return
            pages = list(body.iter(f"{_DRAW}page"))
            is_deck = local(body) == "presentation"
            for number, page in enumerate(pages, 1):
                what = f"{'Slide' if is_deck else 'Page'} {number}"
                text = job.attempt(what, partial(document.page, page, what))
                yield Piece(f"{text}\n\n", number / len(pages))


class _Document:
    def __init__(self, package: Package, root: Element, job: Job) -> None:
        self._package = package
        self._job = job
        self._notes: list[str] = []
        self._writers: dict[str, Callable[[Element], str]] = {
            "h": self._heading,
            "p": self._paragraph,
            "list": self._list,
            "list-item": self._item,
            "list-header": self._item,
            "a": self._link,
            "s": _spaces,
            "tab": lambda _element: " ",
            "line-break": lambda _element: "<br>",
            "ruby-text": self._ruby,
            "note": self._note,
            "annotation": self._annotation,
        }
        # Automatic styles have names without meaning; what they are derived from has one.
        self._parents = {
            style.get(f"{_STYLE}name", ""): style.get(f"{_STYLE}parent-style-name", "")
            for style in named(root, "style")
        }

    def text(self, body: Element) -> str:
        header, footer = self._framing("header"), self._framing("footer")
        html = header + self._inner(body)
        notes = "".join(f"<p>{note}</p>" for note in self._notes)
        return html_to_markdown(f"<body>{html}{notes}{footer}</body>")

    def page(self, page: Element, what: str) -> str:
        shapes = [each for each in page if local(each) != "notes"]
        titles = [each for each in shapes if _kind(each) == "title"]
        title = one_line(" ".join("".join(each.itertext()) for each in titles[:1]))
        others = [each for each in shapes if each not in titles and _kind(each) not in _FURNITURE]
        html = "".join(map(self._html, others))
        notes = "".join(
            self._html(frame)
            for note in page
            if local(note) == "notes"
            for frame in note
            if _kind(frame) == "notes"
        )
        texts = [
            f"## {what}: {title}" if title else f"## {what}",
            html_to_markdown(html).strip(),
            f"**Notes:** {html_to_markdown(notes).strip()}" if notes else "",
        ]
        return "\n\n".join(filter(None, texts))

    def _framing(self, kind: str) -> str:
        """Headers or footers of all kinds of pages, each once."""
        try:
            styles = self._package.root("styles.xml")
        except (KeyError, ValueError):
            return ""
        found = (self._inner(each) for each in styles.iter(f"{_STYLE}{kind}"))
        return "".join(dict.fromkeys(found))

    def _inner(self, element: Element) -> str:
        """The HTML of what is in an element, and of the text between."""
        parts = [escape(element.text or "")]
        for child in element:
            parts.append(self._html(child))
            parts.append(escape(child.tail or ""))
        return "".join(parts)

    def _html(self, element: Element) -> str:
        name = local(element)
        if name in _UNSEEN:
            return ""
        if element.tag.startswith(_TABLE):
            return self._table(element)
        if element.tag.startswith(_DRAW):
            return self._drawing(element)
        return self._writers.get(name, self._inner)(element)

    def _heading(self, element: Element) -> str:
        return _tagged(f"h{_level(element)}", self._inner(element))

    def _paragraph(self, element: Element) -> str:
        return _tagged(self._paragraph_tag(element), self._inner(element))

    def _list(self, element: Element) -> str:
        return _tagged("ul", self._inner(element))

    def _item(self, element: Element) -> str:
        return _tagged("li", self._inner(element))

    def _link(self, element: Element) -> str:
        target = escape(element.get(f"{_XLINK}href", ""), quote=True)
        return f'<a href="{target}">{self._inner(element)}</a>'

    def _ruby(self, element: Element) -> str:
        return f"({self._inner(element)})"

    def _annotation(self, element: Element) -> str:
        words = [self._inner(each) for each in element.iter(f"{_TEXT}p")]
        return f" <b>Comment:</b> {' '.join(words)} "

    def _paragraph_tag(self, element: Element) -> str:
        style = element.get(f"{_TEXT}style-name", "")
        return "h1" if "Title" in (style, self._parents.get(style)) else "p"

    def _note(self, element: Element) -> str:
        """A mark in its place; its text comes in the end."""
        body = first(element, "note-body")
        words = "" if body is None else " ".join(self._inner(each) for each in body)
        mark = f"[{len(self._notes) + 1}]"
        self._notes.append(f"{mark} {words}")
        return mark

    def _table(self, element: Element) -> str:
        match local(element):
            case "table":
                return _tagged("table", "".join(map(self._html, element)))
            case "table-row":
                return _tagged("tr", "".join(map(self._html, element)))
            case "table-cell":
                return self._cell(element)
            case "covered-table-cell":
                return ""
        return "".join(map(self._html, element))

    def _cell(self, element: Element) -> str:
        inner = self._inner(element)
        spans = "".join(
            f' {to}="{element.get(_TABLE + name)}"'
            for name, to in (
                ("number-columns-spanned", "colspan"),
                ("number-rows-spanned", "rowspan"),
            )
            if element.get(_TABLE + name, "1").isdecimal() and element.get(_TABLE + name)
        )
        count = element.get(f"{_TABLE}number-columns-repeated", "1")
        repeats = min(int(count), _REPEATS_MAX) if count.isdecimal() and len(count) < 9 else 1
        return f"<td{spans}>{inner}</td>" * repeats

    def _drawing(self, element: Element) -> str:
        match local(element):
            case "object":
                what = "An embedded object"
                return f"<p>{self._job.attempt(what, partial(self._object, element))}</p>"
            case "image":
                return ""
            case "frame":
                told = [each.text or "" for each in element if local(each) in {"title", "desc"}]
                objects = [each for each in element if local(each) not in {"title", "desc"}]
                inner = "".join(map(self._html, objects))
                return f"{escape(' '.join(told))}{inner}"
            case "text-box" | "custom-shape" | "rect":
                return _tagged("div", self._inner(element))
        return self._inner(element)

    def _object(self, element: Element) -> str:
        """A formula as its author wrote it, or the table of a chart."""
        folder = element.get(f"{_XLINK}href", "").removeprefix("./").rstrip("/")
        root = self._package.root(f"{folder}/content.xml")
        if local(root) == "math":
            written = first(root, "annotation")
            words = root.itertext() if written is None else written.itertext()
            return f"${escape(one_line(''.join(words)))}$"
        return "".join(map(self._table, root.iter(f"{_TABLE}table")))


def _body(root: Element) -> Element:
    """What kind of document it is, with its content (3.7). Raises ValueError."""
    found = first(root, "body")
    if found is None or not len(found):
        raise ValueError("it has no body")
    return found[0]


def _tagged(tag: str, inner: str) -> str:
    return f"<{tag}>{inner}</{tag}>"


def _spaces(element: Element) -> str:
    count = element.get(f"{_TEXT}c", "1")
    return " " * (min(int(count), _SPACES_MAX) if count.isdecimal() and len(count) < 9 else 1)


def _level(element: Element) -> int:
    level = element.get(f"{_TEXT}outline-level", "1")
    return min(max(int(level), 1), _HEADINGS) if level.isdecimal() and len(level) < 3 else 1


def _kind(shape: Element) -> str:
    """What a shape is for on a slide: `title`, `outline`, `notes`."""
    return str(shape.get(f"{{{_NAMES}presentation:1.0}}class", ""))
