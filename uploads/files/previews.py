"""What of a stored file can be shown in a page, without running anything that is in it."""

from common import content_types
from common.errors import Gone
from uploads.models import FileStatus, IngestFile
from uploads.storage import open_object

TEXT_BYTES = 64 * 2**10  # of a text that are shown
IMAGE_BYTES = 32 * 2**20  # larger ones take a browser's memory for nothing
_SHOWN = {
    "image": ("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"),
    "audio": ("audio/*",),
    "video": ("video/*",),
    "text": ("text/*", "application/json"),
}


def preview_kind(file: IngestFile) -> str | None:
    """`image`, `audio`, `video` or `text`; None for what is not shown.

    A browser gets the bytes of the first three with a type that it only shows.
    """
    if file.status != FileStatus.STORED:
        return None
    kind = next(
        (
            kind
            for kind, types in _SHOWN.items()
            if content_types.matches(types, file.detected_type)
        ),
        None,
    )
    return None if kind == "image" and file.size_bytes > IMAGE_BYTES else kind


def text_head(file: IngestFile) -> str:
    """The beginning of a text; what is no UTF-8 in it is shown as marks."""
    try:
        with open_object(file, start=0, end=min(TEXT_BYTES, file.size_bytes)) as content:
            return content.read(TEXT_BYTES).decode(errors="replace")
    except Gone:
        return ""
