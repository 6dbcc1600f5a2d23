"""The addresses of OpenAI's files and uploads."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from accounts import rates
from accounts.authentication import Authenticator
from accounts.models import TokenScope
from accounts.principals import Principal
from common.errors import MethodNotAllowed, NotFound, PayloadTooLarge
from common.http.forms import read_form
from common.http.headers import check_content_encoding
from common.http.problems import as_known
from common.ids import moment_of
from uploads import policy, selectors
from uploads.doors import door
from uploads.files import lifecycle
from uploads.models import FileStatus, IngestFile
from uploads.openai import answers, objects, requests
from uploads.receiving import assembling
from uploads.receiving.assembling import Assembly
from uploads.receiving.one_request import store_in_one_request
from uploads.receiving.requests import UploadRequest

MAX_PART_BYTES = 64 * 2**20  # the clients' own size of a part
_may_store = Authenticator(TokenScope.UPLOAD, rate=rates.SMALL_FILES)
_may_begin = Authenticator(TokenScope.UPLOAD, rate=rates.SESSIONS)
_may_upload = Authenticator(TokenScope.UPLOAD)
_may_read = Authenticator(TokenScope.READ)
_may_delete = Authenticator(TokenScope.CONSUME)

type Call = Callable[..., HttpResponseBase]
type Respond = Callable[[HttpRequest, IngestFile], HttpResponseBase]


def _serve(
    request: HttpRequest, values: dict[str, Any], **by_method: tuple[Authenticator, Call]
) -> HttpResponseBase:
    """Answer by the call for the request's method. Each says whom it is for."""
    try:
        response = _answer(request, values, by_method)
    except Exception as error:  # whatever it is, a client has to read it
        response = answers.refused(as_known(request, error))
    return answers.dressed(request, response)


def _answer(
    request: HttpRequest, values: dict[str, Any], by_method: dict[str, tuple[Authenticator, Call]]
) -> HttpResponseBase:
    if request.method == "OPTIONS":
        return HttpResponse(status=204)
    method = "GET" if request.method == "HEAD" else request.method or ""
    if not by_method:
        raise NotFound("not_found", "There is no such address here.")
    if method not in by_method:
        raise MethodNotAllowed("method_not_allowed", f"Use {', '.join(by_method)} here.")
    check_content_encoding(request.headers.get("Content-Encoding"))
    authenticate, call = by_method[method]
    return call(request, authenticate(request), **values)


# --- Files ---------------------------------------------------------------------------------------


def _create_file(request: HttpRequest, principal: Principal) -> HttpResponse:
    with read_form(request, check_size=policy.check_single_request_size) as form:
        told = requests.read_fields(form.fields)
        file = store_in_one_request(
            principal=principal,
            request=UploadRequest(
                filename=form.file.filename,
                size_bytes=form.file.size_bytes,
                content_type=form.file.content_type,
                metadata={"purpose": told.purpose},
                keep_seconds=told.keep_seconds,
            ),
            blocks=form.file.blocks(),
        )
    return answers.answer(objects.file_object(file))


def _list_files(request: HttpRequest, principal: Principal) -> HttpResponse:
    query = requests.read(request.GET.dict(), requests.Listing)
    files, has_more = selectors.stored_files(
        principal=principal,
        after=objects.key_of(objects.FILE, query.after) if query.after else None,
        limit=query.limit,
        is_ascending=query.order == "asc",
        purpose=query.purpose,
    )
    return answers.answer(objects.file_list(files, has_more=has_more))


def _get_file(_request: HttpRequest, principal: Principal, *, file: str) -> HttpResponse:
    return answers.answer(objects.file_object(_file(principal, file)))


def _delete_file(_request: HttpRequest, principal: Principal, *, file: str) -> HttpResponse:
    found = _file(principal, file)
    lifecycle.delete_file(principal=principal, file_id=found.id)
    return answers.answer({"id": file, "object": "file", "deleted": True})


