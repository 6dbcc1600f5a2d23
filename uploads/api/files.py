"""/api/v1/files: one-request uploads, and what becomes of stored files."""

from typing import Any
from uuid import UUID

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from ninja import Query, Router, Schema, Status
from pydantic import Field, ValidationError

from accounts import rates
from accounts.authentication import AuthenticatedRequest, Authenticator
from accounts.models import TokenScope
from common.errors import InvalidInput
from common.http.digests import content_digest
from common.http.forms import read_form
from common.http.headers import refuse_content_range
from common.http.schemas import BINARY
from common.http.sized import sized_body
from uploads import policy, selectors
from uploads.api.content import file_response
from uploads.api.schemas import ConsumptionOut, ExtendIn, FileList, FileOut, SessionOut
from uploads.api.staff import may_restore
from uploads.files import lifecycle
from uploads.models import FileStatus
from uploads.receiving import finalizing
from uploads.receiving.one_request import store_in_one_request
from uploads.receiving.requests import UploadRequest

CHECKING_SECONDS = 2  # between questions what became of a file
router = Router(tags=["Files"])
may_upload = Authenticator(TokenScope.UPLOAD)
may_store = Authenticator(TokenScope.UPLOAD, rate=rates.SMALL_FILES)
may_read = Authenticator(TokenScope.READ)
# Whoever has sent a file by an upload link may ask what became of it, and not for its bytes.
may_ask = Authenticator(TokenScope.READ, guest_scope=TokenScope.UPLOAD)
may_consume = Authenticator(TokenScope.CONSUME)


class OneRequestQuery(Schema):
    """Given in the query, or as fields of a form; `filename` is needed for a raw body only."""

    filename: str = ""
    relative_path: str = ""
    batch_id: UUID | None = None
    sha256: str = ""
    metadata: str = Field("", description="A JSON object, as text.")
    idempotency_key: str | None = None


class FileListQuery(Schema):
    limit: int = 50
    cursor: str | None = None
    status: str | None = None
    batch_id: UUID | None = None
    search: str | None = None


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": BINARY,
                        "filename": {"type": "string"},
                        "relative_path": {"type": "string"},
                        "batch_id": {"type": "string", "format": "uuid"},
                        "sha256": {"type": "string"},
                        "metadata": {"type": "string", "description": "A JSON object, as text."},
                        "idempotency_key": {"type": "string"},
                    },
                }
            },
            "application/octet-stream": {"schema": BINARY},
        },
    }
}


_BYTES = {"application/octet-stream": {"schema": BINARY}}
_CONTENT = {
    "responses": {
        200: {"content": _BYTES},
        206: {"description": "Partial Content", "content": _BYTES},
        304: {"description": "Not Modified"},
    }
}


@router.post("", response={201: FileOut, 202: SessionOut}, auth=may_store, openapi_extra=_BODY)
def store_file(
    request: AuthenticatedRequest, response: HttpResponse, query: Query[OneRequestQuery]
) -> Status:
    """Send a small file in one request: the field `file` of a form, or the raw body.

    202 while it is being checked, which is before it is stored: the answer is its session
    (Location), to be finalized until that gives the file.
    """
    refuse_content_range(
        request, instead="Send a file in parts through POST /api/v1/uploads/sessions."
    )
    if request.content_type == "multipart/form-data":
        file = _store_form(request, query)
    else:
        file = _store_raw(request, query)
    if file.status != FileStatus.CHECKING:
        return Status(201, FileOut.of(file))
    session = selectors.get_session_of(principal=request.principal, file_id=file.id)
    if session.file.status != FileStatus.CHECKING:  # the body of a repeat takes its time
        stored = finalizing.finalize_session(principal=request.principal, session_id=session.id)
        return Status(201, FileOut.of(stored))
    response["Location"] = reverse("api-1:get_session", args=[session.id])
    response["Retry-After"] = str(CHECKING_SECONDS)
    return Status(202, SessionOut.of(session))


@router.get("", response={200: FileList}, auth=may_read)
def list_files(request: AuthenticatedRequest, query: Query[FileListQuery]) -> FileList:
    """Your files, newest first. `search` looks at the names of the newest 10,000."""
    return FileList.of(selectors.files_page(principal=request.principal, **query.model_dump()))


@router.get("/{uuid:file_id}", response={200: FileOut}, auth=may_ask)
def get_file(request: AuthenticatedRequest, file_id: UUID) -> FileOut:
    return FileOut.of(selectors.get_file(principal=request.principal, file_id=file_id))


@router.get(
    "/{uuid:file_id}/content",
    response={200: None},
    url_name="file_content",
    auth=may_read,
    openapi_extra=_CONTENT,
)
def get_content(request: AuthenticatedRequest, file_id: UUID) -> HttpResponseBase:
    """The bytes. Honours Range and conditional headers; the ETag is the SHA-256, quoted."""
    file = selectors.get_file(principal=request.principal, file_id=file_id)
    lifecycle.require_readable(file)
    return file_response(request, file)


