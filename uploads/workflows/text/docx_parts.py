"""Rewrites a Word document so that Mammoth finds in its body what it would not read.

Headers, footers and text boxes become paragraphs. What HTML has no words for (formulas, charts,
diagrams, embedded documents) becomes a mark, which Markdown takes the place of in the end.
"""

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from lxml import etree

from uploads.workflows.text.base import Job, without_notes
from uploads.workflows.text.charts import chart_markdown
from uploads.workflows.text.clean import cell, one_line
from uploads.workflows.text.diagrams import diagram_text
from uploads.workflows.text.inside import inner_text
from uploads.workflows.text.omml import latex
from uploads.workflows.text.opc import (
    Element,
    M,
    Package,
    W,
    choose,
    first,
    local,
    named,
    relation_id,
)

_CHARTS = (
    "{http://schemas.openxmlformats.org/drawingml/2006/chart}chart",
    "{http://schemas.microsoft.com/office/drawing/2014/chartex}chart",
)
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
# Of a private plane, so that no document's own text has them.
_OPEN, _CLOSE = "\U000f0d00", "\U000f0d01"
_MARK = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
_ALONE = re.compile(f"^{_OPEN}([0-9]+){_CLOSE}$", re.MULTILINE)
_NUMBERS = re.compile(r"[\d\W_]+")
_WRAPPERS = ("fldSimple", "dir", "bdo", "smartTag")
_PARTS = ("footnotes", "endnotes", "comments")


