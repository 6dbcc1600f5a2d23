"""Batches: opened, filled, closed, completed."""

from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, IntegerField, Q, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Greatest, Now

from accounts.principals import PORTAL, Actor, Principal
from common.errors import Conflict, Forbidden
from common.models import TimeStampedQuerySet
from uploads import policy, selectors
from uploads.files import grants
from uploads.files.announce import announce_batch_completed
from uploads.files.expiry import batch_idle_before
from uploads.models import BatchStatus, UploadBatch, UploadGrant

MOST_EMPTY = 20  # open batches without a file, of one upload link

_OPEN = Q(status__in=UploadBatch.OPEN)


def create_batch(
    *, principal: Principal, name: str = "", expected_files: int | None = None
) -> UploadBatch:
    """Raises InvalidInput for what makes no sense, and for guests what `_require_openable` does."""
    grant = None
    if principal.grant_id is not None:
        grant = grants.get_grant(principal.grant_id)
        _require_openable(grant)
    return UploadBatch.objects.create(
        created_by=principal.owner,
        grant=grant,
        name=policy.check_batch_name(name) or (grant.name if grant else ""),
        expected_files=policy.check_expected_files(expected_files),
    )


def _require_openable(grant: UploadGrant) -> None:
    """Raises Forbidden `batch_by_guest`, Conflict `too_many_batches`."""
    if grant.batch_id is not None:
        raise Forbidden(
            "batch_by_guest",
            "All files that are sent with this upload link join the same batch. "
            "Leave batch_id out.",
        )
    empty = UploadBatch.objects.filter(grant=grant, total_files=0, closed_at__isnull=True)
    if empty[:MOST_EMPTY].count() == MOST_EMPTY:
        raise Conflict(
            "too_many_batches", "Batches were opened and not used: send files into those first."
        )


def close_batch(
    *, principal: Principal, batch_id: UUID, expected_files: int | None = None
) -> UploadBatch:
    """No further file may join. Closing a closed batch changes nothing.

    `expected_files` replaces what was said when the batch was opened: files may have been given up
    before they joined.
    """
    expected = policy.check_expected_files(expected_files)
    batch = selectors.get_batch(principal=principal, batch_id=batch_id)
    if expected is not None:
        UploadBatch.objects.filter(id=batch.id, closed_at__isnull=True).update(
            expected_files=expected
        )
    _close(UploadBatch.objects.filter(id=batch.id), batch.id, actor=principal.actor)
    return selectors.get_batch(principal=principal, batch_id=batch_id)


def idle_batches() -> TimeStampedQuerySet:
    """Open batches without recent activity and without files under way."""
    return UploadBatch.objects.filter(
        closed_at__isnull=True,
        total_files=F("stored_count") + F("failed_count"),
        updated_at__lt=batch_idle_before(),
    )


def close_if_idle(batch_id: UUID) -> bool:
    """Close a batch whose maker went away; not one that a file has joined meanwhile."""
    return _close(idle_batches().filter(id=batch_id), batch_id, actor=PORTAL)


def add_file(*, owner_id: UUID | None, batch_id: UUID) -> None:
    """Count a new file in. Raises NotFound, or Conflict `batch_closed`."""
    _join(owner_id, batch_id)


def add_stored_file(*, owner_id: UUID | None, batch_id: UUID) -> None:
    """Like `add_file`, for a file that is stored already.

    One statement, at the end of the transaction: files of a batch that come at once wait for one
    another's commits.
    """
    _join(owner_id, batch_id, stored_count=F("stored_count") + 1)


def _join(owner_id: UUID | None, batch_id: UUID, **counters: Combinable) -> None:
    batches = UploadBatch.objects.filter(id=batch_id, created_by=owner_id)
    joined = batches.filter(closed_at__isnull=True).change(
        total_files=F("total_files") + 1, status=BatchStatus.IN_PROGRESS, **counters
    )
    if joined:
        return
    if not batches.exists():
        raise selectors.batch_not_found()
    raise Conflict("batch_closed", "The batch is closed; more files need a new one.")


def remove_file(batch_id: UUID, *, actor: Actor) -> None:
    """Take a file that is neither stored nor failed out of the batch's count."""
    UploadBatch.objects.filter(id=batch_id).update(total_files=F("total_files") - 1)
    complete_if_final(batch_id, actor=actor)


def count_stored(batch_id: UUID | None, *, actor: Actor) -> None:
    _count(batch_id, "stored_count", actor=actor)


def count_failed(batch_id: UUID | None, *, actor: Actor) -> None:
    _count(batch_id, "failed_count", actor=actor)


def complete_if_final(batch_id: UUID, *, actor: Actor) -> None:
    """Settle a closed batch whose every file is final; exactly one caller announces it."""
    settled = UploadBatch.objects.filter(
        _OPEN,
        id=batch_id,
        closed_at__isnull=False,
        total_files=F("stored_count") + F("failed_count"),
    ).change(
        status=Case(
            When(failed_count=0, then=Value(BatchStatus.COMPLETE)),
            When(stored_count=0, then=Value(BatchStatus.FAILED)),
            default=Value(BatchStatus.PARTIAL),
        )
    )
    if settled:
        batch = UploadBatch.objects.select_related("created_by").get(id=batch_id)
        announce_batch_completed(batch, actor=actor)


def _close(found: TimeStampedQuerySet, batch_id: UUID, *, actor: Actor) -> bool:
    """Close the batch if it is among those `found`; files that never came count as failed."""
    expected = Coalesce(F("expected_files"), Value(0), output_field=IntegerField())
    with transaction.atomic():
        closed = found.filter(closed_at__isnull=True).change(
            closed_at=Now(),
            total_files=Greatest(F("total_files"), expected),
            failed_count=F("failed_count") + Greatest(expected - F("total_files"), Value(0)),
        )
        complete_if_final(batch_id, actor=actor)
    return closed


def _count(batch_id: UUID | None, counter: str, *, actor: Actor) -> None:
    """Count one file as final; the row's lock makes concurrent counts exact."""
    if batch_id is None:
        return
    UploadBatch.objects.filter(id=batch_id).update(**{counter: F(counter) + 1})
    complete_if_final(batch_id, actor=actor)
