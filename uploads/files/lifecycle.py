"""Stored files: consumed, extended, deleted."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from accounts.principals import Principal
from common.errors import Conflict, DooritoError, Gone, InvalidInput
from common.models import TimeStampedQuerySet
from uploads import selectors
from uploads.files.announce import announce_file
from uploads.files.expiry import latest_expiry, purge_after_consumption
from uploads.files.links import LinkKind, link
from uploads.models import (
    FileStatus,
    IngestFile,
    RunStatus,
    SessionStatus,
    WorkflowRun,
)
from uploads.receiving.sessions import abort_session, end_session
from uploads.workflows.queue import cancel_all

REMOVABLE = (FileStatus.UPLOADING, *IngestFile.WITH_POINTER)


@dataclass(frozen=True)
class Consumption:
    """What the one consumer of a file gets: a private link, good until `claim_expires_at`."""

    file: IngestFile
    claim_url: str
    claim_expires_at: datetime


def consume_file(*, principal: Principal, file_id: UUID) -> Consumption:
    """Take a file for processing: exactly one caller succeeds.

    From then on nobody else reads it, and its bytes go after the grace time.
    Raises NotFound, Conflict `already_consumed` or `file_not_stored`, Gone `file_deleted`.
    """
    file = selectors.get_file(principal=principal, file_id=file_id)
    now = timezone.now()
    purge_at = purge_after_consumption(now)
    with transaction.atomic():
        taken = IngestFile.objects.filter(
            id=file.id, status=FileStatus.STORED, expires_at__gt=now
        ).change(status=FileStatus.PROCESSED, processed_at=now, purge_at=purge_at)
        file = selectors.get_file(principal=principal, file_id=file_id)
        if not taken:
            raise _not_available(file)
        announce_file("file.processed", file)
    return Consumption(
        file=file, claim_url=link(LinkKind.CLAIM, file.id), claim_expires_at=purge_at
    )


def extend_file(*, principal: Principal, file_id: UUID, expires_at: datetime) -> IngestFile:
    """Keep a stored file longer.

    Raises InvalidInput `invalid_expiry` for an earlier time than now set, or beyond the maximum.
    """
    file = selectors.get_own_file(principal=principal, file_id=file_id)
    if file.status != FileStatus.STORED or file.stored_at is None or _expired(file):
        raise _not_available(file)
    now = timezone.now()
    latest = latest_expiry(file.stored_at)
    present = (file.expires_at or now) - timedelta(milliseconds=1)  # answers tell milliseconds
    if not max(now, present) <= expires_at <= latest:
        raise InvalidInput(
            "invalid_expiry",
            f"expires_at must not be before the present expiry, nor after {latest.isoformat()}.",
            latest=latest.isoformat(),
        )
    extended = IngestFile.objects.filter(
        id=file.id, status=FileStatus.STORED, expires_at__gt=now, expires_at__lt=expires_at
    ).change(expires_at=expires_at, expiry_notified_at=None)
    file = selectors.get_own_file(principal=principal, file_id=file_id)
    if not extended and (file.status != FileStatus.STORED or _expired(file)):
        raise _not_available(file)
    return file


def delete_file(*, principal: Principal, file_id: UUID) -> None:
    """Remove a stored or processed file before its time; an upload under way is aborted.

    The row stays as a tombstone. Repeating it is harmless.
    """
    file = selectors.get_own_file(principal=principal, file_id=file_id)
    if file.status == FileStatus.UPLOADING:
        abort_session(principal=principal, session_id=file.session.id)
        return
    _mark_deleted(
        IngestFile.objects.filter(id=file.id, status__in=IngestFile.WITH_POINTER), file_id=file.id
    )


def remove_file(*, file_id: UUID) -> None:
    """For administrators: as `delete_file`, whoever's file it is."""
    file = IngestFile.objects.select_related("session").get(id=file_id)
    if file.status == FileStatus.UPLOADING:
        end_session(
            file.session,
            status=SessionStatus.ABORTED,
            error=Gone("aborted", "An administrator aborted the upload."),
        )
        return
    _mark_deleted(
        IngestFile.objects.filter(id=file.id, status__in=IngestFile.WITH_POINTER), file_id=file.id
    )


def mark_expired(*, file_id: UUID) -> bool:
    """Remove a file that nobody has extended or consumed meanwhile, and that no run works on."""
    with transaction.atomic():
        # Who starts a run holds the file's row meanwhile: the run can be seen from here on.
        IngestFile.objects.select_for_update().get(id=file_id)
        return _mark_deleted(
            IngestFile.objects.filter(
                ~Exists(active_runs()),
                id=file_id,
                status=FileStatus.STORED,
                expires_at__lte=timezone.now(),
            ),
            file_id=file_id,
        )


def active_runs(statuses: Collection[str] = WorkflowRun.ACTIVE) -> QuerySet[WorkflowRun]:
    """Of the file of the outer query: what keeps it from expiring."""
    return WorkflowRun.objects.filter(file=OuterRef("pk"), status__in=statuses)


def consume_after_runs(*, file_id: UUID) -> None:
    """Consume a file that a completed workflow is done with, once no run is active on it.

    To be called at the end of a run, in the transaction that holds the file's row.
    """
    runs = WorkflowRun.objects.filter(file_id=file_id)
    if (
        runs.filter(status__in=WorkflowRun.ACTIVE).exists()
        or not runs.filter(status=RunStatus.COMPLETED, consumes_file=True).exists()
    ):
        return
    now = timezone.now()
    consumed = IngestFile.objects.filter(id=file_id, status=FileStatus.STORED).change(
        status=FileStatus.PROCESSED, processed_at=now, purge_at=purge_after_consumption(now)
    )
    if consumed:
        announce_file(
            "file.processed", IngestFile.objects.select_related("uploaded_by").get(id=file_id)
        )


def _mark_deleted(if_still: TimeStampedQuerySet, *, file_id: UUID) -> bool:
    """The first step of a removal: the bytes follow with the next purge."""
    now = timezone.now()
    with transaction.atomic():
        deleted = if_still.change(status=FileStatus.DELETED, deleted_at=now, purge_at=now)
        if deleted:
            cancel_all(file_id=file_id)
            announce_file(
                "file.deleted",
                IngestFile.objects.select_related("uploaded_by").get(id=file_id),
            )
    return deleted


def require_readable(file: IngestFile) -> None:
    """Raises Conflict `file_not_stored` or Gone `file_consumed`, `file_deleted`."""
    if file.status == FileStatus.PROCESSED:
        raise Gone("file_consumed", "The file was consumed.")
    if file.status != FileStatus.STORED or _expired(file):
        raise _not_available(file)


def require_claimable(file: IngestFile) -> None:
    """The consumer's private link: good until the bytes go. Raises Gone `file_purged`."""
    kept = file.purge_at is not None and timezone.now() < file.purge_at
    if file.status != FileStatus.PROCESSED or not kept:
        raise Gone("file_purged", "The file's bytes have been removed.")


def _not_available(file: IngestFile) -> DooritoError:
    if file.status == FileStatus.PROCESSED:
        return Conflict("already_consumed", "The file was consumed already.")
    if file.status == FileStatus.DELETED or _expired(file):
        return Gone("file_deleted", "The file has expired or was deleted.")
    if file.status == FileStatus.FAILED:
        return Gone("file_failed", f"The upload failed: {file.error_message}")
    return Conflict("file_not_stored", "The file is still being uploaded.")


def _expired(file: IngestFile) -> bool:
    return file.expires_at is not None and file.expires_at <= timezone.now()
