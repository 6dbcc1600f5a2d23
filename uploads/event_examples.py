"""The events of files and batches as they are published: one example of each."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from common.outbox.payloads import EXAMPLE_TIME, Payload
from uploads import events

FILE_ID = UUID("019ceb9a-f1d0-7c3a-9d52-4be07a6c1f28")
_BATCH_ID = UUID("019ceb9a-e0a4-7b11-8c6f-35d9f02e7b64")
ACTOR = events.Actor(
    user_id=UUID("019ceb80-0c10-7e55-b2f4-91a6c3d8e70f"),
    email="ada@example.org",
    kind="token",
    id=UUID("019ceb81-3b2c-7a90-8f17-5d0e6c4b9a21"),
    label="the nightly export",
)
FILE = events.FileSnapshot(
    id=FILE_ID,
    original_filename="report.pdf",
    relative_path="2026/report.pdf",
    content_type="application/pdf",
    detected_type="application/pdf",
    size_bytes=482_133,
    sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    storage=events.StoragePointer(backend="local", bucket="", key=FILE_ID.hex),
    url=f"https://portal.example.org/f/{FILE_ID.hex}:signature",
    expires_at=EXAMPLE_TIME + timedelta(hours=24),
    batch_id=_BATCH_ID,
    metadata={"project": "north"},
)
_FAILED_FILE = FILE.model_copy(
    update={
        "detected_type": "",
        "sha256": "",
        "storage": events.StoragePointer(backend="", bucket="", key=""),
        "expires_at": None,
    }
)
OF_FILES: Mapping[str, Payload] = {
    "file.uploaded": events.FileUploaded(file=FILE, actor=ACTOR),
    "file.expiring": events.FileExpiring(file=FILE, actor=ACTOR),
    "file.processed": events.FileProcessed(file=FILE, actor=ACTOR),
    "file.restored": events.FileRestored(file=FILE, actor=ACTOR),
    "file.deleted": events.FileDeleted(file=FILE, actor=ACTOR),
    "file.failed": events.FileFailed(
        file=_FAILED_FILE,
        actor=ACTOR,
        error=events.FailureReason(code="aborted", message="The upload was aborted."),
    ),
}
OF_BATCHES: Mapping[str, Payload] = {
    "batch.completed": events.BatchEvent(
        batch=events.BatchSnapshot(
            id=_BATCH_ID,
            name="Reports of March",
            status="partial",
            total_files=12,
            stored_count=11,
            failed_count=1,
        ),
        actor=ACTOR,
    ),
}
