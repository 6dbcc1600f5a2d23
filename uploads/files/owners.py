"""Deleting accounts: refused while they have files; the records left behind lose their owner."""

from uuid import UUID

from common.errors import Conflict
from uploads.files import states, usage
from uploads.models import UploadBatch, UploadGrant, UploadSession, WorkflowRun


def require_no_files(owner_id: UUID) -> None:
    """Raises Conflict `account_has_files` while files of an owner are uploaded or stored."""
    count = usage.usage_of(owner_id).files
    if count:
        raise Conflict(
            "account_has_files",
            f"The account has {count} file{'' if count == 1 else 's'}. Switch it off (not active), "
            "and delete it once they have expired or were deleted.",
            files=count,
        )


def let_go(owner_id: UUID) -> None:
    """Detach remaining records from an owner, in the transaction that deletes the account."""
    UploadSession.objects.filter(created_by=owner_id).update(created_by=None)
    states.disown(owner_id)
    WorkflowRun.objects.filter(owner=owner_id).update(owner=None)
    WorkflowRun.objects.filter(started_by=owner_id).update(started_by=None)
    list(UploadGrant.objects.select_for_update().filter(owner=owner_id))  # deleted with it
    UploadBatch.objects.filter(created_by=owner_id).update(created_by=None)
