"""EPUB books: their chapters in reading order."""

import re
from collections.abc import Iterator
from functools import partial
from posixpath import dirname, join, normpath
from typing import BinaryIO
from urllib.parse import unquote
from xml.etree.ElementTree import Element
from zipfile import BadZipFile, ZipFile

from defusedxml.ElementTree import fromstring

from uploads.workflows.errors import TaskFailed
from uploads.workflows.text.base import WHOLE_BYTES_MAX, Job, Piece, reading
from uploads.workflows.text.decoding import text_of
from uploads.workflows.text.html import html_to_markdown
from uploads.workflows.text.zips import blocks, check_promises, open_zip

_LABEL = "an EPUB book"
_CONTAINER = "META-INF/container.xml"  # EPUB 3.3, section 4.2.6.3.1
_ENCRYPTION = "META-INF/encryption.xml"  # section 4.2.6.3.2
_XML_ENCODING = re.compile(rb"\s*<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]{1,40})")
_CHAPTER_TYPES = {"application/xhtml+xml", "text/html", "text/x-oeb1-document"}


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    with reading(_LABEL), open_zip(source) as book:
        check_promises(book, job.options)
        package_path = _package_path(book)
        package = fromstring(_entry(book, package_path))
        chapters = list(_chapters(package, dirname(package_path)))
        locked = _locked(book)
        if locked.intersection(chapters):
            raise TaskFailed(
                "file_encrypted", "The book is protected by digital rights management."
            )
        if title := _title(package):
            yield Piece(f"# {title}\n\n")
        for number, path in enumerate(chapters, 1):
            text = job.attempt(f"Chapter {number}", partial(_chapter, book, path))
            yield Piece(f"{text}\n", number / len(chapters))


def _chapter(book: ZipFile, path: str) -> str:
    """Raises KeyError, BadZipFile."""
    content = _entry(book, path)
    return html_to_markdown(text_of(content, declared=_declared(content)))


def _declared(content: bytes) -> str | None:
    found = _XML_ENCODING.match(content)
    return found[1].decode("ascii") if found else None


def _entry(book: ZipFile, name: str) -> bytes:
    content = bytearray()
    for block in blocks(book, book.getinfo(name)):
        content += block
        if len(content) > WHOLE_BYTES_MAX:
            raise BadZipFile(f"{name!r} is larger than {WHOLE_BYTES_MAX:,} bytes")
    return bytes(content)


def _package_path(book: ZipFile) -> str:
    for element in fromstring(_entry(book, _CONTAINER)).iter():
        if _name(element) == "rootfile" and (path := element.get("full-path")):
            return path
    raise BadZipFile("its container names no package")


def _chapters(package: Element, folder: str) -> Iterator[str]:
    """Archive paths of the chapters in the spine (section 5.7.1)."""
    items = {
        element.get("id"): element.get("href", "")
        for element in package.iter()
        if _name(element) == "item" and element.get("media-type") in _CHAPTER_TYPES
    }
    for element in package.iter():
        if _name(element) == "itemref" and (href := items.get(element.get("idref"))):
            yield normpath(join(folder, unquote(href.partition("#")[0])))


def _locked(book: ZipFile) -> set[str]:
    """The encrypted entries. Readable books may have encrypted fonts."""
    if _ENCRYPTION not in book.namelist():
        return set()
    return {
        unquote(element.get("URI", ""))
        for element in fromstring(_entry(book, _ENCRYPTION)).iter()
        if _name(element) == "CipherReference"
    }


def _title(package: Element) -> str:
    for element in package.iter():
        if _name(element) == "title" and element.text:
            return " ".join(element.text.split())
    return ""


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