class Insertions:
    """Markdown that stands for marks in the text."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def mark(self, text: str) -> str:
        self._texts.append(text)
        return f"{_OPEN}{len(self._texts) - 1}{_CLOSE}"

    def put_into(self, text: str) -> str:
        """Where a mark is alone on its line the text may have many lines."""
        if not self._texts:
            return text
        lines = _ALONE.sub(self._text, text).split("\n")
        return "\n".join(_MARK.sub(partial(self._short, line), line) for line in lines)

    def _short(self, line: str, mark: re.Match[str]) -> str:
        return (cell if line.startswith("|") else one_line)(self._text(mark))

    def _text(self, mark: re.Match[str]) -> str:
        number = int(mark[1]) if len(mark[1]) < 10 else len(self._texts)
        return self._texts[number] if number < len(self._texts) else ""


def prepare(package: Package, archive: ZipFile, target: Path, job: Job) -> Insertions:
    """Write the document anew to `target`. Raises KeyError, ValueError (no main part)."""
    insertions = Insertions()
    main = package.main_part()
    rewritten: dict[str, str] = {}
    root = package.root(main)
    if main in package.damaged:
        job.warn("The document is damaged; only its beginning was read.")
    _Part(package, main, root, insertions, job).rewrite()
    _frame(package, main, root, insertions, job)
    rewritten[main.lower()] = str(etree.tostring(root, encoding="unicode"))
    for kind in _PARTS:
        for name in package.related(main, kind):
            read = partial(_other, package, name, insertions, job)
            rewritten[name.lower()] = without_notes(job.attempt(f"The {kind}", read))
    with ZipFile(target, "w", ZIP_DEFLATED, compresslevel=1) as copied:
        for entry in archive.namelist():
            content = rewritten.get(entry.lower(), archive.read(entry))
            if content:
                copied.writestr(entry, content)
    return insertions


def _other(package: Package, name: str, insertions: Insertions, job: Job) -> str:
    root = package.root(name)
    _Part(package, name, root, insertions, job).rewrite()
    return str(etree.tostring(root, encoding="unicode"))


def _frame(package: Package, main: str, root: Element, insertions: Insertions, job: Job) -> None:
    """Put headers before the text, and footers behind it, each once."""
    body = first(root, "body")
    if body is None:
        return
    relations = package.relations(main)
    told: set[str] = set()
    for kind, at in (("header", 0), ("footer", None)):
        found: list[Element] = []
        for reference in root.iter(f"{W}{kind}Reference"):
            relation = relations.get(relation_id(reference))
            if relation is None or relation.target in told:
                continue
            told.add(relation.target)
            content = _framing(package, relation.target, insertions, job)
            words = " ".join("".join(each.itertext()) for each in content)
            if _NUMBERS.sub("", words) and words not in told:
                told.add(words)
                found += content
        place = len(body) if at is None else at
        body[place:place] = found


def _framing(package: Package, part: str, insertions: Insertions, job: Job) -> list[Element]:
    """The paragraphs and tables of a header or footer that have text."""
    try:
        root = package.root(part)
    except (KeyError, ValueError):
        job.warn("A header or footer could not be read.")
        return []
    _Part(package, part, root, insertions, job).rewrite()
    for link in list(root.iter(f"{W}hyperlink")):
        _unwrap(link)  # its target is told by a part that is left behind
    return [each for each in root if "".join(each.itertext()).strip()]


class _Part:
    """A part of the document with text of its own."""

    def __init__(
        self, package: Package, name: str, root: Element, insertions: Insertions, job: Job
    ) -> None:
        self._package = package
        self._name = name
        self._root = root
        self._insertions = insertions
        self._job = job

    def rewrite(self) -> None:
        choose(self._root)
        for wrapper in list(self._root.iter(*(f"{W}{name}" for name in _WRAPPERS))):
            _unwrap(wrapper)
        self._drop_lost_links()
        for ruby in list(self._root.iter(f"{W}ruby")):
            _replace(ruby, [*_inner(ruby, "rubyBase"), *_reading(ruby)])
        self._replace_formulas()
        for box in reversed(list(self._root.iter(f"{W}txbxContent"))):
            _after_paragraph(box, list(box))
        for chart in _CHARTS:
            self._read(chart, "A chart", self._chart)
        self._read(_DIAGRAM, "A diagram", self._diagram)
        self._read(f"{W}altChunk", "An embedded document", self._chunk)
        self._describe_pictures()

    def _drop_lost_links(self) -> None:
        known = self._package.ids(self._name)
        for link in list(self._root.iter(f"{W}hyperlink")):
            if (target := relation_id(link)) and target not in known:
                _unwrap(link)

    def _replace_formulas(self) -> None:
        for display in list(self._root.iter(f"{M}oMathPara")):
            self._replace_formula(display, "$$")
        for formula in list(self._root.iter(f"{M}oMath")):
            self._replace_formula(formula, "$")

    def _replace_formula(self, element: Element, around: str) -> None:
        text = self._job.attempt("A formula", partial(latex, element)).strip()
        shown = f"{around}{text}{around}" if without_notes(text) else text
        _replace(element, [_run(self._insertions.mark(shown))] if shown else [])

    def _read(self, tag: str, what: str, read: Callable[[Element], str]) -> None:
        for element in list(self._root.iter(tag)):
            text = self._job.attempt(what, partial(read, element))
            _after_paragraph(element, [_paragraph(self._insertions.mark(text))] if text else [])

    def _chart(self, element: Element) -> str:
        return chart_markdown(self._package.root(self._target(element)))

    def _diagram(self, element: Element) -> str:
        return diagram_text(self._package, self._name, element)

    def _chunk(self, element: Element) -> str:
        target = self._target(element)
        return inner_text(
            self._package.content(target),
            filename=target.rpartition("/")[2],
            content_type="application/octet-stream",
            job=self._job,
        )

    def _target(self, element: Element) -> str:
        return self._package.relations(self._name)[relation_id(element)].target

    def _describe_pictures(self) -> None:
        """Put what a picture shows, if its author says so, in its place."""
        for drawing in list(self._root.iter(f"{W}drawing", f"{W}pict", f"{W}object")):
            properties = first(drawing, "docPr")
            told = properties.get("descr", "") if properties is not None else ""
            _replace(drawing, [_text(told)] if told.strip() else [])


def _inner(ruby: Element, name: str) -> list[Element]:
    return [
        child for part in ruby.iter(f"{W}{name}") for run in part.iter(f"{W}r") for child in run
    ]


def _reading(ruby: Element) -> list[Element]:
    """How the base is read, in brackets."""
    words = "".join(text.text or "" for part in ruby.iter(f"{W}rt") for text in named(part, "t"))
    return [_text(f"({words})")] if words else []


def _text(words: str) -> Element:
    element = etree.Element(f"{W}t")
    element.text = words
    element.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
    return element


def _run(words: str) -> Element:
    run = etree.Element(f"{W}r")
    run.append(_text(words))
    return run


def _paragraph(words: str) -> Element:
    paragraph = etree.Element(f"{W}p")
    paragraph.append(_run(words))
    return paragraph


def _unwrap(element: Element) -> None:
    _replace(element, [child for child in element if not local(child).endswith("Pr")])


def _replace(element: Element, new: Iterable[Element]) -> None:
    parent = element.getparent()
    if parent is not None:
        at = parent.index(element)
        parent[at : at + 1] = list(new)


def _after_paragraph(element: Element, new: list[Element]) -> None:
    """Move elements behind the paragraph that `element` is in, or in its place without one."""
    paragraph = next(element.iterancestors(f"{W}p"), None)
    if paragraph is None:
        _replace(element, new)
        return
    parent = element.getparent()
    parent.remove(element)
    around = paragraph.getparent()
    at = around.index(paragraph) + 1
    around[at:at] = new
