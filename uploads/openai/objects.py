"""OpenAI's objects, and the ids by which they are known: a prefix and a UUID without dashes."""

from datetime import datetime
from typing import Any
from uuid import UUID

from common.errors import NotFound
from uploads.models import FileStatus, IngestFile
from uploads.receiving.assembling import Assembly

FILE = "file-"
UPLOAD = "upload_"
PART = "part_"
PURPOSE_OF_OTHERS = "user_data"  # of files that came through another door


def id_of(prefix: str, key: UUID) -> str:
    return f"{prefix}{key.hex}"


def key_of(prefix: str, text: str) -> UUID:
    """Raises NotFound `not_found` for what can be no such id."""
    try:
        return UUID(text.removeprefix(prefix)) if text.startswith(prefix) else UUID("")
    except ValueError as exc:
        raise NotFound("not_found", f"No such object: {text[:100]}.") from exc


_STATUS = {FileStatus.CHECKING: "uploaded", FileStatus.FAILED: "error"}  # else processed


def file_object(file: IngestFile) -> dict[str, Any]:
    """`sha256` is the portal's own. A file that is being checked is `uploaded`, not `processed`."""
    return {
        "id": id_of(FILE, file.id),
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": _seconds(file.created_at),
        "expires_at": _seconds(file.expires_at) if file.expires_at else None,
        "filename": file.original_filename,
        "purpose": file.metadata.get("purpose") or PURPOSE_OF_OTHERS,
        "status": _STATUS.get(FileStatus(file.status), "processed"),
        "status_details": file.error_message or None,
        "sha256": file.sha256,
    }


def file_list(files: list[IngestFile], *, has_more: bool) -> dict[str, Any]:
    data = [file_object(file) for file in files]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


def upload_object(upload: Assembly) -> dict[str, Any]:
    return {
        "id": id_of(UPLOAD, upload.session_id),
        "object": "upload",
        "bytes": upload.size_bytes,
        "created_at": _seconds(upload.created_at),
        "expires_at": _seconds(upload.expires_at),
        "filename": upload.filename,
        "purpose": upload.door_data.get("purpose", PURPOSE_OF_OTHERS),
        "status": upload.state.value,
        "file": file_object(upload.file) if upload.file else None,
    }


def part_object(part_id: UUID, upload_id: UUID, *, created_at: datetime) -> dict[str, Any]:
    return {
        "id": id_of(PART, part_id),
        "object": "upload.part",
        "created_at": _seconds(created_at),
        "upload_id": id_of(UPLOAD, upload_id),
    }


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
