"""Office documents and e-books: their properties and their number of sheets or slides."""

import re
from xml.etree.ElementTree import Element
from zipfile import ZipFile

from defusedxml.ElementTree import fromstring

from uploads.workflows.facts.base import Facts, Subject, known
from uploads.workflows.text.base import TextOptions, reading
from uploads.workflows.text.zips import blocks, check_promises, open_zip

_PART_BYTES_MAX = 4 * 1024 * 1024
_SHEETS_MAX = 100
_SLIDE = re.compile(r"ppt/slides/slide\d+\.xml")
_TEXT_MAX = 500
# Dublin Core and similar properties, by local name.
_PROPERTIES = {
    "title": "title",
    "subject": "subject",
    "creator": "author",
    "lastModifiedBy": "last_modified_by",
    "created": "created",
    "creation-date": "created",
    "modified": "modified",
    "language": "declared_language",
}
_COUNTS = {"Pages": "pages", "Words": "words"}  # docProps/app.xml


def facts(subject: Subject) -> Facts:
    with reading("a document"), open_zip(subject.source) as archive:
        check_promises(archive, TextOptions())
        names = archive.namelist()
        sheets = [
            element.get("name", "")[:_TEXT_MAX]
            for element in _elements(archive, "xl/workbook.xml")
            if _name(element) == "sheet"
        ]
        return known(
            **_texts(archive, _property_parts(names), _PROPERTIES),
            **{
                name: int(text)
                for name, text in _texts(archive, ["docProps/app.xml"], _COUNTS).items()
                if text.isdecimal() and int(text)
            },
            slides=sum(1 for name in names if _SLIDE.fullmatch(name)) or None,
            sheets=len(sheets) or None,
            sheet_names=sheets[:_SHEETS_MAX],
            has_macros=any(name.endswith("vbaProject.bin") for name in names),
        )


def _property_parts(names: list[str]) -> list[str]:
    """The archive entries with the properties of Office, OpenDocument or EPUB files."""
    packages = [name for name in names if name.endswith(".opf")]
    return ["docProps/core.xml", "meta.xml", *packages[:1]]


def _texts(archive: ZipFile, parts: list[str], wanted: dict[str, str]) -> dict[str, str]:
    return {
        wanted[name]: element.text.strip()[:_TEXT_MAX]
        for part in parts
        for element in _elements(archive, part)
        if (name := _name(element)) in wanted and element.text and element.text.strip()
    }


def _elements(archive: ZipFile, part: str) -> list[Element]:
    if part not in archive.namelist():
        return []
    content = bytearray()
    for block in blocks(archive, archive.getinfo(part)):
        content += block
        if len(content) > _PART_BYTES_MAX:
            raise ValueError(f"{part} is larger than {_PART_BYTES_MAX:,} bytes")
    return list(fromstring(bytes(content)).iter())


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
