"""The request headers of tus, read strictly."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.http import HttpRequest

from common.errors import InvalidInput, UnsupportedType
from common.http.digests import Digest
from uploads.receiving.requests import UploadRequest

OFFSET_TYPE = "application/offset+octet-stream"
# By the name that tus has for them: ours, and their length in bytes.
_CHECKSUMS = {"sha1": ("sha-1", 20), "sha256": ("sha-256", 32), "crc32": ("crc32", 4)}
CHECKSUM_ALGORITHMS = ",".join(_CHECKSUMS)
_WHOLE_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+")  # ASCII without space or comma
_UNNAMED = "unnamed"
# What JavaScript makes a text of where a value is missing.
_MISSING = {"", "null", "undefined"}


@dataclass(frozen=True)
class Concat:
    """`piece_ids` None: a partial upload; else the final one of these. `value` is as it came."""

    value: str
    piece_ids: list[UUID] | None


def upload_offset(request: HttpRequest) -> int:
    """Raises InvalidInput `upload_offset_invalid`."""
    offset = _whole_number(request, "Upload-Offset")
    if offset is None:
        raise InvalidInput("upload_offset_invalid", "Send Upload-Offset, a whole number of bytes.")
    return offset


def upload_length(request: HttpRequest) -> int | None:
    """None where it is not given. Raises InvalidInput `upload_length_invalid`."""
    return _whole_number(request, "Upload-Length")


def length_of_new(request: HttpRequest) -> int | None:
    """The length of a new upload; None: it is told later.

    Raises InvalidInput `upload_length_invalid` or `upload_defer_length_invalid`.
    """
    length, deferred = upload_length(request), request.headers.get("Upload-Defer-Length")
    if deferred not in (None, "1"):
        raise InvalidInput("upload_defer_length_invalid", "Upload-Defer-Length can only be 1.")
    if (length is None) == (deferred is None):
        raise InvalidInput(
            "upload_length_invalid", "Send either Upload-Length or Upload-Defer-Length: 1."
        )
    return length


def require_offset_type(request: HttpRequest) -> None:
    """Raises UnsupportedType `content_type_wrong`."""
    if request.content_type != OFFSET_TYPE:
        raise UnsupportedType(
            "content_type_wrong", f"Send the bytes with Content-Type: {OFFSET_TYPE}."
        )


def upload_checksum(request: HttpRequest) -> Digest | None:
    """Raises InvalidInput `checksum_unsupported` or `checksum_invalid`."""
    value = request.headers.get("Upload-Checksum")
    if value is None:
        return None
    name, _, encoded = value.strip().partition(" ")
    if name not in _CHECKSUMS:
        raise InvalidInput(
            "checksum_unsupported", f"Upload-Checksum can be one of {CHECKSUM_ALGORITHMS}."
        )
    algorithm, length = _CHECKSUMS[name]
    digest = _from_base64(encoded.strip())
    if digest is None or len(digest) != length:
        raise InvalidInput(
            "checksum_invalid", f"Upload-Checksum must be `{name} ` and {length} bytes in base64."
        )
    return Digest(algorithm, digest)


def upload_concat(request: HttpRequest) -> Concat | None:
    """Raises InvalidInput `upload_concat_invalid`."""
    value = request.headers.get("Upload-Concat")
    if value is None:
        return None
    if value == "partial":
        return Concat(value, piece_ids=None)
    kind, _, urls = value.partition(";")
    if kind != "final" or not urls.strip():
        raise InvalidInput(
            "upload_concat_invalid", "Upload-Concat must be `partial` or `final;<url> <url>`."
        )
    return Concat(value, piece_ids=[_id_of(url) for url in urls.split()])


def request_of(request: HttpRequest, *, concat: Concat | None = None) -> UploadRequest:
    """What a POST asks for; of a final upload the size is not known yet.

    Raises InvalidInput `upload_metadata_invalid` or `batch_invalid`.
    """
    told = request.headers.get("Upload-Metadata", "")
    values = _metadata(told)
    data = {"metadata": told} if told else {}
    if concat:
        data["concat"] = concat.value
    size = None if concat and concat.piece_ids else length_of_new(request)
    if concat and concat.piece_ids is None:  # whose metadata counts for nothing
        return UploadRequest("partial", size, is_piece=True, door="tus", door_data=data)
    return UploadRequest(size_bytes=size, door="tus", door_data=data, **_named(values))


def _named(values: dict[str, str]) -> dict[str, Any]:
    """The keys that mean something here; all others go into the file's metadata."""

    def take(*keys: str) -> str:
        found = [values.pop(key) for key in keys if key in values]
        return next((value for value in found if value not in _MISSING), "")

    name = take("filename", "name").replace("\\", "/").rsplit("/", 1)[-1]
    return {
        "filename": name or _UNNAMED,
        "content_type": take("filetype", "type"),
        "relative_path": take("relativePath"),
        "sha256": take("sha256"),
        "batch_id": _batch(take("batch")),
        "metadata": values,
    }


def _metadata(header: str) -> dict[str, str]:
    """Keys and values; a value that is no text stays in base64."""
    values: dict[str, str] = {}
    for pair in header.split(",") if header.strip() else []:
        key, _, encoded = pair.strip().partition(" ")
        value = _from_base64(encoded.strip())
        if not _KEY.fullmatch(key) or key in values or value is None:
            raise InvalidInput(
                "upload_metadata_invalid",
                "Upload-Metadata must be `key base64,key base64`, each key once and in ASCII.",
            )
        try:
            values[key] = value.decode()
        except UnicodeDecodeError:
            values[key] = encoded.strip()
    return values


def _batch(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError as exc:
        raise InvalidInput("batch_invalid", "batch must be the id of a batch.") from exc


def _id_of(url: str) -> UUID:
    """Of a partial upload: the last part of its address, which may be relative."""
    try:
        return UUID(urlsplit(url).path.rsplit("/", 1)[-1])
    except ValueError as exc:
        raise InvalidInput(
            "upload_concat_invalid", f"{url[:200]} is no address of a partial upload."
        ) from exc


def _whole_number(request: HttpRequest, name: str) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    if not _WHOLE_NUMBER.fullmatch(text):
        code = f"{name.lower().replace('-', '_')}_invalid"
        raise InvalidInput(code, f"{name} must be a whole number of bytes.")
    return int(text)


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
