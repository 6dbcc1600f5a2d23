"""Answers as tus has them. An error is a status and a line of text: `code: what to do`."""

from django.http import HttpRequest, HttpResponse
from django.utils.http import http_date

from common.errors import Conflict, DooritoError, Unauthenticated
from common.http.cors import Cors
from uploads.files.acceptance import checks
from uploads.receiving.appending import Progress
from uploads.tus.headers import CHECKSUM_ALGORITHMS

VERSION = "1.0.0"
METHODS = "OPTIONS, POST, HEAD, PATCH, DELETE"
EXTENSIONS = ",".join(
    [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "checksum",
        "expiration",
        "termination",
        "concatenation",
    ]
)
_CORS = Cors(
    methods=METHODS,
    request_headers=(
        "Authorization, Content-Type, Tus-Resumable, Upload-Length, Upload-Defer-Length, "
        "Upload-Offset, Upload-Metadata, Upload-Checksum, Upload-Concat, X-HTTP-Method-Override, "
        "X-Request-ID, X-Requested-With"
    ),
    response_headers=(
        "Location, Retry-After, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, "
        "Tus-Resumable, Tus-Version, Upload-Concat, Upload-Defer-Length, Upload-Expires, "
        "Upload-Length, Upload-Metadata, Upload-Offset, Upload-State"
    ),
)
# 409 means another offset: clients ask for the right one, and 423 that they should come again.
_STATUS = {
    "digest_mismatch": 460,
    "finalize_in_progress": 423,
    "offset_mismatch": 409,
    "part_in_progress": 423,
    "session_aborted": 404,
    "superseded": 423,
}
_REASONS = {460: "Checksum Mismatch"}
_PERMANENT = 400


def options() -> HttpResponse:
    return HttpResponse(
        status=204,
        headers={
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(checks.largest_file()),
            "Tus-Checksum-Algorithm": CHECKSUM_ALGORITHMS,
            "Allow": METHODS,
        },
    )


def created(request: HttpRequest, progress: Progress, *, with_offset: bool) -> HttpResponse:
    # Relative to the address that was asked, whatever proxies made of it: `id`, or `tus/id` where
    # that address has no slash at its end.
    folder = request.path.rsplit("/", 1)[-1]
    location = f"{folder}/{progress.session_id}" if folder else str(progress.session_id)
    headers = {"Location": location}
    if with_offset:
        headers["Upload-Offset"] = str(progress.offset_bytes)
    return HttpResponse(status=201, headers=headers | _fate(progress))


def gone_on(progress: Progress) -> HttpResponse:
    headers = {"Upload-Offset": str(progress.offset_bytes)}
    return HttpResponse(status=204, headers=headers | _fate(progress))


def state(progress: Progress) -> HttpResponse:
    headers = {"Upload-Offset": str(progress.offset_bytes), "Cache-Control": "no-store"}
    if progress.length_bytes is None:
        headers["Upload-Defer-Length"] = "1"
    else:
        headers["Upload-Length"] = str(progress.length_bytes)
    for name, key in (("Upload-Metadata", "metadata"), ("Upload-Concat", "concat")):
        if key in progress.door_data:
            headers[name] = progress.door_data[key]
    return HttpResponse(headers=headers | _fate(progress))


def refused(error: DooritoError) -> HttpResponse:
    status = _STATUS.get(error.code)
    if status is None:
        status = _PERMANENT if isinstance(error, Conflict) else error.status
    response = HttpResponse(
        f"{error.code}: {error.message}\n",
        status=status,
        reason=_REASONS.get(status),
        content_type="text/plain; charset=utf-8",
    )
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    if isinstance(error, Unauthenticated):
        response["WWW-Authenticate"] = "Bearer"
    if status == 405:
        response["Allow"] = METHODS
    if status == 412:
        response["Tus-Version"] = VERSION
    return response


def dressed(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """With what every answer has."""
    response["Tus-Resumable"] = VERSION
    response.headers.setdefault("Cache-Control", "no-store")
    _CORS.apply(request, response)
    return response


def _fate(progress: Progress) -> dict[str, str]:
    """When it expires; or the portal's own header, that it is being checked before it is stored."""
    if progress.is_checked:
        return {"Upload-State": "checking"}
    if progress.expires_at is None:
        return {}
    return {"Upload-Expires": http_date(progress.expires_at.timestamp())}
