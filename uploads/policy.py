"""What is accepted: names, paths, sizes, types. Pure checks against the settings."""

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from mimetypes import guess_type
from typing import Any

from django.conf import settings

from common import content_types, lengths
from common.errors import InvalidInput, PayloadTooLarge, UnsupportedType

MAX_PARTS = 10_000
MAX_BATCH_FILES = 2**31 - 1  # what the database's counters hold
MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 32
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SAYS_NOTHING = {"", "application/octet-stream"}
_STEP = 64 * 1024  # chunk sizes are rounded up to a multiple of this


def check_filename(name: str) -> str:
    """The name as given, when it is one: no path, no control character, at most 255 bytes."""
    _check_text(name, "filename", "invalid_filename", lengths.FILE_NAME)
    if not name.strip() or name in {".", ".."} or "/" in name or "\\" in name:
        raise InvalidInput(
            "invalid_filename", "filename must be a file's name without any folder in it."
        )
    return name


def check_relative_path(path: str) -> str:
    """The path as given ("" for none): folders and name, relative, without "..", "\\" or NUL."""
    if not path:
        return ""
    _check_text(path, "relative_path", "invalid_relative_path", lengths.FILE_PATH)
    segments = path.split("/")
    if "\\" in path or any(segment in {"", ".", ".."} for segment in segments):
        raise InvalidInput(
            "invalid_relative_path",
            "relative_path must be relative, with / between names and no empty, . or .. segment.",
        )
    if any(len(segment.encode()) > lengths.FILE_NAME for segment in segments):
        raise InvalidInput(
            "invalid_relative_path",
            f"every name in relative_path may have at most {lengths.FILE_NAME} bytes.",
        )
    return path


def check_content_type(declared: str) -> str:
    """The media type without its parameters, in lower case; "" for none."""
    essence = declared.split(";", 1)[0].strip().lower()
    if essence and (len(essence) > lengths.CONTENT_TYPE or not _MEDIA_TYPE.fullmatch(essence)):
        raise InvalidInput(
            "invalid_content_type", "content_type must be a media type such as application/pdf."
        )
    return essence


def check_sha256(digest: str) -> str:
    """A SHA-256 in lower-case hex; "" for none."""
    lowered = digest.lower()
    if lowered and not _SHA256.fullmatch(lowered):
        raise InvalidInput("invalid_sha256", "sha256 must be 64 hexadecimal digits.")
    return lowered


def check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """A JSON object of at most 16 KiB and 32 levels whose text PostgreSQL can keep."""
    _check_json(metadata, levels=MAX_METADATA_DEPTH)
    try:
        encoded = json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as exc:
        raise InvalidInput("invalid_metadata", f"metadata is not valid JSON text: {exc}.") from exc
    if len(encoded) > MAX_METADATA_BYTES:
        raise InvalidInput(
            "invalid_metadata", f"metadata may have at most {MAX_METADATA_BYTES} bytes as JSON."
        )
    return metadata


def check_idempotency_key(key: str | None) -> str | None:
    if key is None:
        return None
    _check_text(key, "idempotency_key", "invalid_idempotency_key", lengths.IDEMPOTENCY_KEY)
    return key


def check_batch_name(name: str) -> str:
    if name:
        _check_text(name, "name", "invalid_name", lengths.BATCH_NAME)
    return name


def check_expected_files(count: int | None) -> int | None:
    if count is not None and not 0 <= count <= MAX_BATCH_FILES:
        raise InvalidInput(
            "invalid_expected_files", f"expected_files must be between 0 and {MAX_BATCH_FILES}."
        )
    return count


def check_size(size_bytes: int) -> int:
    if size_bytes < 0:
        raise InvalidInput("invalid_size", "size_bytes must not be negative.")
    if size_bytes > settings.PORTAL_MAX_FILE_SIZE:
        raise PayloadTooLarge(
            "file_too_large",
            f"The file is too large: at most {settings.PORTAL_MAX_FILE_SIZE} bytes are taken.",
            max_bytes=settings.PORTAL_MAX_FILE_SIZE,
        )
    return size_bytes


def largest_single_request() -> int:
    """Bytes of the largest file that is taken in one request."""
    return min(settings.FILE_UPLOAD_MAX_SIZE, settings.PORTAL_CHUNK_SIZE_MAX)


