"""What a file's bytes say they are (libmagic)."""

import os
from collections.abc import Iterator
from queue import SimpleQueue

import pylibmagic  # noqa: F401  (first: it brings libmagic and says where its database is)

# isort: split
import magic

HEAD_BYTES = 256 * 1024  # of a file that its type is told by
_EMPTY = "application/x-empty"
_ENTRY = b"PK\x03\x04"  # a ZIP's local file header (APPNOTE 4.3.7)
_UNSURE = {"application/zip", "application/octet-stream"}
_PDF = "application/pdf"
_PDF_HEAD = b"%PDF-"
_PDF_HEAD_BYTES = 1024  # it may stand anywhere in these (ISO 32000-1, annex H)
_OLE_UNSURE = {"application/cdfv2", "application/x-ole-storage", "application/encrypted"}
_OLE_TYPES = {
    f"{name}\0".encode("utf-16-le"): kind
    for name, kind in {
        "EncryptedPackage": "application/encrypted",
        "Workbook": "application/vnd.ms-excel",
        "Book": "application/vnd.ms-excel",
        "WordDocument": "application/msword",
        "PowerPoint Document": "application/vnd.ms-powerpoint",
        "__properties_version1.0": "application/vnd.ms-outlook",
    }.items()
}
_OFFICE = "application/vnd.openxmlformats-officedocument"
_OFFICE_TYPES = {
    b"word/": f"{_OFFICE}.wordprocessingml.document",
    b"xl/": f"{_OFFICE}.spreadsheetml.sheet",
    b"ppt/": f"{_OFFICE}.presentationml.presentation",
}

# One for each processor: none may be used by two threads at once.
_detectors: SimpleQueue[magic.Magic] = SimpleQueue()
for _ in range(os.cpu_count() or 1):
    _detectors.put(magic.Magic(mime=True))


def detect_type(head: bytes) -> str:
    """Media type by content, e.g. `application/pdf`; `application/octet-stream` if unknown.

    `head` is the beginning of a file: HEAD_BYTES, or all that it has.
    """
    if not head:
        return _EMPTY
    detector = _detectors.get()
    try:
        detected = str(detector.from_buffer(head)).lower()
    finally:
        _detectors.put(detector)
    if detected in _OLE_UNSURE:
        return _ole_type(head) or detected
    if _PDF_HEAD in head[:_PDF_HEAD_BYTES] and not detected.startswith(("text/", "message/")):
        return _PDF
    return _office_type(head) or detected if detected in _UNSURE else detected


def _ole_type(head: bytes) -> str | None:
    """The document in a container of Office 97 whose directory is in the head ([MS-CFB] 2.6)."""
    return next((kind for name, kind in _OLE_TYPES.items() if name in head), None)


def _office_type(head: bytes) -> str | None:
    """libmagic knows an Office document only by the order of its entries, which programs choose."""
    names = list(_entry_names(head)) if head.startswith(_ENTRY) else []
    if b"[Content_Types].xml" not in names:
        return None
    for folder, kind in _OFFICE_TYPES.items():
        if any(name.startswith(folder) for name in names):
            return kind
    return None


def _entry_names(head: bytes) -> Iterator[bytes]:
    position = head.find(_ENTRY)
    while position >= 0:
        length = int.from_bytes(head[position + 26 : position + 28], "little")
        yield head[position + 30 : position + 30 + length]
        position = head.find(_ENTRY, position + len(_ENTRY))
