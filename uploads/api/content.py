"""Serving what users uploaded, so that no browser runs it."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO
from urllib.parse import quote

from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from common.db import release_connection
from common.errors import RangeNotSatisfiable
from common.http.problems import answers_problems
from uploads import selectors
from uploads.files import lifecycle
from uploads.files.links import LinkKind, file_id_of
from uploads.models import IngestFile
from uploads.storage import open_object

_BLOCK_BYTES = 256 * 2**10  # of a range
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)  # 64 bits: more is no range
# Types that a browser only shows: no script, no markup. Never SVG, HTML or PDF.
_PASSIVE = {"text/plain", "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"}
_PASSIVE_FAMILIES = ("audio/", "video/")


def file_response(request: HttpRequest, file: IngestFile) -> HttpResponseBase:
    """The file, a range of it (206), or 304. `?inline=1` shows passive types in the browser.

    Raises RangeNotSatisfiable `range_not_satisfiable`, Gone `file_purged`.
    """
    release_connection()  # a slow reader must not own a connection
    etag = f'"{file.sha256}"'
    known = request.headers.get("If-None-Match", "")
    if etag in known or known.strip() == "*":
        response: HttpResponseBase = HttpResponse(status=304)
        response["Content-Length"] = str(file.size_bytes)  # of what it stands for (RFC 9110, 8.6)
        return _with_headers(response, request, file, etag)
    span = _span(request, size=file.size_bytes, etag=etag)
    start, end = span or (0, file.size_bytes)
    with ExitStack() as stack:
        content = stack.enter_context(open_object(file))
        if request.method == "HEAD":
            response = HttpResponse()
        elif span is None:
            response = FileResponse(content)
        else:
            content.seek(start)
            response = StreamingHttpResponse(_limited(content, end - start))
        if request.method != "HEAD":
            stack.pop_all()  # closed when the response is
    if span:
        response.status_code = 206
        response["Content-Range"] = f"bytes {start}-{end - 1}/{file.size_bytes}"
    response["Content-Length"] = str(end - start)
    return _with_headers(response, request, file, etag)


@csrf_exempt
@require_safe
@answers_problems
def signed_file(request: HttpRequest, token: str) -> HttpResponseBase:
    """The link that events carry: good while the file is stored."""
    file = selectors.get_linked_file(file_id_of(LinkKind.FILE, token))
    lifecycle.require_readable(file)
    return file_response(request, file)


@csrf_exempt
@require_safe
@answers_problems
def claimed_file(request: HttpRequest, token: str) -> HttpResponseBase:
    """The consumer's link: good until the bytes are removed."""
    file = selectors.get_linked_file(file_id_of(LinkKind.CLAIM, token))
    lifecycle.require_claimable(file)
    return file_response(request, file)


def _span(request: HttpRequest, *, size: int, etag: str) -> tuple[int, int] | None:
    """First byte and end (exclusive) of a single range (RFC 9110, 14.1.2); None for the whole."""
    match = _RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if not match or match[0] == "bytes=-" or request.headers.get("If-Range", etag) != etag:
        return None
    if match[1]:
        start = int(match[1])
        end = min(int(match[2]) + 1, size) if match[2] else size
    else:
        start, end = max(size - int(match[2]), 0), size
    if match[1] and match[2] and int(match[2]) < start:
        return None
    if start >= end:
        raise RangeNotSatisfiable(
            "range_not_satisfiable", f"The file has {size} bytes.", size_bytes=size
        )
    return start, end


def _with_headers(
    response: HttpResponseBase, request: HttpRequest, file: IngestFile, etag: str
) -> HttpResponseBase:
    inline = request.GET.get("inline") == "1" and _is_passive(file.detected_type)
    disposition = "inline" if inline else "attachment"
    name = quote(file.original_filename, safe="")
    response["Content-Type"] = file.detected_type if inline else "application/octet-stream"
    response["Content-Disposition"] = f"{disposition}; filename*=UTF-8''{name}"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-cache"
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = etag
    return response


def _is_passive(media_type: str) -> bool:
    return media_type in _PASSIVE or media_type.startswith(_PASSIVE_FAMILIES)


def _limited(content: BinaryIO, length: int) -> Iterator[bytes]:
    with content:
        while length > 0 and (block := content.read(min(_BLOCK_BYTES, length))):
            length -= len(block)
            yield block
