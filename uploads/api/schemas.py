"""What the API takes and gives, as JSON."""

from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from django.urls import reverse
from ninja import Schema
from pydantic import Field, StrictInt

from common.http.schemas import BodyWithNulls, ErrorOut, Moment, RequestBody
from common.pagination import Page
from uploads import selectors
from uploads.files.acceptance.checks import waits_for_something
from uploads.files.expiry import session_expiry
from uploads.files.lifecycle import Consumption
from uploads.models import FileStatus, IngestFile, UploadBatch, UploadSession
from uploads.receiving.direct import DirectPage, DirectPart
from uploads.receiving.requests import UploadRequest


class SessionIn(BodyWithNulls):
    filename: str
    size_bytes: StrictInt
    content_type: str = ""
    relative_path: str = ""
    sha256: str = ""
    batch_id: UUID | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    idempotency_key: str | None = None
    chunk_size_bytes: StrictInt | None = None
    transfer: Literal["portal", "direct"] = "portal"

    def to_request(self) -> UploadRequest:
        return UploadRequest(**dict(self))


class ReadingOut(Schema):
    """How much of a finished upload was read through, of `size_bytes`."""

    hashed_bytes: int
    size_bytes: int
    since: datetime


class CheckingOut(Schema):
    """A file that is all there and not stored yet, as it is being checked.

    `waits_for` says why that takes so long, such as `scanner_unavailable`; null: it is its turn, or
    will be soon.
    """

    waits_for: ErrorOut | None


class SessionOut(Schema):
    """`received_parts` are ranges of part numbers, `1-50,52`. The status is `finalizing`, with how
    far that is, while a worker reads the upload through or, with `checking`, checks the file.

    An upload that came through another door than this API (`door`) has no numbered parts: its
    `chunk_size_bytes` and `total_parts` are null.
    """

    session_id: UUID
    file_id: UUID
    batch_id: UUID | None
    filename: str
    relative_path: str
    status: str
    transfer: Literal["portal", "direct"]
    door: str
    size_bytes: int
    chunk_size_bytes: int | None
    total_parts: int | None
    received_parts: str
    received_parts_count: int
    received_bytes: int
    created_at: datetime
    expires_at: datetime
    error: ErrorOut | None
    finalizing: ReadingOut | None
    checking: CheckingOut | None

    @classmethod
    def of(cls, session: UploadSession) -> "SessionOut":
        file = session.file
        reading = _reading(session)
        return cls(
            session_id=session.id,
            file_id=file.id,
            batch_id=file.batch_id,
            filename=file.original_filename,
            relative_path=file.relative_path,
            status="finalizing" if reading else session.status,
            transfer=cast(Any, session.transfer),
            door=session.door,
            size_bytes=file.size_bytes,
            chunk_size_bytes=session.chunk_size_bytes,
            total_parts=session.total_parts,
            received_parts=selectors.received_ranges(session),
            received_parts_count=session.received_parts_count,
            received_bytes=session.received_bytes,
            created_at=session.created_at,
            expires_at=session_expiry(session.last_activity_at),
            error=_error(session.error_code, session.error_message),
            finalizing=reading,
            checking=_checking(file),
        )


class UnfinishedOut(Schema):
    """An upload that can go on: what it is, and how much of it the server keeps."""

    session_id: UUID
    file_id: UUID
    batch_id: UUID | None
    filename: str
    relative_path: str
    size_bytes: int
    received_bytes: int
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, session: UploadSession) -> "UnfinishedOut":
        file = session.file
        return cls(
            session_id=session.id,
            file_id=file.id,
            batch_id=file.batch_id,
            filename=file.original_filename,
            relative_path=file.relative_path,
            size_bytes=file.size_bytes,
            received_bytes=session.received_bytes,
            created_at=session.created_at,
            expires_at=session_expiry(session.last_activity_at),
        )


class UnfinishedList(Schema):
    items: list[UnfinishedOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page[UploadSession]) -> "UnfinishedList":
        items = [UnfinishedOut.of(session) for session in page.items]
        return cls(items=items, next_cursor=page.next_cursor)


