"""Chooses the converter of a file by its content, and for text by the suffix of its name.

The type from libmagic is only a hint, because it checks just the first bytes: archives are opened
to see what they contain, and kinds of text are distinguished by suffix.
"""

from enum import Enum
from importlib import import_module
from pathlib import PurePath
from typing import BinaryIO
from zipfile import ZipFile

from uploads.workflows.errors import TaskFailed
from uploads.workflows.text.base import Converter, encrypted, reading
from uploads.workflows.text.zips import blocks, open_zip


class Kind(Enum):
    """A format: the name of its converter module, and its label in messages."""

    PDF = "pdf", "a PDF"
    DOCX = "docx", "a Word document"
    PPTX = "pptx", "a PowerPoint presentation"
    XLSX = "xlsx", "an Excel workbook"
    ODS = "ods", "an OpenDocument spreadsheet"
    XLS = "xls", "an Excel 97 workbook"
    EPUB = "epub", "an EPUB book"
    ZIP = "archive", "a ZIP archive"
    HTML = "html", "an HTML page"
    EMAIL = "email", "an e-mail"
    CSV = "delimited", "a table of values"
    CODE = "code", "a text"
    PLAIN = "plain", "a text"

    @property
    def module(self) -> str:
        return self.value[0]

    @property
    def label(self) -> str:
        return self.value[1]


def converter(kind: Kind) -> Converter:
    found: Converter = import_module(f"uploads.workflows.text.{kind.module}").convert
    return found


_OFFICE = "application/vnd.openxmlformats-officedocument."
_BY_TYPE = {
    "application/pdf": Kind.PDF,
    "text/html": Kind.HTML,
    "application/xhtml+xml": Kind.HTML,
    "message/rfc822": Kind.EMAIL,
    "application/vnd.ms-excel": Kind.XLS,
    "text/csv": Kind.CSV,
    "application/csv": Kind.CSV,
    "text/tab-separated-values": Kind.CSV,
    "text/plain": Kind.PLAIN,
    "text/markdown": Kind.PLAIN,
    "application/json": Kind.CODE,
    "application/x-ndjson": Kind.CODE,
    "application/xml": Kind.CODE,
    "application/javascript": Kind.CODE,
    "application/x-yaml": Kind.CODE,
    "image/svg+xml": Kind.CODE,
}
_TEXT_KINDS = {Kind.CSV, Kind.CODE, Kind.PLAIN}
_NOT_PLAIN = {"text/rtf"}

_BY_SUFFIX = {
    ".csv": Kind.CSV,
    ".tsv": Kind.CSV,
    ".txt": Kind.PLAIN,
    ".text": Kind.PLAIN,
    ".log": Kind.PLAIN,
    ".md": Kind.PLAIN,
    ".markdown": Kind.PLAIN,
    ".rst": Kind.PLAIN,
    ".eml": Kind.EMAIL,
    ".mht": Kind.EMAIL,
    ".mhtml": Kind.EMAIL,
    ".html": Kind.HTML,
    ".htm": Kind.HTML,
    ".xhtml": Kind.HTML,
}
# Language names for code blocks.
LANGUAGES = {
    ".c": "c",
    ".cpp": "cpp",
    ".cs": "csharp",
    ".css": "css",
    ".go": "go",
    ".h": "c",
    ".ini": "ini",
    ".java": "java",
    ".js": "javascript",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".php": "php",
    ".pl": "perl",
    ".py": "python",
    ".rb": "ruby",
    ".rs": "rust",
    ".sh": "bash",
    ".sql": "sql",
    ".svg": "xml",
    ".toml": "toml",
    ".ts": "typescript",
    ".xml": "xml",
    ".yaml": "yaml",
    ".yml": "yaml",
}

