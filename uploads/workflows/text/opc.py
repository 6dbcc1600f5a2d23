"""The parts of an Office document and how they refer to each other (ECMA-376 part 2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import dirname, join, normpath, split
from typing import Any
from zipfile import ZipFile

from lxml import etree

from uploads.workflows.text.base import WHOLE_BYTES_MAX

# lxml has no types: an element is iterable, has `get`, `text`, `iter` and so on.
Element = Any

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
# The strict variant of the formats has other names for the same (ECMA-376 part 1, annex A).
_STRICT = (
    (b"http://purl.oclc.org/ooxml/officeDocument/", _R[1:-1].encode()[:-13]),
    (b"http://purl.oclc.org/ooxml/drawingml/main", A[1:-1].encode()),
    (b"http://purl.oclc.org/ooxml/wordprocessingml/main", W[1:-1].encode()),
)


@dataclass(frozen=True)
class Relation:
    """`kind` is the last word of its type: `slide`, `comments`. `target` is a part's name."""

    kind: str
    target: str


class Package:
    """An archive that `repack` made: its XML has no entities and is not nested too deeply."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self.damaged: set[str] = set()  # parts that were read up to a break in their XML
        # Names are compared without case (part 2, 6.2.2.3).
        self._names = {name.lower(): name for name in archive.namelist()}

    def root(self, part: str) -> Element:
        """Raises KeyError, ValueError (too large), etree.XMLSyntaxError."""
        content = self.content(part)
        for strict, usual in _STRICT:
            content = content.replace(strict, usual)
        reader = parser()
        root = etree.fromstring(content, reader)
        if root is None:
            raise ValueError("a part is no XML")
        if reader.error_log.filter_from_fatals():
            self.damaged.add(part)
        return root

    def content(self, part: str) -> bytes:
        """Raises KeyError, ValueError (too large)."""
        name = self._names[part.lower()]
        if self._archive.getinfo(name).file_size > WHOLE_BYTES_MAX:
            raise ValueError(f"a part is larger than {WHOLE_BYTES_MAX:,} bytes")
        return self._archive.read(name)

    def ids(self, part: str) -> set[str]:
        """The ids of all relations of a part, also of those that lead out of the package."""
        name = _relations_name(part)
        if name not in self._names:
            return set()
        return {element.get("Id", "") for element in self.root(name)}

    def relations(self, part: str) -> dict[str, Relation]:
        """What the part refers to, by id. What lies outside of the package is left out."""
        folder = dirname(part)
        name = _relations_name(part)
        if name not in self._names:
            return {}
        return {
            element.get("Id", ""): Relation(
                element.get("Type", "").rpartition("/")[2],
                _part_name(folder, element.get("Target", "")),
            )
            for element in self.root(name)
            if element.get("TargetMode") != "External"
        }

    def related(self, part: str, kind: str) -> list[str]:
        """Names of the parts of a kind that the part refers to, in the order of their mention."""
        return [each.target for each in self.relations(part).values() if each.kind == kind]

    def main_part(self) -> str:
        """Raises ValueError."""
        found = self.related("", "officeDocument")
        if not found:
            raise ValueError("it names no main part")
        return found[0]


def parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, recover=True
    )


def relation_id(element: Element, name: str = "id") -> str:
    return str(element.get(f"{_R}{name}", ""))


def local(element: Element) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def named(element: Element, name: str) -> Iterator[Element]:
    """The element's descendants with this name, of whatever namespace."""
    return iter(element.iter(f"{{*}}{name}"))


def first(element: Element, name: str) -> Element | None:
    return next(named(element, name), None)


def choose(root: Element) -> None:
    """Of alternatives for newer and older programs keep the first (part 3, 7.5), in place."""
    for alternatives in list(root.iter(f"{_MC}AlternateContent")):
        parent = alternatives.getparent()
        if parent is None:
            continue
        at = parent.index(alternatives)
        options = [option for option in alternatives if len(option)]
        parent[at : at + 1] = list(options[0]) if options else []


def _relations_name(part: str) -> str:
    folder, name = split(part)
    return join(folder, "_rels", f"{name}.rels").lower()


def _part_name(folder: str, target: str) -> str:
    return normpath(join("/", folder, target)).lstrip("/")
