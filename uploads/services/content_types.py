"""What a file's bytes say they are (libmagic)."""

from threading import Lock

import pylibmagic  # noqa: F401  (first: it brings libmagic and says where its database is)

# isort: split
import magic

from uploads.storage.base import UploadReader

_HEAD_BYTES = 256 * 1024
_EMPTY = "application/x-empty"

_magic = magic.Magic(mime=True)
_lock = Lock()


def detect_type(reader: UploadReader, *, size_bytes: int) -> str:
    """Media type by content, e.g. `application/pdf`; `application/octet-stream` if unknown."""
    if size_bytes == 0:
        return _EMPTY
    head = memoryview(bytearray(min(size_bytes, _HEAD_BYTES)))
    count = reader.read_into(head, offset=0)
    with _lock:
        return str(_magic.from_buffer(bytes(head[:count]))).lower()
