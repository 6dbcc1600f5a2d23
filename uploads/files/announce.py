"""Writes the events of files and batches. Call inside the transaction of the change."""

from accounts.principals import Actor
from common.models import OutboxEvent
from common.outbox.events import Subject, emit_event
from uploads import events
from uploads.files.links import LinkKind, link
from uploads.models import FileStatus, IngestFile, UploadBatch
from uploads.storage import backends, object_of, storage_for


def announce_file(event_type: str, file: IngestFile, *, actor: Actor) -> OutboxEvent | None:
    """One event per file and type (and expiry, for `file.expiring`), however often asked for.

    None of a workflow's result, which its run tells of, nor of a piece of a file. Raises
    ValueError for `file.uploaded` of a file that is not stored and whole.
    """
    if file.is_result or file.is_piece:
        return None
    if event_type == "file.uploaded":
        _require_stored(file)
    snapshot = events.file_snapshot(
        file, url=link(LinkKind.FILE, file.id), object_name=_object_name(file)
    )
    payload: events.FileEvent
    if file.status == FileStatus.FAILED:
        payload = events.FileFailed(
            file=snapshot,
            actor=events.actor(file.uploaded_by, actor),
            error=events.FailureReason(code=file.error_code, message=file.error_message),
        )
    else:
        payload = events.FileEvent(file=snapshot, actor=events.actor(file.uploaded_by, actor))
    return emit_event(
        event_type=event_type,
        idempotency_key=_fact(event_type, file),
        aggregate_type="file",
        aggregate_id=file.id,
        payload=payload.to_json(),
        subject=Subject(
            user_id=file.uploaded_by_id,
            batch_id=file.batch_id,
            content_type=file.detected_type or file.content_type,
        ),
    )


def announce_batch_completed(batch: UploadBatch, *, actor: Actor) -> OutboxEvent:
    return emit_event(
        event_type="batch.completed",
        idempotency_key=str(batch.id),
        aggregate_type="batch",
        aggregate_id=batch.id,
        payload=events.batch_event(batch, actor).to_json(),
        subject=Subject(user_id=batch.created_by_id, batch_id=batch.id),
    )


def _object_name(file: IngestFile) -> str:
    stored = file.storage_backend in backends() and file.storage_key
    return storage_for(file).objects.name_of(object_of(file)) if stored else file.storage_key


def _fact(event_type: str, file: IngestFile) -> str:
    """What happens once: an extended file expires again, everything else is once for all."""
    moments = {"file.processed": file.processed_at, "file.restored": file.updated_at}
    if moment := moments.get(event_type):  # a consumption that was undone may be repeated
        return f"{file.id}@{moment.isoformat()}"
    if event_type == "file.expiring" and file.expires_at:
        return f"{file.id}@{file.expires_at.isoformat()}"
    return str(file.id)


def _require_stored(file: IngestFile) -> None:
    whole = file.sha256 and file.storage_backend and file.storage_key and file.stored_at
    if file.status != FileStatus.STORED or not whole:
        raise ValueError(f"file {file.id} is {file.status}: only a stored file is announced")
