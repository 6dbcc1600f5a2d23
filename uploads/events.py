"""The payloads of the events that uploads emits: typed, versioned, changed by addition only.

A payload is the `data` member of an event's envelope (see `common.services.outbox`).
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from uploads.models import IngestFile, UploadBatch


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class StoragePointer(_Payload):
    backend: str
    bucket: str
    key: str


class FileSnapshot(_Payload):
    """A file at the time of the event. `url` is a signed link, good while the file is stored."""

    id: UUID
    original_filename: str
    relative_path: str
    content_type: str
    detected_type: str
    size_bytes: int
    sha256: str
    storage: StoragePointer
    url: str
    expires_at: datetime | None
    batch_id: UUID | None
    metadata: dict[str, Any]


class Actor(_Payload):
    """Whose file or batch it is; nobody's once the account is gone."""

    user_id: UUID | None
    email: str | None


class FailureReason(_Payload):
    code: str
    message: str


class FileEvent(_Payload):
    """`file.uploaded`, `file.expiring`, `file.processed`, `file.deleted`."""

    file: FileSnapshot
    actor: Actor


class FileFailed(FileEvent):
    """`file.failed`."""

    error: FailureReason


class BatchSnapshot(_Payload):
    id: UUID
    name: str
    status: str
    total_files: int
    stored_count: int
    failed_count: int


class BatchEvent(_Payload):
    """`batch.completed`."""

    batch: BatchSnapshot
    actor: Actor


def file_snapshot(file: IngestFile, *, url: str) -> FileSnapshot:
    return FileSnapshot(
        id=file.id,
        original_filename=file.original_filename,
        relative_path=file.relative_path,
        content_type=file.content_type,
        detected_type=file.detected_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        storage=StoragePointer(
            backend=file.storage_backend, bucket=file.storage_bucket, key=file.storage_key
        ),
        url=url,
        expires_at=file.expires_at,
        batch_id=file.batch_id,
        metadata=file.metadata,
    )


def file_actor(file: IngestFile) -> Actor:
    owner = file.uploaded_by
    return Actor(user_id=owner.id if owner else None, email=owner.email if owner else None)


def batch_event(batch: UploadBatch) -> BatchEvent:
    owner = batch.created_by
    return BatchEvent(
        batch=BatchSnapshot.model_validate(batch, from_attributes=True),
        actor=Actor(user_id=owner.id if owner else None, email=owner.email if owner else None),
    )