def _content(
    request: HttpRequest, principal: Principal, *, file: str, respond: Respond
) -> HttpResponseBase:
    found = _file(principal, file)
    lifecycle.require_readable(found)
    return respond(request, found)


def _file(principal: Principal, text: str) -> IngestFile:
    """A file that is stored, consumed, being checked, or that was refused by a check.

    Raises NotFound.
    """
    found = selectors.get_file(principal=principal, file_id=objects.key_of(objects.FILE, text))
    was_refused = found.status == FileStatus.FAILED and found.sha256
    if found.status in {FileStatus.CHECKING, *IngestFile.WITH_POINTER} or was_refused:
        return found
    raise NotFound("file_not_found", "There is no such file.")


# --- Uploads -------------------------------------------------------------------------------------


def _create_upload(request: HttpRequest, principal: Principal) -> HttpResponse:
    wanted = requests.read_json(request, requests.NewUpload)
    upload = assembling.begin(principal=principal, request=wanted.to_request())
    return _upload(upload)


def _add_part(request: HttpRequest, principal: Principal, *, upload: str) -> HttpResponse:
    session_id = objects.key_of(objects.UPLOAD, upload)
    with read_form(request, check_size=_check_part_size, field="data") as form:
        part_id = assembling.add_part(
            principal=principal,
            session_id=session_id,
            size_bytes=form.file.size_bytes,
            blocks=form.file.blocks(),
        )
    made_at = moment_of(part_id)
    return answers.answer(objects.part_object(part_id, session_id, created_at=made_at))


def _complete(request: HttpRequest, principal: Principal, *, upload: str) -> HttpResponse:
    told = requests.read_json(request, requests.Completion)
    done = assembling.complete(
        principal=principal,
        session_id=objects.key_of(objects.UPLOAD, upload),
        order=told.order(),
        md5=(told.md5 or "").lower(),
    )
    return _upload(done)


def _cancel(_request: HttpRequest, principal: Principal, *, upload: str) -> HttpResponse:
    session_id = objects.key_of(objects.UPLOAD, upload)
    return _upload(assembling.cancel(principal=principal, session_id=session_id))


def _upload(upload: Assembly) -> HttpResponse:
    return answers.answer(objects.upload_object(upload))


def _check_part_size(size_bytes: int) -> None:
    if size_bytes > MAX_PART_BYTES:
        raise PayloadTooLarge(
            "part_too_large",
            f"A part has at most {MAX_PART_BYTES} bytes.",
            max_bytes=MAX_PART_BYTES,
        )


# --- Addresses -----------------------------------------------------------------------------------


@door("openai")
def files(request: HttpRequest) -> HttpResponseBase:
    return _serve(request, {}, GET=(_may_read, _list_files), POST=(_may_store, _create_file))


@door("openai")
def file(request: HttpRequest, **values: Any) -> HttpResponseBase:
    return _serve(request, values, GET=(_may_read, _get_file), DELETE=(_may_delete, _delete_file))


@door("openai")
def content(request: HttpRequest, **values: Any) -> HttpResponseBase:
    """`respond` answers with a file's bytes: the JSON API has it, and doors do not know others."""
    return _serve(request, values, GET=(_may_read, _content))


@door("openai")
def uploads(request: HttpRequest) -> HttpResponseBase:
    return _serve(request, {}, POST=(_may_begin, _create_upload))


@door("openai")
def parts(request: HttpRequest, **values: Any) -> HttpResponseBase:
    return _serve(request, values, POST=(_may_upload, _add_part))


@door("openai")
def completion(request: HttpRequest, **values: Any) -> HttpResponseBase:
    return _serve(request, values, POST=(_may_upload, _complete))


@door("openai")
def cancellation(request: HttpRequest, **values: Any) -> HttpResponseBase:
    return _serve(request, values, POST=(_may_upload, _cancel))


@door("openai")
def nothing(request: HttpRequest) -> HttpResponseBase:
    return _serve(request, {})
