"""The ledger of files: here, and nowhere else, a file's row is made and changes.

A change of state is one conditional UPDATE whose row count says whether it happened, in one short
transaction with all that goes with it: the event, the batch's count, what the rooms above add
(`uploads.files.hooks`), and the owner's usage. A caller that has more to change opens the
transaction itself. The event says who did it: `actor`, or the portal itself.

Locks are taken in one order: the session's row, the file's, those of its runs, the grant's, the
batch's, the owner's usage. Whoever changes several files in one transaction locks all of them
first.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, Q, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.db.transaction import Atomic

from accounts.models import User
from accounts.principals import PORTAL, Actor
from common import journal, lengths
from common.errors import Conflict, DooritoError
from common.models import TimeStampedQuerySet
from uploads.files import batches, grants, hooks, limits, notices, usage
from uploads.files.acceptance.base import Proof
from uploads.files.acceptance.checks import Accepted
from uploads.files.announce import announce_file
from uploads.files.expiry import first_expiry
from uploads.files.usage import Charge
from uploads.models import FileStatus, IngestFile
from uploads.storage import StoredObject

ALWAYS = Q()
_UNDER_WAY = Q(status__in=IngestFile.UNDER_WAY)


@dataclass(frozen=True)
class NewFile:
    """What is known of a file when its row is made."""

    id: UUID
    owner: User | None
    filename: str
    size_bytes: int
    content_type: str = ""  # as declared
    relative_path: str = ""
    batch_id: UUID | None = None
    grant_id: UUID | None = None  # under which a guest sends it
    metadata: dict[str, Any] = field(default_factory=dict)
    is_result: bool = False  # made by a workflow
    is_piece: bool = False  # to be put together with others


def begin(new: NewFile) -> IngestFile:
    """A file whose upload begins; the caller opens a session for it in the same transaction.

    Raises NotFound `batch_not_found`, Conflict `batch_closed`, and what `grants.charge` and
    `limits.enforce` raise.
    """
    with _one_transaction():
        _charge_grant(new)
        if new.batch_id:
            batches.add_file(owner_id=_owner_id(new), batch_id=new.batch_id)
        file = _insert(new, status=FileStatus.UPLOADING)
        _charge_owner(usage.charge(file, was=None), file)
    return file


def declare_size(file_id: UUID, *, size_bytes: int) -> bool:
    """The size of a file whose upload began without one. (Until then it counts as 0 bytes.)

    Raises what `limits.enforce` raises.
    """
    unsized = IngestFile.objects.filter(id=file_id, status=FileStatus.UPLOADING, size_bytes=0)
    with _one_transaction():
        declared = unsized.change(size_bytes=size_bytes)
        if declared:
            file = _changed(file_id)
            if file.grant_id:
                grants.charge_size(file.grant_id, size_bytes=size_bytes)
            _charge_owner(usage.charge_size(file), file)
    return declared


def hold(file_id: UUID, proof: Proof, *, waits_for: DooritoError) -> IngestFile:
    """The upload is whole, and its acceptance is still to be decided: it is to be checked.

    Raises Conflict `file_not_uploading`.
    """
    uploading = IngestFile.objects.filter(id=file_id, status=FileStatus.UPLOADING)
    with _one_transaction():
        if not uploading.change(status=FileStatus.CHECKING, **_proven(proof), **_reason(waits_for)):
            raise _not_uploading()
        file = _changed(file_id)
        _note("file_held", file, PORTAL, code=waits_for.code)
    return file


def hold_new(new: NewFile, proof: Proof, *, waits_for: DooritoError) -> IngestFile:
    """The same for a file that has no row yet; the caller opens a session for it. Raises as
    `begin`.
    """
    with _one_transaction():
        _charge_grant(new)
        if new.batch_id:
            batches.add_file(owner_id=_owner_id(new), batch_id=new.batch_id)
        values = _proven(proof) | _reason(waits_for)
        file = _insert(new, status=FileStatus.CHECKING, **values)
        _note("file_held", file, PORTAL, code=waits_for.code)
        _charge_owner(usage.charge(file, was=None), file)
    return file


def wait_on(file_id: UUID, *, waits_for: DooritoError) -> bool:
    """A file that is being checked waits for something else, or still."""
    checking = IngestFile.objects.filter(id=file_id, status=FileStatus.CHECKING)
    return checking.change(**_reason(waits_for))


def store(file_id: UUID, accepted: Accepted, *, actor: Actor) -> IngestFile:
    """The upload is whole and accepted. Raises Conflict `file_not_uploading`."""
    under_way = IngestFile.objects.filter(_UNDER_WAY, id=file_id)
    with _one_transaction():
        if not under_way.change(status=FileStatus.STORED, **_stored_values(accepted)):
            raise _not_uploading()
        file = _changed(file_id)
        _tell_stored(file, actor)
        batches.count_stored(file.batch_id, actor=actor)
        usage.charge(file, was=FileStatus.UPLOADING)
    return file


def store_new(new: NewFile, accepted: Accepted, *, actor: Actor) -> IngestFile:
    """A file whose bytes are stored before it has a row, without a session.

    Raises NotFound `batch_not_found`, Conflict `batch_closed`, and what `grants.charge` and
    `limits.enforce` raise.
    """
    with _one_transaction():
        _charge_grant(new)
        file = _insert(new, status=FileStatus.STORED, **_stored_values(accepted))
        _tell_stored(file, actor)
        if new.batch_id:
            batches.add_stored_file(owner_id=_owner_id(new), batch_id=new.batch_id)
        _charge_owner(usage.charge(file, was=None), file)
    return file


def fail(
    file_id: UUID, error: DooritoError, *, actor: Actor, purge_at: Combinable | None = None
) -> bool:
    """The upload ended without a stored file, for `error`.

    Its bytes are removed with it, or kept apart until `purge_at`.
    """
    under_way = IngestFile.objects.filter(_UNDER_WAY, id=file_id)
    with _one_transaction():
        failed = under_way.change(status=FileStatus.FAILED, purge_at=purge_at, **_reason(error))
        if failed:
            file = _changed(file_id)
            _note("file_failed", file, actor, code=error.code)
            announce_file("file.failed", file, actor=actor)
            if file.grant_id:
                grants.give_back(file.grant_id, size_bytes=file.size_bytes)
            batches.count_failed(file.batch_id, actor=actor)
            usage.charge(file, was=FileStatus.UPLOADING)
    return failed


def lose(file_id: UUID, error: DooritoError) -> bool:
    """The bytes of a stored file are gone, and nobody removed them."""
    with _one_transaction():
        lost = _stored(file_id).change(
            status=FileStatus.FAILED, purge_at=Now(), purged_at=Now(), **_reason(error)
        )
        if lost:
            file = _changed(file_id)
            for call in hooks.on_deleted:
                call(file)
            announce_file("file.failed", file, actor=PORTAL)
            usage.charge(file, was=FileStatus.STORED)
    return lost


def leave_batch(file_id: UUID, *, batch_id: UUID, actor: Actor) -> None:
    """Another upload of the same file takes this one's place: its batch forgets it."""
    under_way = IngestFile.objects.filter(_UNDER_WAY, id=file_id, batch_id=batch_id)
    with _one_transaction():
        if under_way.change(batch=None):
            batches.remove_file(batch_id, actor=actor)