def check_single_request_size(size_bytes: int) -> int:
    most = largest_single_request()
    if size_bytes > most:
        raise PayloadTooLarge(
            "file_too_large",
            f"A single request takes at most {most} bytes; "
            "send larger files through an upload session.",
            max_bytes=most,
        )
    return size_bytes


def single_part_size(size_bytes: int) -> int:
    """Bytes per part, so that a file sent in one request is one part."""
    return max(size_bytes, settings.PORTAL_CHUNK_SIZE_MIN)


def check_declared_type(declared: str, filename: str) -> None:
    """Refuse, before its bytes are sent, what FILE_UPLOAD_ALLOWED_TYPES plainly does not list."""
    require_declared_type(
        settings.FILE_UPLOAD_ALLOWED_TYPES, declared, filename, taker="this portal"
    )


def require_declared_type(
    allowed: Sequence[str], declared: str, filename: str, *, taker: str
) -> None:
    """Refuse what calls itself a type that is not in `allowed` (none: all are).

    Browsers name types by what is installed (CSV is a spreadsheet to some), so the file's name
    must say the same. The content decides in the end: `require_detected_type`.
    """
    named, _ = guess_type(filename)
    if not allowed or declared in _SAYS_NOTHING or content_types.matches(allowed, declared):
        return
    if not content_types.matches(allowed, named or declared):
        raise UnsupportedType(
            "type_not_allowed", f"The file is {declared}; {taker} takes {', '.join(allowed)}."
        )


def check_detected_type(detected: str) -> None:
    """Refuse what FILE_UPLOAD_ALLOWED_TYPES does not list ("image/*" is a pattern)."""
    require_detected_type(settings.FILE_UPLOAD_ALLOWED_TYPES, detected, taker="this portal")


def require_detected_type(allowed: Sequence[str], detected: str, *, taker: str) -> None:
    """Refuse a content that is not in `allowed` (none: all are)."""
    if allowed and not content_types.matches(allowed, detected):
        raise UnsupportedType(
            "type_not_allowed",
            f"The file's content is {detected}; {taker} takes {', '.join(allowed)}.",
        )


def chunk_size_for(size_bytes: int, requested: int | None = None) -> int:
    """Bytes per part: what was asked for or the default, larger where 10,000 parts need it."""
    least, most = settings.PORTAL_CHUNK_SIZE_MIN, settings.PORTAL_CHUNK_SIZE_MAX
    if requested is not None and not least <= requested <= most:
        raise InvalidInput(
            "invalid_chunk_size", f"chunk_size_bytes must be between {least} and {most}."
        )
    wanted = requested or settings.PORTAL_CHUNK_SIZE
    needed = math.ceil(size_bytes / MAX_PARTS)
    if needed <= wanted:
        return wanted
    chunk = math.ceil(needed / _STEP) * _STEP
    if chunk > most:
        raise PayloadTooLarge(
            "file_too_large",
            f"The file needs parts of {chunk} bytes; at most {most} are taken.",
            max_bytes=most * MAX_PARTS,
        )
    return chunk


def _check_json(value: Any, *, levels: int) -> None:
    """Refuse NUL in any text, and nesting that recursive code elsewhere would stumble over."""
    if levels < 0:
        raise InvalidInput(
            "invalid_metadata", f"metadata may be nested at most {MAX_METADATA_DEPTH} levels deep."
        )
    if isinstance(value, str) and "\x00" in value:
        raise InvalidInput("invalid_metadata", "metadata must not contain NUL characters.")
    if isinstance(value, dict | list):
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_json(inner, levels=levels - 1)


def _check_text(value: str, name: str, code: str, max_bytes: int) -> None:
    """Refuse what is not text that every system can keep: surrogates, controls, overlong."""
    try:
        length = len(value.encode())
    except UnicodeEncodeError as exc:
        raise InvalidInput(code, f"{name} is not valid Unicode text.") from exc
    if not 0 < length <= max_bytes:
        raise InvalidInput(code, f"{name} must have 1 to {max_bytes} bytes in UTF-8, not {length}.")
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise InvalidInput(code, f"{name} must not contain control characters.")
