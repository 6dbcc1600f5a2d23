"""Request bodies as streams: read in blocks, never parsed, never held whole."""

import socket
import struct
from collections.abc import Iterator
from itertools import cycle
from typing import Self

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, UnreadablePostError
from gunicorn.http.body import Body, LengthReader

from common.errors import InvalidInput, LengthRequired, RequestTimeout

BLOCK_BYTES = 2**20  # 64 KiB reads halve the speed


def content_length(request: HttpRequest) -> int:
    """Bytes of the body as announced. Raises LengthRequired, InvalidInput `invalid_length`."""
    text = request.META.get("CONTENT_LENGTH") or ""
    if not text:
        raise LengthRequired("length_required", "Send the body with a Content-Length.")
    if not (text.isascii() and text.isdigit()):
        raise InvalidInput("invalid_length", "Content-Length must be a whole number of bytes.")
    return int(text)


def expect_upload(request: HttpRequest) -> None:
    """Let the body take its time as long as it moves: to be called before it is read.

    What is no upload has to arrive within PORTAL_STALL_TIMEOUT_SECONDS (boot.gunicorn_worker).
    """
    body = request.META.get("wsgi.input")
    if isinstance(body, Body) and isinstance(body.reader, LengthReader):
        body.reader.unreader.lift_deadline()


def body_blocks(request: HttpRequest) -> Iterator[memoryview]:
    """The raw body of an upload; ends early where the connection does.

    Each block is valid until the one after the next is asked for. Raises RequestTimeout
    `body_stalled` or InvalidInput `body_incomplete`, so that a dead connection does not hold its
    part for ever.
    """
    expect_upload(request)
    direct = _DirectBody.of(request)
    try:
        if direct is None:
            while block := request.read(BLOCK_BYTES):
                yield memoryview(block)
        else:
            with direct:
                yield from direct.blocks()
    except (UnreadablePostError, OSError) as exc:
        raise interrupted(exc) from exc


class _DirectBody:
    """A body read straight from gunicorn's socket into two buffers in turn.

    gunicorn's own read() copies every byte twice more, and takes a system call and the
    interpreter lock for every piece that has arrived. Here the kernel fills whole blocks
    (MSG_WAITALL), and ends a wait by itself (SO_RCVTIMEO: recv(2) fails only if not one byte
    came). gunicorn's count of what is left is kept, by which it knows the next request's place.
    """

    def __init__(self, reader: LengthReader, connection: socket.socket) -> None:
        self._reader = reader
        self._connection = connection
        self._python_timeout = connection.gettimeout()

    @classmethod
    def of(cls, request: HttpRequest) -> Self | None:
        """None where the body is not gunicorn's, of unknown length, encrypted, or begun before."""
        body, connection = request.META.get("wsgi.input"), request.META.get("gunicorn.socket")
        if not isinstance(body, Body) or body.buf.tell():
            return None
        if not isinstance(body.reader, LengthReader) or type(connection) is not socket.socket:
            return None
        return cls(body.reader, connection)

    def __enter__(self) -> Self:
        self._connection.settimeout(None)
        self._wait_at_most(settings.PORTAL_STALL_TIMEOUT_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._wait_at_most(0)  # as long as it takes
        self._connection.settimeout(self._python_timeout)

    def blocks(self) -> Iterator[memoryview]:
        size = min(BLOCK_BYTES, self._reader.length)
        # In turn: what was given last may still be hashed while the next is received.
        for buffer in cycle([memoryview(bytearray(size)), memoryview(bytearray(size))]):
            filled = self._fill(buffer[: self._reader.length])
            if not filled:
                return
            yield buffer[:filled]

    def _fill(self, buffer: memoryview) -> int:
        filled = self._take_read_ahead(buffer)
        while filled < len(buffer):
            count = self._receive(buffer[filled:])
            if count == 0:
                break
            filled += count
        return filled

    def _take_read_ahead(self, buffer: memoryview) -> int:
        """What came along with the headers; the rest of it may be the next request."""
        ahead = self._reader.unreader.take_buffered()
        count = min(len(ahead), len(buffer))
        buffer[:count] = ahead[:count]
        self._reader.unreader.unread(ahead[count:])
        self._reader.length -= count
        return count

    def _receive(self, buffer: memoryview) -> int:
        try:
            count = self._connection.recv_into(buffer, 0, socket.MSG_WAITALL)
        except BlockingIOError as exc:
            raise TimeoutError from exc
        self._reader.length -= count  # at once: also a body that breaks off is counted right
        return count

    def _wait_at_most(self, seconds: int) -> None:
        duration = struct.pack("ll", seconds, 0)  # struct timeval
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, duration)


def file_blocks(file: UploadedFile) -> Iterator[memoryview]:
    """A form's file, which the form parser has put aside."""
    for chunk in file.chunks(BLOCK_BYTES):
        yield memoryview(chunk)


def interrupted(exc: Exception) -> RequestTimeout | InvalidInput:
    """Why a body could not be read to its end (see StalledClientMiddleware)."""
    if any(isinstance(cause, TimeoutError) for cause in _causes(exc)):
        return RequestTimeout(
            "body_stalled",
            "The body stopped for, or what is no upload took, more than "
            f"{settings.PORTAL_STALL_TIMEOUT_SECONDS} seconds; send it again.",
        )
    return InvalidInput("body_incomplete", "The connection ended early; send it again.")


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """An error with what led to it: Django wraps once for read(), twice for body."""
    while exc is not None:
        yield exc
        exc = exc.__cause__