def consume(file_id: UUID, *, purge_at: Combinable, actor: Actor) -> IngestFile | None:
    """For a caller who asks for a file to process: exactly one gets it, before it expires.

    Its bytes stay until `purge_at`.
    """
    unexpired = _stored(file_id).filter(expires_at__gt=Now())
    return _consume(unexpired, file_id, purge_at=purge_at, actor=actor)


def give_back(file_id: UUID, *, actor: Actor) -> IngestFile | None:
    """Undo a consumption whose bytes are still there. The file is kept as long as a new one would
    be where its own expiry has passed.
    """
    kept = IngestFile.objects.filter(
        id=file_id, status=FileStatus.PROCESSED, purge_at__gt=Now(), purged_at__isnull=True
    )
    with _one_transaction():
        given_back = kept.change(
            status=FileStatus.STORED,
            processed_at=None,
            purge_at=None,
            expires_at=Case(
                When(expires_at__gt=Now(), then=F("expires_at")), default=first_expiry()
            ),
        )
        if not given_back:
            return None
        file = _changed(file_id)
        announce_file("file.restored", file, actor=actor)
        usage.charge(file, was=FileStatus.PROCESSED)
    return file


def consume_after_runs(file_id: UUID, *, purge_at: Combinable) -> IngestFile | None:
    """For runs that are done with a file, which may have expired while they kept it."""
    return _consume(_stored(file_id), file_id, purge_at=purge_at, actor=PORTAL)