class PartOut(Schema):
    """`digest` is `algorithm:hex`."""

    part_number: int
    offset_bytes: int
    size_bytes: int
    digest: str
    received_parts_count: int
    total_parts: int


class DirectPartOut(Schema):
    """PUT exactly `size_bytes` to `url` with `headers`; no url: the store has the part."""

    part_number: int
    offset_bytes: int
    size_bytes: int
    received: bool
    url: str | None
    headers: dict[str, str]

    @classmethod
    def of(cls, part: DirectPart) -> "DirectPartOut":
        return cls(
            part_number=part.number,
            offset_bytes=part.offset_bytes,
            size_bytes=part.size_bytes,
            received=part.url is None,
            url=part.url.url if part.url else None,
            headers=part.url.headers if part.url else {},
        )


class DirectPartList(Schema):
    items: list[DirectPartOut]
    next_part: int | None
    expires_at: datetime

    @classmethod
    def of(cls, page: DirectPage) -> "DirectPartList":
        return cls(
            items=[DirectPartOut.of(part) for part in page.parts],
            next_part=page.next_part,
            expires_at=page.expires_at,
        )


class FileOut(Schema):
    id: UUID
    original_filename: str
    relative_path: str
    content_type: str
    detected_type: str
    size_bytes: int
    sha256: str
    status: str
    batch_id: UUID | None
    metadata: dict[str, Any]
    created_at: datetime
    stored_at: datetime | None
    expires_at: datetime | None
    processed_at: datetime | None
    deleted_at: datetime | None
    error: ErrorOut | None
    checking: CheckingOut | None
    content_url: str

    @classmethod
    def of(cls, file: IngestFile) -> "FileOut":
        return cls(**_file_values(file))


class FileList(Schema):
    items: list[FileOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page[IngestFile]) -> "FileList":
        return cls(items=[FileOut.of(file) for file in page.items], next_cursor=page.next_cursor)


class ConsumptionOut(FileOut):
    """`claim_url` is for the one consumer: a private link to the bytes until they are removed."""

    claim_url: str
    claim_expires_at: datetime

    @classmethod
    def of_consumption(cls, consumption: Consumption) -> "ConsumptionOut":
        return cls(
            **_file_values(consumption.file),
            claim_url=consumption.claim_url,
            claim_expires_at=consumption.claim_expires_at,
        )


class ExtendIn(RequestBody):
    expires_at: Moment


class BatchIn(BodyWithNulls):
    name: str = ""
    expected_files: StrictInt | None = None


class BatchOut(Schema):
    id: UUID
    name: str
    status: str
    total_files: int
    stored_count: int
    failed_count: int
    expected_files: int | None
    created_at: datetime
    closed_at: datetime | None


class BatchList(Schema):
    items: list[BatchOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page[UploadBatch]) -> "BatchList":
        return cls(
            items=[BatchOut.from_orm(batch) for batch in page.items], next_cursor=page.next_cursor
        )


def _reading(session: UploadSession) -> ReadingOut | None:
    if session.finalizing_at is None or session.status not in UploadSession.OPEN:
        return None
    return ReadingOut(
        hashed_bytes=session.hashed_bytes,
        size_bytes=session.length_bytes or 0,
        since=session.finalizing_at,
    )


def _error(code: str, message: str) -> ErrorOut | None:
    return ErrorOut(code=code, message=message) if code else None


def _checking(file: IngestFile) -> CheckingOut | None:
    if file.status != FileStatus.CHECKING:
        return None
    waits = waits_for_something(file)
    return CheckingOut(waits_for=_error(file.error_code, file.error_message) if waits else None)


def _file_values(file: IngestFile) -> dict[str, Any]:
    same = set(FileOut.model_fields) - {"error", "checking", "content_url"}
    checking = _checking(file)
    return {name: getattr(file, name) for name in same} | {
        "error": None if checking else _error(file.error_code, file.error_message),
        "checking": checking,
        "content_url": reverse("api-1:file_content", args=[file.id]),
    }
