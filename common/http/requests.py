"""Requests with chunked bodies, which declare no length (RFC 9112, 7.1).

Django treats such a body as empty. Many clients send them when they stream: curl from a pipe, Node,
Java, Python's requests for an open file that is empty.
"""

from io import BytesIO, IOBase
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest


def is_chunked(request: HttpRequest) -> bool:
    return "HTTP_TRANSFER_ENCODING" in request.META


def has_unknown_length(request: HttpRequest) -> bool:
    """Whether the body is chunked and the server marks its end."""
    return is_chunked(request) and bool(request.META.get("wsgi.input_terminated"))


class StreamedRequest(WSGIRequest):
    """A Django request that reads a chunked body to its end.

    Bodies that are read as a whole (documents and form fields) have at most
    DATA_UPLOAD_MAX_MEMORY_SIZE bytes, as with a Content-Length. Raises RequestDataTooBig.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        super().__init__(environ)
        if has_unknown_length(self):
            # As the parent's constructor does; there is no public way.
            self._stream = cast(BinaryIO, _ChunkedStream(environ["wsgi.input"]))

    def parse_file_upload(self, META: Any, post_data: Any) -> Any:  # noqa: N803
        if has_unknown_length(self):
            content = post_data.read()
            META = {**META, "CONTENT_LENGTH": str(len(content))}  # noqa: N806
            post_data = BytesIO(content)
        return super().parse_file_upload(META, post_data)


class _ChunkedStream(IOBase):
    """The server's input stream, which ends where the body ends (`wsgi.input_terminated`)."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size >= 0:
            return bytes(self._stream.read(size))
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        content = bytes(self._stream.read(most + 1))
        if len(content) > most:
            raise RequestDataTooBig("Request body exceeded settings.DATA_UPLOAD_MAX_MEMORY_SIZE.")
        return content

    def readline(self, size: int | None = -1, /) -> bytes:
        return bytes(self._stream.readline(size))