def delete(file_id: UUID, *, actor: Actor) -> bool:
    """Remove a stored or consumed file before its time."""
    return _delete(file_id, was=FileStatus.STORED, actor=actor) or _delete(
        file_id, was=FileStatus.PROCESSED, actor=actor
    )


def expire(file_id: UUID) -> bool:
    """Remove a file that nobody has extended or consumed meanwhile, and that nobody works on."""
    with _one_transaction():
        # Who begins to work on a file holds its row meanwhile: it can be seen from here on.
        IngestFile.objects.select_for_update().get(id=file_id)
        unused = (~condition for condition in hooks.keeps_file)
        expired = Q(*unused, expires_at__lte=Now())
        return _delete(file_id, expired, was=FileStatus.STORED, actor=PORTAL)


def extend(file_id: UUID, *, expires_at: datetime) -> bool:
    """Keep a stored file longer; False when it is kept as long already, or is gone."""
    return (
        _stored(file_id)
        .filter(expires_at__gt=Now(), expires_at__lt=expires_at)
        .change(expires_at=expires_at, expiry_notified_at=None)
    )


def extend_all(*, until: Combinable) -> int:
    """Keep all stored files at least until then, those that have expired meanwhile, too."""
    return IngestFile.objects.filter(status=FileStatus.STORED, expires_at__lt=until).update(
        expires_at=until, expiry_notified_at=None
    )


def announce_expiring(*, before: Combinable, limit: int) -> int:
    """Emit `file.expiring`, once each, for up to `limit` files that expire until then."""
    with _one_transaction():
        due = list(
            IngestFile.objects.filter(
                status=FileStatus.STORED,
                expiry_notified_at__isnull=True,
                expires_at__gt=Now(),
                expires_at__lte=before,
            )
            .select_related("uploaded_by")
            .locked()
            .order_by("expires_at")[:limit]
        )
        for file in due:
            announce_file("file.expiring", file, actor=PORTAL)
        IngestFile.objects.filter(id__in=[file.id for file in due]).update(expiry_notified_at=Now())
    return len(due)


def disown(owner_id: UUID) -> None:
    """The files of an account that is deleted belong to nobody; see `uploads.files.owners`."""
    IngestFile.objects.filter(uploaded_by=owner_id).update(uploaded_by=None)


def forget_gone(*, before: Combinable, limit: int) -> int:
    """Delete the rows of up to `limit` files that are gone since then, bytes and all."""
    gone = IngestFile.objects.filter(
        Q(status=FileStatus.FAILED, purge_at__isnull=True) | Q(purged_at__isnull=False),
        status__in=IngestFile.GONE,
        updated_at__lt=before,
        runs__isnull=True,
    ).order_by("updated_at")
    ids = list(gone.values_list("id", flat=True)[:limit])
    IngestFile.objects.filter(id__in=ids).delete()
    return len(ids)


def point_at(file_id: UUID, stored: StoredObject, *, was: StoredObject) -> bool:
    """Its bytes lie elsewhere now. Whether they were to be there, and were where they `was`."""
    return IngestFile.objects.filter(
        id=file_id,
        status__in=IngestFile.WITH_POINTER,
        purged_at__isnull=True,
        storage_backend=was.backend,
        storage_bucket=was.bucket,
        storage_key=was.key,
    ).change(
        storage_backend=stored.backend,
        storage_bucket=stored.bucket,
        storage_key=stored.key,
    )


def mark_purged(file_id: UUID) -> bool:
    """The bytes of a consumed or deleted file were removed."""
    unpurged = IngestFile.objects.filter(id=file_id, purged_at__isnull=True)
    return unpurged.change(purged_at=Now())


