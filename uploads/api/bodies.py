"""Request bodies as streams: read in blocks, never parsed, never held whole."""

import base64
import binascii
import re
from collections.abc import Callable, Iterator

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, UnreadablePostError
from gunicorn.http.body import Body, LengthReader

from common.errors import InvalidInput, LengthRequired, RequestTimeout
from uploads.services.parts import PartDigest

BLOCK_BYTES = 2**20  # 64 KiB reads halve the speed
_DIGEST_BYTES = {"sha-256": 32, "sha-512": 64}
_DIGEST_MEMBER = re.compile(r"\s*([a-z0-9-]+)\s*=\s*:([A-Za-z0-9+/=]*):\s*")


def content_length(request: HttpRequest) -> int:
    """Bytes of the body as announced. Raises LengthRequired, InvalidInput `invalid_length`."""
    text = request.META.get("CONTENT_LENGTH") or ""
    if not text or "HTTP_TRANSFER_ENCODING" in request.META:
        raise LengthRequired("length_required", "Send the body with a Content-Length.")
    if not (text.isascii() and text.isdigit()):
        raise InvalidInput("invalid_length", "Content-Length must be a whole number of bytes.")
    return int(text)


def content_digest(request: HttpRequest) -> PartDigest | None:
    """The first digest that we can check from a Content-Digest header (RFC 9530, section 2).

    Raises InvalidInput `digest_invalid` or `digest_unsupported`.
    """
    header = request.headers.get("Content-Digest")
    if header is None:
        return None
    members = [_DIGEST_MEMBER.fullmatch(member) for member in header.split(",")]
    if not all(members):
        raise InvalidInput("digest_invalid", "Content-Digest must look like sha-256=:<base64>:.")
    for member in filter(None, members):
        if member[1] in _DIGEST_BYTES:
            return PartDigest(member[1], _digest_bytes(member[1], member[2]))
    raise InvalidInput(
        "digest_unsupported", f"Content-Digest needs one of {', '.join(_DIGEST_BYTES)}."
    )


def body_blocks(request: HttpRequest) -> Iterator[memoryview]:
    """The raw body; ends early where the connection does.

    Each block is valid until the next. Raises RequestTimeout `body_stalled` or InvalidInput
    `body_incomplete`, so that a dead connection does not hold its part for ever.
    """
    read_into = _direct_reader(request)
    try:
        if read_into is None:
            while block := request.read(BLOCK_BYTES):
                yield memoryview(block)
        else:
            buffer = memoryview(bytearray(BLOCK_BYTES))
            while filled := _fill(buffer, read_into):
                yield buffer[:filled]
    except (UnreadablePostError, OSError) as exc:
        raise interrupted(exc) from exc


def _direct_reader(request: HttpRequest) -> Callable[[memoryview], int] | None:
    """Reads some of the body into a buffer straight from gunicorn's socket, 0 at its end.

    gunicorn's own read() copies every byte twice more into new memory, which costs a quarter of
    the speed. Its count of what is left is kept, by which it knows where the next request begins.
    None where the body is not gunicorn's, of unknown length, or was looked at before.
    """
    body = request.META.get("wsgi.input")
    if not isinstance(body, Body) or body.buf.tell():
        return None
    reader = body.reader
    if not isinstance(reader, LengthReader):
        return None
    connection = request.META["gunicorn.socket"]

    def read_into(buffer: memoryview) -> int:
        wanted = min(len(buffer), reader.length)
        ahead = reader.unreader.take_buffered() if wanted else b""
        if ahead:  # what came along with the headers, and perhaps the next request
            count = min(len(ahead), wanted)
            buffer[:count] = ahead[:count]
            reader.unreader.unread(ahead[count:])
        else:
            count = connection.recv_into(buffer, wanted) if wanted else 0
        reader.length -= count
        return count

    return read_into


def _fill(buffer: memoryview, read_into: Callable[[memoryview], int]) -> int:
    """Read until the buffer is full or the body ends; whole blocks are written faster."""
    filled = 0
    while filled < len(buffer) and (count := read_into(buffer[filled:])):
        filled += count
    return filled


def file_blocks(file: UploadedFile) -> Iterator[memoryview]:
    """A form's file, which the form parser has put aside."""
    for chunk in file.chunks(BLOCK_BYTES):
        yield memoryview(chunk)


def interrupted(exc: Exception) -> RequestTimeout | InvalidInput:
    """Why a body could not be read to its end (see StalledBodyMiddleware)."""
    if any(isinstance(cause, TimeoutError) for cause in _causes(exc)):
        return RequestTimeout(
            "body_stalled",
            f"No byte came for {settings.PORTAL_STALL_TIMEOUT_SECONDS} seconds; send it again.",
        )
    return InvalidInput("body_incomplete", "The connection ended early; send it again.")


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """An error with what led to it: Django wraps once for read(), twice for body."""
    while exc is not None:
        yield exc
        exc = exc.__cause__


def _digest_bytes(algorithm: str, encoded: str) -> bytes:
    try:
        value = base64.b64decode(encoded, validate=True)
    except binascii.Error as exc:
        raise InvalidInput("digest_invalid", "Content-Digest holds no valid base64.") from exc
    if len(value) != _DIGEST_BYTES[algorithm]:
        raise InvalidInput(
            "digest_invalid", f"A {algorithm} digest has {_DIGEST_BYTES[algorithm]} bytes."
        )
    return value