@router.api_operation(
    ["HEAD"],
    "/{uuid:file_id}/content",
    response={200: None},
    auth=may_read,
    include_in_schema=False,
)
def head_content(request: AuthenticatedRequest, file_id: UUID) -> HttpResponseBase:
    return get_content(request, file_id)


@router.delete("/{uuid:file_id}", response={204: None}, auth=may_consume)
def delete_file(request: AuthenticatedRequest, file_id: UUID) -> Status:
    """Remove the file; its record stays. Safe to repeat."""
    lifecycle.delete_file(principal=request.principal, file_id=file_id)
    return Status(204, None)


@router.post("/{uuid:file_id}/consume", response={200: ConsumptionOut}, auth=may_consume)
def consume_file(request: AuthenticatedRequest, file_id: UUID) -> ConsumptionOut:
    """Take the file for processing: 200 to exactly one caller, 409 to all others."""
    consumption = lifecycle.consume_file(principal=request.principal, file_id=file_id)
    return ConsumptionOut.of_consumption(consumption)


@router.post("/{uuid:file_id}/restore", response={200: FileOut}, auth=may_restore)
def restore_file(request: AuthenticatedRequest, file_id: UUID) -> FileOut:
    """Undo a consumption while the bytes are there. For staff who may change files."""
    return FileOut.of(lifecycle.restore_file(file_id=file_id, actor=request.principal.actor))


@router.post("/{uuid:file_id}/extend", response={200: FileOut}, auth=may_upload)
def extend_file(request: AuthenticatedRequest, file_id: UUID, body: ExtendIn) -> FileOut:
    """Keep the file longer, within the configured maximum."""
    file = lifecycle.extend_file(
        principal=request.principal, file_id=file_id, expires_at=body.expires_at
    )
    return FileOut.of(file)


def _store_form(request: AuthenticatedRequest, query: OneRequestQuery) -> Any:
    if "Content-Digest" in request.headers:
        raise InvalidInput(
            "digest_unsupported",
            "Content-Digest is checked for raw bodies; for a form, send the field sha256.",
        )
    with read_form(request, check_size=policy.check_single_request_size) as form:
        query = _with_fields(form.fields, query)
        return store_in_one_request(
            principal=request.principal,
            request=_request(
                query,
                filename=query.filename or form.file.filename,
                size_bytes=form.file.size_bytes,
                content_type=form.file.content_type,
            ),
            blocks=form.file.blocks(),
        )


def _with_fields(fields: dict[str, str], query: OneRequestQuery) -> OneRequestQuery:
    """What the form says beside the file. A field that nobody reads is refused, not lost."""
    unknown = set(fields) - set(OneRequestQuery.model_fields)
    if unknown:
        known = ", ".join(OneRequestQuery.model_fields)
        raise InvalidInput(
            "unknown_field",
            f"The form has fields that mean nothing here: {', '.join(sorted(unknown))}. "
            f"There are: file, {known}.",
        )
    try:
        return OneRequestQuery.model_validate(query.model_dump(exclude_unset=True) | fields)
    except ValidationError as exc:
        said = "; ".join(f"{error['loc'][0]}: {error['msg']}" for error in exc.errors())
        raise InvalidInput("invalid_request", f"{said}.") from exc


def _store_raw(request: AuthenticatedRequest, query: OneRequestQuery) -> Any:
    if not query.filename:
        raise InvalidInput(
            "invalid_filename",
            "The file needs a name: POST /api/v1/files?filename=report.pdf, or send a form "
            "(multipart/form-data) with the file in the field `file`.",
        )
    with sized_body(request, check_size=policy.check_single_request_size) as body:
        return store_in_one_request(
            principal=request.principal,
            request=_request(
                query,
                filename=query.filename,
                size_bytes=body.size_bytes,
                content_type=_declared_type(request),
            ),
            blocks=body.blocks,
            declared=content_digest(request),
        )


def _declared_type(request: AuthenticatedRequest) -> str:
    """curl calls every raw body a form; that says nothing about the file."""
    declared = request.content_type or ""
    return "" if declared == "application/x-www-form-urlencoded" else declared


def _request(
    query: OneRequestQuery, *, filename: str, size_bytes: int, content_type: str
) -> UploadRequest:
    return UploadRequest(
        **query.model_dump(exclude={"filename", "metadata"}),
        metadata=_json_object(query.metadata),
        filename=filename,
        size_bytes=size_bytes,
        content_type=content_type,
    )


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as exc:
        raise InvalidInput("invalid_metadata", f"metadata is not valid JSON: {exc}.") from exc
    if not isinstance(value, dict):
        raise InvalidInput("invalid_metadata", 'metadata must be a JSON object: {"name": …}.')
    return value
