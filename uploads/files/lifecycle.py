"""Stored files: consumed, extended, deleted.

Whether one has expired is judged by the database's time at its reading (`read_at`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from accounts.principals import Actor, Principal
from common import audit
from common.errors import Conflict, DooritoError, Gone, InvalidInput, NotFound
from uploads import selectors
from uploads.files import states
from uploads.files.expiry import latest_expiry, purge_after_consumption
from uploads.files.hooks import give_up_upload
from uploads.files.links import LinkKind, link
from uploads.models import FileStatus, IngestFile

REMOVABLE = (*IngestFile.UNDER_WAY, *IngestFile.WITH_POINTER)


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
    found = selectors.get_file(principal=principal, file_id=file_id)
    with transaction.atomic():
        purge_at = purge_after_consumption()
        file = states.consume(found.id, purge_at=purge_at, actor=principal.actor)
        if file and file.uploaded_by_id != principal.owner.pk:
            _record("consumed", file)
    if file is None or file.purge_at is None:
        raise _not_available(selectors.get_file(principal=principal, file_id=file_id))
    return Consumption(
        file=file, claim_url=link(LinkKind.CLAIM, file.id), claim_expires_at=file.purge_at
    )


def restore_file(*, file_id: UUID, actor: Actor) -> IngestFile:
    """Undo the consumption of anybody's file while its bytes are there: for administrators.

    The consumer's private link ends. Raises NotFound, Conflict `not_consumed`, Gone `file_purged`.
    """
    with transaction.atomic():
        restored = states.give_back(file_id, actor=actor)
        if restored:
            _record("restored", restored)
            return restored
    file = IngestFile.objects.filter(id=file_id).first()
    if file is None:
        raise NotFound("file_not_found", "There is no such file.")
    if file.status != FileStatus.PROCESSED:
        raise Conflict("not_consumed", "The file is not consumed: there is nothing to undo.")
    raise Gone("file_purged", "The file's bytes have been removed.")


def extend_file(*, principal: Principal, file_id: UUID, expires_at: datetime) -> IngestFile:
    """Keep a stored file longer.

    Raises InvalidInput `invalid_expiry` for an earlier time than now set, or beyond the maximum.
    """
    file = selectors.get_own_file(principal=principal, file_id=file_id)
    if file.status != FileStatus.STORED or file.stored_at is None or _expired(file):
        raise _not_available(file)
    latest = latest_expiry(file.stored_at)
    present = file.expires_at or file.read_at
    told = present - timedelta(milliseconds=1)  # answers tell milliseconds
    if not max(file.read_at, told) <= expires_at <= latest:
        raise InvalidInput(
            "invalid_expiry",
            f"expires_at must not be before the present expiry, nor after {latest.isoformat()}.",
            latest=latest.isoformat(),
        )
    extended = states.extend(file.id, expires_at=expires_at)
    file = selectors.get_own_file(principal=principal, file_id=file_id)
    if not extended and (file.status != FileStatus.STORED or _expired(file)):
        raise _not_available(file)
    return file


def keep_at_least(file: IngestFile, *, seconds: int | None) -> IngestFile:
    """Keep a file that was just stored so long, within the maximum; never shorter than others."""
    if seconds is None or file.stored_at is None or file.expires_at is None:
        return file
    wanted = min(file.stored_at + timedelta(seconds=seconds), latest_expiry(file.stored_at))
    if wanted > file.expires_at and states.extend(file.id, expires_at=wanted):
        return selectors.get_linked_file(file.id)
    return file


def delete_file(*, principal: Principal, file_id: UUID) -> None:
    """Remove a stored or processed file before its time; an upload under way is aborted.

    The row stays as a tombstone. Repeating it is harmless.
    """
    file = selectors.get_own_file(principal=principal, file_id=file_id)
    error = Gone("aborted", "The upload was aborted.")
    if file.status not in IngestFile.UNDER_WAY:
        states.delete(file.id, actor=principal.actor)
    elif not give_up_upload(file_id=file.id, error=error, actor=principal.actor):
        _require_given_up(selectors.get_own_file(principal=principal, file_id=file_id))


def remove_file(*, file_id: UUID, actor: Actor) -> None:
    """Like `delete_file`, but for any owner's file: for administrators."""
    file = IngestFile.objects.get(id=file_id)
    _record("removed", file)
    if file.status not in IngestFile.UNDER_WAY:
        states.delete(file.id, actor=actor)
        return
    error = Gone("aborted", "An administrator aborted the upload.")
    give_up_upload(file_id=file.id, error=error, actor=actor)


def _record(action: str, file: IngestFile) -> None:
    """Of what is done with somebody else's file."""
    audit.record(f"file.{action}", subject="file", subject_id=file.id, label=file.original_filename)


def _require_given_up(file: IngestFile) -> None:
    """Raises Conflict `session_complete` for a file that was stored just now."""
    if file.status != FileStatus.FAILED:
        raise Conflict("session_complete", "The upload is complete; delete the file instead.")


def require_readable(file: IngestFile) -> None:
    """Raises Conflict `file_not_stored` or Gone `file_consumed`, `file_deleted`."""
    if file.status == FileStatus.PROCESSED:
        raise Gone("file_consumed", "The file was consumed.")
    if file.status != FileStatus.STORED or _expired(file):
        raise _not_available(file)


def require_claimable(file: IngestFile) -> None:
    """The consumer's private link: good until the bytes go. Raises Gone `file_purged`."""
    kept = file.purge_at is not None and file.read_at < file.purge_at
    if file.status != FileStatus.PROCESSED or not kept:
        raise Gone("file_purged", "The file's bytes have been removed.")


def _not_available(file: IngestFile) -> DooritoError:
    if file.status == FileStatus.PROCESSED:
        return Conflict("already_consumed", "The file was consumed already.")
    if file.status == FileStatus.DELETED or _expired(file):
        return Gone("file_deleted", "The file has expired or was deleted.")
    if file.status == FileStatus.FAILED:
        return Gone("file_failed", f"The file is not there: {file.error_message}")
    if file.status == FileStatus.CHECKING:
        return Conflict("file_not_stored", "The file is being checked; it is stored afterwards.")
    return Conflict("file_not_stored", "The file is still being uploaded.")


def _expired(file: IngestFile) -> bool:
    return file.expires_at is not None and file.expires_at <= file.read_at
