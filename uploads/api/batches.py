"""/api/v1/batches: files that belong together."""

from uuid import UUID

from ninja import Router, Status

from accounts import rates
from accounts.authentication import AuthenticatedRequest, Authenticator
from accounts.models import TokenScope
from uploads import selectors
from uploads.api.schemas import BatchIn, BatchList, BatchOut, FileList
from uploads.files import batches
from uploads.models import UploadBatch

router = Router(tags=["Batches"])
may_open = Authenticator(TokenScope.UPLOAD, rate=rates.SESSIONS)
may_upload = Authenticator(TokenScope.UPLOAD)
may_read = Authenticator(TokenScope.READ)


@router.post("", response={201: BatchOut}, auth=may_open)
def create_batch(request: AuthenticatedRequest, body: BatchIn) -> Status:
    """Open a batch; name it in the sessions of its files.

    With `expected_files`, those that never came in by the time it is closed count as failed.
    """
    return Status(201, batches.create_batch(principal=request.principal, **dict(body)))


@router.get("", response={200: BatchList}, auth=may_read)
def list_batches(
    request: AuthenticatedRequest, limit: int = 50, cursor: str | None = None
) -> BatchList:
    return BatchList.of(
        selectors.batches_page(principal=request.principal, cursor=cursor, limit=limit)
    )


@router.get("/{uuid:batch_id}", response={200: BatchOut}, auth=may_read)
def get_batch(request: AuthenticatedRequest, batch_id: UUID) -> UploadBatch:
    return selectors.get_batch(principal=request.principal, batch_id=batch_id)


@router.get("/{uuid:batch_id}/files", response={200: FileList}, auth=may_read)
def list_batch_files(
    request: AuthenticatedRequest, batch_id: UUID, limit: int = 50, cursor: str | None = None
) -> FileList:
    page = selectors.batch_files_page(
        principal=request.principal, batch_id=batch_id, cursor=cursor, limit=limit
    )
    return FileList.of(page)


@router.post("/{uuid:batch_id}/close", response={200: BatchOut}, auth=may_upload)
def close_batch(
    request: AuthenticatedRequest, batch_id: UUID, expected_files: int | None = None
) -> UploadBatch:
    """Say that no more files will come. When all are final, `batch.completed` is announced.

    A batch that nothing happens to, with no file under way, is closed by itself after a while.
    """
    return batches.close_batch(
        principal=request.principal, batch_id=batch_id, expected_files=expected_files
    )
