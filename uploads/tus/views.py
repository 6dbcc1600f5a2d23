"""The addresses of tus: /api/tus/ makes uploads, /api/tus/{id} is one."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from accounts import rates
from accounts.authentication import Authenticator
from accounts.models import TokenScope
from accounts.principals import Principal
from common.errors import (
    Conflict,
    DooritoError,
    Forbidden,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    RequestTimeout,
)
from common.http.bodies import body_length, stop_body, whole_body_blocks
from common.http.headers import check_content_encoding
from common.http.problems import as_known
from common.http.requests import has_unknown_length
from uploads.doors import door
from uploads.receiving import continuing
from uploads.receiving.appending import Progress
from uploads.receiving.concatenating import concatenate
from uploads.receiving.sessions import replace_session
from uploads.tus import answers, headers

_may_begin = Authenticator(TokenScope.UPLOAD, rate=rates.SESSIONS)
_may_go_on = Authenticator(TokenScope.UPLOAD)


@door("tus")
def tus(request: HttpRequest, upload: str | None = None) -> HttpResponse:
    request.method = request.headers.get("X-HTTP-Method-Override", request.method or "").upper()
    try:
        response = _answer(request, upload)
    except Exception as error:  # whatever it is, a client of tus has to read it
        response = answers.refused(as_known(request, error))
    return answers.dressed(request, response)


def _answer(request: HttpRequest, upload: str | None) -> HttpResponse:
    if request.method == "OPTIONS":
        return answers.options()
    _require_version(request)
    call = _call(request.method or "", upload)
    check_content_encoding(request.headers.get("Content-Encoding"))
    authenticate = _may_begin if request.method == "POST" else _may_go_on
    return call(request, authenticate(request))


def _call(method: str, upload: str | None) -> Callable[[HttpRequest, Principal], HttpResponse]:
    """Raises MethodNotAllowed, NotFound for what cannot be the id of an upload."""
    if upload is None and method == "POST":
        return create
    calls = {"HEAD": look, "PATCH": patch, "DELETE": terminate}
    if upload is None or method not in calls:
        raise MethodNotAllowed("method_not_allowed", "tus knows no such call of this address.")
    try:
        return partial(calls[method], session_id=UUID(upload))
    except ValueError as exc:
        raise NotFound("session_not_found", "There is no such upload.") from exc


def create(request: HttpRequest, principal: Principal) -> HttpResponse:
    concat = headers.upload_concat(request)
    wanted = headers.request_of(request, concat=concat)
    if concat and concat.piece_ids:
        progress = concatenate(principal=principal, request=wanted, piece_ids=concat.piece_ids)
        return answers.created(request, progress, with_offset=False)
    if not _has_body(request):
        progress = continuing.begin(principal=principal, request=wanted)
        return answers.created(request, progress, with_offset=False)
    headers.require_offset_type(request)
    checksum = headers.upload_checksum(request)
    blocks = whole_body_blocks(request)
    progress = continuing.begin(principal=principal, request=wanted)
    try:
        progress = continuing.go_on(
            principal=principal,
            session_id=progress.session_id,
            offset=0,
            blocks=blocks,
            declared=checksum,
            let_go=partial(stop_body, request),
        )
    except DooritoError as error:
        progress = _as_far_as_it_came(principal, progress.session_id, error)
    return answers.created(request, progress, with_offset=True)


def look(_request: HttpRequest, principal: Principal, *, session_id: UUID) -> HttpResponse:
    return answers.state(continuing.look_at(principal=principal, session_id=session_id))


def patch(request: HttpRequest, principal: Principal, *, session_id: UUID) -> HttpResponse:
    headers.require_offset_type(request)
    try:
        progress = continuing.go_on(
            principal=principal,
            session_id=session_id,
            offset=headers.upload_offset(request),
            declared=headers.upload_checksum(request),
            length_bytes=headers.upload_length(request),
            blocks=whole_body_blocks(request) if _has_body(request) else iter(()),
            let_go=partial(stop_body, request),
        )
    except (Conflict, InvalidInput):
        _refuse_final(continuing.look_at(principal=principal, session_id=session_id))
        raise
    _refuse_final(progress)
    return answers.gone_on(progress)


def terminate(_request: HttpRequest, principal: Principal, *, session_id: UUID) -> HttpResponse:
    continuing.take_back(principal=principal, session_id=session_id)
    return HttpResponse(status=204)


def _require_version(request: HttpRequest) -> None:
    if request.headers.get("Tus-Resumable") != answers.VERSION:
        raise PreconditionFailed(
            "version_unsupported",
            f"Send Tus-Resumable: {answers.VERSION}, the version spoken here.",
        )


def _has_body(request: HttpRequest) -> bool:
    """Without a length there is none, unless it is chunked (RFC 9112, 6.3)."""
    if not request.META.get("CONTENT_LENGTH") and not has_unknown_length(request):
        return False
    return body_length(request) != 0


def _as_far_as_it_came(principal: Principal, session_id: UUID, error: DooritoError) -> Progress:
    """The new upload with what arrived of a body that broke off.

    Where nothing counts of it, the client learns of no upload, and there is none.
    """
    if isinstance(error, RequestTimeout) or error.code == "body_incomplete":
        return continuing.look_at(principal=principal, session_id=session_id)
    replace_session(principal=principal, session_id=session_id)
    raise error


def _refuse_final(progress: Progress) -> None:
    if progress.door_data.get("concat", "").startswith("final"):
        raise Forbidden("upload_is_final", "A final upload takes no bytes of its own.")
