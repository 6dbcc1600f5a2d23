"""/api/v1/files: one-request uploads, and what becomes of stored files."""

from typing import Any
from uuid import UUID

from django.http.response import HttpResponseBase
from ninja import Query, Router, Schema, Status
from pydantic import ValidationError

from accounts.authentication import AuthenticatedRequest, Authenticator
from accounts.models import TokenScope
from common.errors import InvalidInput
from common.http.bodies import file_blocks
from common.http.digests import content_digest
from common.http.forms import read_form
from common.http.problems import PROBLEMS
from common.http.sized import sized_body
from uploads import policy, selectors
from uploads.api.content import file_response
from uploads.api.schemas import ConsumptionOut, ExtendIn, FileList, FileOut
from uploads.files import lifecycle
from uploads.receiving.one_request import store_in_one_request
from uploads.receiving.requests import UploadRequest

router = Router(tags=["Files"])
may_upload = Authenticator(TokenScope.UPLOAD)
may_read = Authenticator(TokenScope.READ)
may_consume = Authenticator(TokenScope.CONSUME)


class OneRequestQuery(Schema):
    """Given in the query, or as fields of a form; `filename` is needed for a raw body only."""

    filename: str = ""
    relative_path: str = ""
    batch_id: UUID | None = None
    sha256: str = ""
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
                        "file": {"type": "string", "format": "binary"},
                        "filename": {"type": "string"},
                        "relative_path": {"type": "string"},
                        "batch_id": {"type": "string", "format": "uuid"},
                        "sha256": {"type": "string"},
                        "idempotency_key": {"type": "string"},
                    },
                }
            },
            "application/octet-stream": {"schema": {"format": "binary"}},
        },
    }
}


@router.post("", response={201: FileOut} | PROBLEMS, auth=may_upload, openapi_extra=_BODY)
def store_file(request: AuthenticatedRequest, query: Query[OneRequestQuery]) -> Status:
    """Send a small file in one request: the field `file` of a form, or the raw body."""
    if request.content_type == "multipart/form-data":
        file = _store_form(request, query)
    else:
        file = _store_raw(request, query)
    return Status(201, FileOut.of(file))


@router.get("", response={200: FileList} | PROBLEMS, auth=may_read)
def list_files(request: AuthenticatedRequest, query: Query[FileListQuery]) -> FileList:
    """Your files, newest first. `search` looks at the names of the newest 10,000."""
    return FileList.of(selectors.files_page(principal=request.principal, **query.model_dump()))


@router.get("/{uuid:file_id}", response={200: FileOut} | PROBLEMS, auth=may_read)
def get_file(request: AuthenticatedRequest, file_id: UUID) -> FileOut:
    return FileOut.of(selectors.get_file(principal=request.principal, file_id=file_id))


@router.api_operation(
    ["GET", "HEAD"],
    "/{uuid:file_id}/content",
    response={200: None} | PROBLEMS,
    url_name="file_content",
    auth=may_read,
    openapi_extra={
        "responses": {
            200: {"content": {"application/octet-stream": {"schema": {"format": "binary"}}}}
        }
    },
)
def get_content(request: AuthenticatedRequest, file_id: UUID) -> HttpResponseBase:
    """The bytes. Honours Range, If-None-Match and If-Range; the ETag is the SHA-256."""
    file = selectors.get_file(principal=request.principal, file_id=file_id)
    lifecycle.require_readable(file)
    return file_response(request, file)


@router.delete("/{uuid:file_id}", response={204: None} | PROBLEMS, auth=may_consume)
def delete_file(request: AuthenticatedRequest, file_id: UUID) -> Status:
    """Remove the file; its record stays. Safe to repeat."""
    lifecycle.delete_file(principal=request.principal, file_id=file_id)
    return Status(204, None)


@router.post("/{uuid:file_id}/consume", response={200: ConsumptionOut} | PROBLEMS, auth=may_consume)
def consume_file(request: AuthenticatedRequest, file_id: UUID) -> ConsumptionOut:
    """Take the file for processing: 200 to exactly one caller, 409 to all others."""
    consumption = lifecycle.consume_file(principal=request.principal, file_id=file_id)
    return ConsumptionOut.of_consumption(consumption)


@router.post("/{uuid:file_id}/extend", response={200: FileOut} | PROBLEMS, auth=may_upload)
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
                filename=query.filename or form.filename,
                size_bytes=form.file.size or 0,
                content_type=form.file.content_type or "",
            ),
            blocks=file_blocks(form.file),
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
        **query.model_dump(exclude={"filename"}),
        filename=filename,
        size_bytes=size_bytes,
        content_type=content_type,
    )
