"""The payloads of the events of files and batches: typed, versioned, changed by addition only.

A payload is the `data` member of an event's envelope (see `common.outbox.events`). Those of runs
are in `uploads.workflows.events`.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from accounts import principals
from accounts.models import User
from accounts.principals import ActorKind
from common.outbox.payloads import READERS_ONLY, Payload
from uploads.models import IngestFile, UploadBatch


class StoragePointer(Payload):
    """Where the bytes are, for a runner that reads the storage itself."""

    backend: str
    bucket: str
    key: str


class FileSnapshot(Payload):
    """A file at the time of the event."""

    id: UUID
    original_filename: str
    relative_path: str
    """Its place in the folder that was uploaded; empty for a single file."""
    content_type: str
    """What the client said."""
    detected_type: str
    """What the bytes say."""
    size_bytes: int
    sha256: str
    """Of all its bytes, in lower-case hex; empty until it is stored."""
    storage: StoragePointer
    url: Annotated[str, READERS_ONLY]
    """A signed link to the bytes, good while the file is stored."""
    expires_at: datetime | None
    batch_id: UUID | None
    metadata: dict[str, Any]
    """What the client said of it, as it came."""


class Actor(Payload):
    """Whose file, batch or run it is, and who did this."""

    user_id: UUID | None
    """The owner's account; null once it is gone."""
    email: str | None
    """The owner's address."""
    kind: str = ActorKind.SYSTEM
    """Who did it: `user` (somebody logged in), `token` (a script), `grant` (a guest with an upload
    grant), `staff` (an administrator) or `system` (the portal itself)."""
    id: UUID | None = None
    """Of that account, token or grant."""
    label: str = ""
    """Its e-mail address or name, for people."""


class FailureReason(Payload):
    code: str
    """Stable: for programs."""
    message: str
    """For people."""


class FileEvent(Payload):
    file: FileSnapshot
    actor: Actor


class FileUploaded(FileEvent):
    """A file is stored: all of its bytes are there, checked, and ready to be fetched."""


class FileExpiring(FileEvent):
    """A stored file will soon expire; it can still be fetched, consumed or kept longer."""


class FileProcessed(FileEvent):
    """A runner consumed the file; its bytes will soon be removed."""


class FileRestored(FileEvent):
    """Staff undid a consumption: the file is stored again, and can be consumed."""


class FileDeleted(FileEvent):
    """A file expired or was deleted. Its record stays."""


class FileFailed(FileEvent):
    """An upload failed, was aborted, or was given up."""

    error: FailureReason


class BatchSnapshot(Payload):
    id: UUID
    name: str
    status: str
    """`complete`: all files are stored; `partial`: some; `failed`: none."""
    total_files: int
    stored_count: int
    failed_count: int


class BatchEvent(Payload):
    """A batch is closed, and each of its files is stored or has failed."""

    batch: BatchSnapshot
    actor: Actor


def file_snapshot(file: IngestFile, *, url: str, object_name: str) -> FileSnapshot:
    """`object_name` is what its bucket calls it."""
    return FileSnapshot(
        id=file.id,
        original_filename=file.original_filename,
        relative_path=file.relative_path,
        content_type=file.content_type,
        detected_type=file.detected_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        storage=StoragePointer(
            backend=file.storage_backend, bucket=file.storage_bucket, key=object_name
        ),
        url=url,
        expires_at=file.expires_at,
        batch_id=file.batch_id,
        metadata=file.metadata,
    )


def actor(owner: User | None, acting: principals.Actor) -> Actor:
    return Actor(
        user_id=owner.id if owner else None,
        email=owner.email if owner else None,
        kind=acting.kind,
        id=acting.id,
        label=acting.label,
    )


def batch_event(batch: UploadBatch, acting: principals.Actor) -> BatchEvent:
    return BatchEvent(
        batch=BatchSnapshot.model_validate(batch, from_attributes=True),
        actor=actor(batch.created_by, acting),
    )