def _one_transaction() -> Atomic:
    """The caller's if there is one. Without a savepoint: what fails here, fails as a whole."""
    return transaction.atomic(savepoint=False)


def _charge_grant(new: NewFile) -> None:
    if new.grant_id:  # before the batch, wherever both change: no deadlock
        grants.charge(new.grant_id, size_bytes=new.size_bytes)


def _charge_owner(charge: Charge, file: IngestFile) -> None:
    """Results are charged, but never refused: the work that they come from is done."""
    if not file.is_result:
        limits.enforce(charge, for_guest=file.grant_id is not None)


def _owner_id(new: NewFile) -> UUID | None:
    return new.owner.pk if new.owner else None


def _insert(new: NewFile, **state: Any) -> IngestFile:
    return IngestFile.objects.create(
        id=new.id,
        uploaded_by=new.owner,
        batch_id=new.batch_id,
        grant_id=new.grant_id,
        is_result=new.is_result,
        is_piece=new.is_piece,
        original_filename=new.filename,
        relative_path=new.relative_path,
        content_type=new.content_type,
        size_bytes=new.size_bytes,
        metadata=new.metadata,
        **state,
    )


def _proven(proof: Proof) -> dict[str, Any]:
    return {
        "sha256": proof.sha256,
        "detected_type": proof.detected_type,
        "storage_backend": proof.stored.backend,
        "storage_bucket": proof.stored.bucket,
        "storage_key": proof.stored.key,
    }


def _stored_values(accepted: Accepted) -> dict[str, Any]:
    times = {"stored_at": Now(), "expires_at": first_expiry()}
    return _proven(accepted.proof) | times | {"error_code": "", "error_message": ""}


def _reason(error: DooritoError) -> dict[str, str]:
    return {"error_code": error.code, "error_message": error.message[: lengths.ERROR_MESSAGE]}


def _not_uploading() -> Conflict:
    return Conflict("file_not_uploading", "The file is not being uploaded any more.")


def _tell_stored(file: IngestFile, actor: Actor) -> None:
    _note("file_stored", file, actor)
    announce_file("file.uploaded", file, actor=actor)
    for call in hooks.on_stored:
        call(file)
    if file.grant_id:
        notices.note_stored(file.grant_id)


def _consume(
    stored: TimeStampedQuerySet, file_id: UUID, *, purge_at: Combinable, actor: Actor
) -> IngestFile | None:
    with _one_transaction():
        consumed = stored.change(status=FileStatus.PROCESSED, processed_at=Now(), purge_at=purge_at)
        if not consumed:
            return None
        file = _changed(file_id)
        _note("file_consumed", file, actor)
        announce_file("file.processed", file, actor=actor)
        usage.charge(file, was=FileStatus.STORED)
    return file


def _delete(file_id: UUID, condition: Q = ALWAYS, *, was: FileStatus, actor: Actor) -> bool:
    """The first step of a removal: the bytes go with the next purge."""
    with _one_transaction():
        deleted = IngestFile.objects.filter(condition, id=file_id, status=was).change(
            status=FileStatus.DELETED, deleted_at=Now(), purge_at=Now()
        )
        if deleted:
            file = _changed(file_id)
            for call in hooks.on_deleted:
                call(file)
            _note("file_deleted", file, actor)
            announce_file("file.deleted", file, actor=actor)
            usage.charge(file, was=was)
    return deleted


def _note(event: str, file: IngestFile, actor: Actor, **facts: str) -> None:
    """In the journal, once it is true. Names are the user's, and stay out."""
    journal.tell_after_commit(
        event,
        file_id=file.id,
        user=file.uploaded_by_id,
        actor=f"{actor.kind}:{actor.id}" if actor.id else actor.kind,
        size_bytes=file.size_bytes,
        **facts,
    )


def _stored(file_id: UUID) -> TimeStampedQuerySet:
    return IngestFile.objects.filter(id=file_id, status=FileStatus.STORED)


def _changed(file_id: UUID) -> IngestFile:
    """The row as it is now; it is locked until the transaction ends."""
    return IngestFile.objects.select_related("uploaded_by").get(id=file_id)