# Media types of the main part, in [Content_Types].xml (ECMA-376 part 1, section 11 to 13).
_OFFICE_PARTS = (
    (b"wordprocessingml.document.main+xml", Kind.DOCX),
    (b"wordprocessingml.template.main+xml", Kind.DOCX),
    (b"ms-word.document.macroenabled.main+xml", Kind.DOCX),
    (b"presentationml.presentation.main+xml", Kind.PPTX),
    (b"presentationml.slideshow.main+xml", Kind.PPTX),
    (b"presentationml.template.main+xml", Kind.PPTX),
    (b"ms-powerpoint.presentation.macroenabled.main+xml", Kind.PPTX),
    (b"spreadsheetml.sheet.main+xml", Kind.XLSX),
    (b"spreadsheetml.template.main+xml", Kind.XLSX),
    (b"ms-excel.sheet.macroenabled.main+xml", Kind.XLSX),
)

ACCEPTED_TYPES = (
    "text/*",
    *(name for name in _BY_TYPE if not name.startswith("text/")),
    f"{_OFFICE}wordprocessingml.document",
    f"{_OFFICE}presentationml.presentation",
    f"{_OFFICE}spreadsheetml.sheet",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/epub+zip",
    "application/zip",
    "application/octet-stream",  # libmagic's type for unknown documents
)

_ZIP_HEADS = (b"PK\x03\x04", b"PK\x05\x06")
_OLE_HEAD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # [MS-CFB] section 2.2
# An encrypted OOXML file is an OLE file with this entry ([MS-OFFCRYPTO] section 2.3).
_ENCRYPTED_ENTRY = "EncryptedPackage".encode("utf-16-le")
_OLE_LOOK_BYTES = 1024 * 1024


def kind_of(source: BinaryIO, *, filename: str, content_type: str) -> Kind:
    """Raises TaskFailed `type_not_supported`, `file_encrypted`, `no_text` (empty file)."""
    source.seek(0)
    head = source.read(1024)
    if not head:
        raise TaskFailed("no_text", "The file is empty.")
    kind = (
        _container_kind(source)
        if head.startswith(_ZIP_HEADS)
        else _ole_kind(source, filename, content_type)
        if head.startswith(_OLE_HEAD)
        else _flat_kind(head, filename, content_type)
    )
    if kind is None:
        raise TaskFailed(
            "type_not_supported", f"Text cannot be extracted from a file of type {content_type}."
        )
    return kind


def _flat_kind(head: bytes, filename: str, content_type: str) -> Kind | None:
    if head.startswith(b"%PDF-"):
        return Kind.PDF
    suffix = PurePath(filename).suffix.lower()
    kind = _BY_TYPE.get(content_type)
    is_text = content_type.startswith("text/") and content_type not in _NOT_PLAIN
    if kind in _TEXT_KINDS or (kind is None and is_text):
        if suffix in LANGUAGES:
            return Kind.CODE
        return _BY_SUFFIX.get(suffix, kind or Kind.CODE)
    if kind is Kind.HTML and suffix in {".md", ".markdown"}:
        return Kind.PLAIN  # Markdown may start with HTML
    if kind is None and content_type == "application/octet-stream":
        return _BY_SUFFIX.get(suffix)
    return None if kind is Kind.XLS else kind


def _container_kind(source: BinaryIO) -> Kind | None:
    """The document format inside a ZIP file; None if the format is not supported."""
    with reading("a document or an archive"), open_zip(source) as archive:
        names = set(archive.namelist())
        if "[Content_Types].xml" in names:
            types = _beginning(archive, "[Content_Types].xml").lower()
            return next((kind for mark, kind in _OFFICE_PARTS if mark in types), None)
        mimetype = _beginning(archive, "mimetype").strip() if "mimetype" in names else b""
    if mimetype == b"application/epub+zip" or "META-INF/container.xml" in names:
        return Kind.EPUB
    if mimetype.startswith(b"application/vnd.oasis.opendocument."):
        return Kind.ODS if mimetype.endswith(b".spreadsheet") else None
    return Kind.ZIP


def _beginning(archive: ZipFile, name: str) -> bytes:
    return next(blocks(archive, archive.getinfo(name)), b"")


def _ole_kind(source: BinaryIO, filename: str, content_type: str) -> Kind | None:
    source.seek(0)
    if _ENCRYPTED_ENTRY in source.read(_OLE_LOOK_BYTES):
        raise encrypted()
    is_sheet = PurePath(filename).suffix.lower() in {".xls", ".xlt"}
    return Kind.XLS if is_sheet or content_type == "application/vnd.ms-excel" else None
