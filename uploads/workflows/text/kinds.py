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
from uploads.workflows.text.ole import OLE_HEAD, is_locked_word, streams
from uploads.workflows.text.zips import blocks, open_zip


class Kind(Enum):
    """A format: the name of its converter module, and its label in messages."""

    PDF = "pdf", "a PDF"
    DOCX = "docx", "a Word document"
    PPTX = "pptx", "a PowerPoint presentation"
    XLSX = "xlsx", "an Excel workbook"
    ODS = "ods", "an OpenDocument spreadsheet"
    ODF = "odf", "an OpenDocument document"
    XLS = "xls", "an Excel 97 workbook"
    RTF = "rtf", "an RTF document"
    LATEX = "latex", "a LaTeX document"
    NOTEBOOK = "notebook", "a notebook"
    MSG = "msg", "an Outlook message"
    TNEF = "tnef", "a winmail.dat"
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
    "application/vnd.ms-outlook": Kind.MSG,
    "application/vnd.ms-tnef": Kind.TNEF,
    "application/rtf": Kind.RTF,
    "text/rtf": Kind.RTF,
    "application/x-tex": Kind.LATEX,
    "text/x-tex": Kind.LATEX,
    "application/x-ipynb+json": Kind.NOTEBOOK,
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
_KNOWN_BY_HEAD = {Kind.MSG, Kind.RTF, Kind.TNEF}
_TEXT_KINDS = {Kind.CSV, Kind.CODE, Kind.PLAIN}

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
    ".ipynb": Kind.NOTEBOOK,
    ".tex": Kind.LATEX,
    ".latex": Kind.LATEX,
    ".ltx": Kind.LATEX,
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

_ODF_KINDS = {
    "spreadsheet": Kind.ODS,
    "spreadsheet-template": Kind.ODS,
    "text": Kind.ODF,
    "text-template": Kind.ODF,
    "text-web": Kind.ODF,
    "presentation": Kind.ODF,
    "presentation-template": Kind.ODF,
    "graphics": Kind.ODF,
}

ACCEPTED_TYPES = (
    "text/*",
    *(name for name in _BY_TYPE if not name.startswith("text/")),
    f"{_OFFICE}wordprocessingml.document",
    f"{_OFFICE}presentationml.presentation",
    f"{_OFFICE}spreadsheetml.sheet",
    *(f"application/vnd.oasis.opendocument.{name}" for name in _ODF_KINDS),
    "application/epub+zip",
    "application/zip",
    # libmagic's types for documents that it does not know, and of those that are locked.
    "application/octet-stream",
    "application/cdfv2",
    "application/x-ole-storage",
    "application/encrypted",
    # What is refused with advice.
    "application/msword",
    "application/vnd.ms-powerpoint",
)

TNEF_HEAD = b"\x78\x9f\x3e\x22"  # [MS-OXTNEF] 2.1.3.1
_PDF_HEAD = b"%PDF-"  # within the first 1,024 bytes (ISO 32000-1, annex H, note 13)
_ZIP_HEADS = (b"PK\x03\x04", b"PK\x05\x06")
# An encrypted OOXML file is an OLE file with this entry ([MS-OFFCRYPTO] section 2.3).
_ENCRYPTED_ENTRY = "EncryptedPackage".encode("utf-16-le")
_ODF_MANIFEST = "META-INF/manifest.xml"
_ENCRYPTED_PART = b"encryption-data"  # ODF 1.3 part 2, 4.4
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
        if head.startswith(OLE_HEAD)
        else _flat_kind(head, filename, content_type)
    )
    if kind is None:
        raise TaskFailed(
            "type_not_supported", f"Text cannot be extracted from a file of type {content_type}."
        )
    return kind


def _flat_kind(head: bytes, filename: str, content_type: str) -> Kind | None:
    suffix = PurePath(filename).suffix.lower()
    kind = _BY_TYPE.get(content_type)
    if known := _kind_by_head(head, content_type):
        return known
    if kind in _TEXT_KINDS or (kind is None and content_type.startswith("text/")):
        return Kind.CODE if suffix in LANGUAGES else _BY_SUFFIX.get(suffix, kind or Kind.CODE)
    if kind is Kind.HTML and suffix in {".md", ".markdown"}:
        return Kind.PLAIN  # Markdown may start with HTML
    if kind is None and content_type == "application/octet-stream":
        return _BY_SUFFIX.get(suffix)
    if kind is Kind.XLS:
        raise _unsupported("an Excel workbook of before 1993", "Save it as XLSX.")
    return None if kind in _KNOWN_BY_HEAD else kind


def _kind_by_head(head: bytes, content_type: str) -> Kind | None:
    is_text = content_type.startswith(("text/", "message/"))
    if head.startswith(_PDF_HEAD) or (_PDF_HEAD in head and not is_text):
        return Kind.PDF
    if head.startswith(b"{\\rtf"):
        return Kind.RTF
    return Kind.TNEF if head.startswith(TNEF_HEAD) else None


def _container_kind(source: BinaryIO) -> Kind | None:
    """The document format inside a ZIP file; None if the format is not supported."""
    with reading("a document or an archive"), open_zip(source) as archive:
        names = set(archive.namelist())
        if "[Content_Types].xml" in names:
            types = _beginning(archive, "[Content_Types].xml").lower()
            return next((kind for mark, kind in _OFFICE_PARTS if mark in types), None)
        if _ODF_MANIFEST in names and _ENCRYPTED_PART in _beginning(archive, _ODF_MANIFEST):
            raise encrypted()
        mimetype = _beginning(archive, "mimetype").strip() if "mimetype" in names else b""
    if mimetype == b"application/epub+zip" or "META-INF/container.xml" in names:
        return Kind.EPUB
    if mimetype.startswith(b"application/vnd.oasis.opendocument."):
        return _ODF_KINDS.get(mimetype.decode("ascii", "replace").rpartition(".")[2])
    return Kind.ZIP


def _beginning(archive: ZipFile, name: str) -> bytes:
    return next(blocks(archive, archive.getinfo(name)), b"")


def _ole_kind(source: BinaryIO, filename: str, content_type: str) -> Kind | None:
    source.seek(0)
    if _ENCRYPTED_ENTRY in source.read(_OLE_LOOK_BYTES):
        raise encrypted()
    names = streams(source)
    if names & {"workbook", "book"}:
        return Kind.XLS
    if "__properties_version1.0" in names:
        return Kind.MSG
    if "worddocument" in names:
        with reading("a Word 97 document", OSError):
            if is_locked_word(source):
                raise encrypted()
        raise _unsupported("a Word 97 document (.doc)", "Save it as DOCX or PDF.")
    if "powerpoint document" in names:
        raise _unsupported("a PowerPoint 97 presentation (.ppt)", "Save it as PPTX or PDF.")
    is_sheet = PurePath(filename).suffix.lower() in {".xls", ".xlt"}
    return Kind.XLS if is_sheet or content_type == "application/vnd.ms-excel" else None


def _unsupported(what: str, advice: str) -> TaskFailed:
    return TaskFailed("type_not_supported", f"Text cannot be extracted from {what}. {advice}")
