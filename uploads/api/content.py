"""Serving what users uploaded, so that no browser runs it."""

import re
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, Self
from urllib.parse import quote

from django.conf import settings
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import http_date
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from accounts import rates
from common import content_types
from common.db import release_connection
from common.errors import PreconditionFailed, RangeNotSatisfiable
from common.http.bodies import expect_download
from common.http.problems import answers_problems
from uploads import selectors
from uploads.files import lifecycle
from uploads.files.links import LinkKind, file_id_of
from uploads.models import IngestFile
from uploads.storage import object_of, open_object, storage_for
from uploads.storage.base import GivesLinks

_BLOCK_BYTES = 256 * 2**10  # of a range
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)  # 64 bits: more is no range
# What needs an escape that clients read in different ways (RFC 6266, appendix D).
_NOT_PLAIN = re.compile(r"""[^\x20-\x7e]|["\\/]|%(?=[0-9A-Fa-f]{2})""")
# Types that a browser only shows: no script, no markup. Never SVG, HTML or PDF.
_PASSIVE = {
    *("text/plain", "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"),
    *("audio/*", "video/*"),
}


_CONDITIONS = {
    *("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"),
}


@dataclass(frozen=True)
class _Version:
    """What a client remembers of the bytes that it has. A stored file never changes."""

    etag: str
    modified_at: int  # seconds since the epoch

    @classmethod
    def of(cls, file: IngestFile) -> Self:
        stored_at = file.stored_at or file.created_at
        return cls(f'"{file.sha256}"', int(stored_at.timestamp()))

    @property
    def last_modified(self) -> str:
        return http_date(self.modified_at)


def file_response(request: HttpRequest, file: IngestFile) -> HttpResponseBase:
    """The file, a range of it (206), or 304. `?inline=1` shows passive types in the browser.

    Raises PreconditionFailed `precondition_failed`, RangeNotSatisfiable `range_not_satisfiable`,
    Gone `file_purged`, TooManyRequests `too_many_transfers`, ServiceUnavailable `server_busy`.
    """
    release_connection()  # a slow reader must not own a connection
    version = _Version.of(file)
    unchanged = get_conditional_response(
        request, etag=version.etag, last_modified=version.modified_at
    )
    if unchanged is not None:
        if unchanged.status_code != 304:
            raise PreconditionFailed(
                "precondition_failed", "The file is not the one that the request asks for."
            )
        unchanged["Content-Length"] = str(file.size_bytes)  # of what it stands for (RFC 9110, 8.6)
        return _with_headers(unchanged, request, file, version)
    span = _span(request, size=file.size_bytes, version=version)
    start, end = span or (0, file.size_bytes)
    if request.method != "HEAD":
        expect_download(request, size_bytes=end - start)
    with ExitStack() as stack:
        content = stack.enter_context(open_object(file, start=start, end=end if span else None))
        if request.method == "HEAD":
            response: HttpResponseBase = HttpResponse()
        elif span is None:
            response = FileResponse(content)
        else:
            response = StreamingHttpResponse(_limited(content, end - start))
        if request.method != "HEAD":
            stack.pop_all()  # closed when the response is
    if span:
        response.status_code = 206
        response["Content-Range"] = f"bytes {start}-{end - 1}/{file.size_bytes}"
    response["Content-Length"] = str(end - start)
    return _with_headers(response, request, file, version)


@csrf_exempt
@require_safe
@answers_problems
def signed_file(request: HttpRequest, token: str) -> HttpResponseBase:
    """The link that events carry: good while the file is stored."""
    rates.take_of_address(request, rates.LINKS)
    file = selectors.get_linked_file(file_id_of(LinkKind.FILE, token))
    lifecycle.require_readable(file)
    return linked_response(request, file)


@csrf_exempt
@require_safe
@answers_problems
def claimed_file(request: HttpRequest, token: str) -> HttpResponseBase:
    """The consumer's link: good until the bytes are removed."""
    rates.take_of_address(request, rates.LINKS)
    file = selectors.get_linked_file(file_id_of(LinkKind.CLAIM, token))
    lifecycle.require_claimable(file)
    return linked_response(request, file)


def linked_response(request: HttpRequest, file: IngestFile) -> HttpResponseBase:
    """The file from where it lies, if others can read it there: its bytes need not pass here.

    What a signed address cannot answer (HEAD, conditions) is answered here.
    """
    objects = storage_for(file).objects
    is_plain = request.method == "GET" and not _CONDITIONS & set(request.headers)
    if (
        settings.PORTAL_DOWNLOADS != "redirect"
        or not is_plain
        or not isinstance(objects, GivesLinks)
    ):
        return file_response(request, file)
    release_connection()
    headers = _with_headers(HttpResponse(), request, file, _Version.of(file))
    response = HttpResponseRedirect(
        objects.url(
            object_of(file),
            expires_seconds=settings.AWS_QUERYSTRING_EXPIRE,
            disposition=headers["Content-Disposition"],
            content_type=headers["Content-Type"],
        )
    )
    response["Cache-Control"] = "private, no-store"
    return response


def _span(request: HttpRequest, *, size: int, version: _Version) -> tuple[int, int] | None:
    """First byte and end (exclusive) of a single range (RFC 9110, 14.1.2); None for the whole."""
    match = _RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if not match or match[0] == "bytes=-":
        return None
    if request.headers.get("If-Range", version.etag) not in {version.etag, version.last_modified}:
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
    response: HttpResponseBase, request: HttpRequest, file: IngestFile, version: _Version
) -> HttpResponseBase:
    inline = request.GET.get("inline") == "1" and content_types.matches(
        _PASSIVE, file.detected_type
    )
    kind = "inline" if inline else "attachment"
    response["Content-Type"] = file.detected_type if inline else "application/octet-stream"
    response["Content-Disposition"] = f"{kind}; {_names(file.original_filename)}"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-cache"
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = version.etag
    response["Last-Modified"] = version.last_modified
    return response


def _names(name: str) -> str:
    """The name twice (RFC 6266, appendix D): ASCII for who knows only that, and as it is.

    Without an ASCII name curl, for one, saves the file under the last part of the address.
    """
    letters = unicodedata.normalize("NFKD", name)
    plain = "".join(each for each in letters if not unicodedata.combining(each))
    plain = _NOT_PLAIN.sub("_", plain)
    if not plain.strip(". "):
        plain = "file"
    return f"filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _limited(content: BinaryIO, length: int) -> Iterator[bytes]:
    with content:
        while length > 0 and (block := content.read(min(_BLOCK_BYTES, length))):
            length -= len(block)
            yield block
