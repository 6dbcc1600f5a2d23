"""Reads, always scoped to a principal: what is not theirs does not exist.

A principal sees its owner's objects; a guest, of these, what came under the grant. Accounts with
the permission `uploads.access_all_files` (superusers, and the accounts of AI runners) also reach
single files of others by id.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Case, F, Func, Q, QuerySet, Sum, TextField, When
from django.db.models.functions import Now

from accounts.models import TokenScope
from accounts.principals import Principal
from common.errors import InvalidInput, NotFound
from common.models import OutboxEvent, TimeStampedQuerySet
from common.pagination import Page, decode_cursor, paginate
from uploads.models import (
    FileStatus,
    IngestFile,
    PartOrder,
    SessionStatus,
    ShareLink,
    UploadBatch,
    UploadGrant,
    UploadPart,
    UploadSession,
)

SEARCH_WINDOW = 10_000  # a search looks at so many of the newest files, so that its cost is bounded
COUNT_CAP = 10_000
MAX_STORED_FILES = 1000
MAX_SHARES = 50  # links of a file
ACCESS_ALL = "uploads.access_all_files"
_FILE_SCOPES = {TokenScope.READ, TokenScope.CONSUME, TokenScope.WORKFLOWS}
_NFC_NAME = Func(F("original_filename"), function="NORMALIZE", output_field=TextField())


@dataclass(frozen=True)
class Dashboard:
    """A user's files by state, how much is stored, and the latest few."""

    stored: int
    uploading: int
    checking: int
    processed: int
    failed: int
    deleted: int
    stored_bytes: int
    expiring_soon: int
    recent: list[IngestFile]


def files_page(
    *,
    principal: Principal,
    status: str | None = None,
    search: str | None = None,
    batch_id: UUID | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[IngestFile]:
    """A user's files, without what workflows made of them, and without pieces.

    Raises InvalidInput `invalid_status` or `invalid_cursor`.
    """
    files = files_of(principal)
    if status:
        if status not in FileStatus.values:
            raise InvalidInput("invalid_status", f"status is one of {', '.join(FileStatus.values)}")
        files = files.filter(status=status)
    if batch_id:
        files = files.filter(batch_id=batch_id)
    if search:
        files = with_part_of_name(files, search, cursor=cursor)
    return paginate(files.select_related("grant"), cursor=cursor, limit=limit)


def stored_files(
    *,
    principal: Principal,
    after: UUID | None,
    limit: int,
    is_ascending: bool,
    purpose: str | None,
) -> tuple[list[IngestFile], bool]:
    """Stored files in order of arrival, beyond `after`, and whether there are more.

    At most MAX_STORED_FILES. With a `purpose` (of the metadata) it looks at SEARCH_WINDOW files.
    """
    size = min(limit, MAX_STORED_FILES)
    order = "id" if is_ascending else "-id"
    files = files_of(principal).filter(status=FileStatus.STORED)
    if after is not None:
        files = files.filter(id__gt=after) if is_ascending else files.filter(id__lt=after)
    files = files.order_by(order)
    if purpose is not None:
        for last in files.values_list("id", flat=True)[SEARCH_WINDOW - 1 :][:1]:
            files = files.filter(id__lte=last) if is_ascending else files.filter(id__gte=last)
        files = files.filter(metadata__purpose=purpose)
    found = list(files[: size + 1])
    return found[:size], len(found) > size


def with_part_of_name(
    files: TimeStampedQuerySet, part: str, *, cursor: str | None = None
) -> TimeStampedQuerySet:
    """Those whose name has the text anywhere, among the newest SEARCH_WINDOW after the cursor."""
    before = files.filter(id__lt=decode_cursor(cursor)) if cursor else files
    window_end = before.order_by("-id").values_list("id", flat=True)[SEARCH_WINDOW - 1 :]
    wanted = unicodedata.normalize("NFC", part.replace("\x00", ""))
    files = files.alias(name=_NFC_NAME).filter(name__icontains=wanted)
    for oldest in window_end[:1]:
        files = files.filter(id__gte=oldest)
    return files


def files_of(principal: Principal) -> TimeStampedQuerySet:
    """A principal's files, without what workflows made of them, and without pieces of others."""
    return _own_files(principal).filter(is_result=False, is_piece=False)


def get_file(*, principal: Principal, file_id: UUID) -> IngestFile:
    """A file to read or consume: the owner's, or anybody's for those who reach all files."""
    try:
        return get_own_file(principal=principal, file_id=file_id)
    except NotFound:
        if not reaches_all_files(principal):
            raise
        return get_linked_file(file_id)


def get_own_file(*, principal: Principal, file_id: UUID) -> IngestFile:
    return _file(_own_files(principal).filter(id=file_id))


def get_linked_file(file_id: UUID) -> IngestFile:
    """A file for the bearer of a signed link, which stands for its owner's consent."""
    return _file(IngestFile.objects.filter(id=file_id))


def may_read_file_of(principal: Principal, event: OutboxEvent) -> bool:
    """Whether an event is about a file, or what became of one, that `get_file` would give.

    A token that may not read files sees nothing of them here, not even of its owner's.
    """
    is_own = event.user_id == principal.owner.id and not principal.is_guest
    return principal.may_read_contents and (is_own or reaches_all_files(principal))


def reaches_all_files(principal: Principal) -> bool:
    """Whether others' files can be read and consumed: by permission, with a scope for files."""
    return bool(principal.scopes & _FILE_SCOPES) and principal.has_permission(ACCESS_ALL)


def get_batch(*, principal: Principal, batch_id: UUID) -> UploadBatch:
    batch = _own_batches(principal).filter(id=batch_id).first()
    if batch is None:
        raise batch_not_found()
    return batch


def batches_page(
    *, principal: Principal, cursor: str | None = None, limit: int = 50
) -> Page[UploadBatch]:
    return paginate(_own_batches(principal), cursor=cursor, limit=limit)


def batch_files_page(
    *, principal: Principal, batch_id: UUID, cursor: str | None = None, limit: int = 50
) -> Page[IngestFile]:
    batch = get_batch(principal=principal, batch_id=batch_id)
    return files_page(principal=principal, batch_id=batch.id, cursor=cursor, limit=limit)


def get_session(*, principal: Principal, session_id: UUID) -> UploadSession:
    session = _own_sessions(principal).select_related("file").filter(id=session_id).first()
    if session is None:
        raise session_not_found()
    return session


def get_session_of(*, principal: Principal, file_id: UUID) -> UploadSession:
    """The session that a file came, or comes, by."""
    session = _own_sessions(principal).select_related("file").filter(file=file_id).first()
    if session is None:
        raise session_not_found()
    return session


def get_sessions(*, principal: Principal, ids: Sequence[UUID]) -> dict[UUID, UploadSession]:
    """Those of the sessions that the principal has, by id."""
    return _own_sessions(principal).select_related("file").in_bulk(ids)


def unfinished_page(
    *, principal: Principal, cursor: str | None = None, limit: int = 50
) -> Page[UploadSession]:
    """Uploads in numbered parts that are not whole yet: what can go on, newest first.

    A guest who may only send is told of none: several may have the same link.
    """
    sessions = (
        _own_sessions(principal)
        .filter(status__in=UploadSession.OPEN, part_order=PartOrder.NUMBERED)
        .exclude(file__status=FileStatus.CHECKING)
    )
    if principal.is_guest and not principal.may_read_contents:
        sessions = sessions.none()
    return paginate(sessions.select_related("file"), cursor=cursor, limit=limit)


def received_ranges(session: UploadSession) -> str:
    """Received part numbers as ranges, `1-50,52,55-100`; "" for none."""
    if session.status == SessionStatus.COMPLETE:  # their rows go soon after
        return _ranges(list(range(1, session.received_parts_count + 1)))
    numbers = UploadPart.objects.filter(session=session)
    return _ranges(list(numbers.order_by("part_number").values_list("part_number", flat=True)))


def missing_ranges(session: UploadSession) -> str:
    """Numbers of numbered parts not yet received, as ranges; "" when all are there."""
    if session.received_parts_count == session.total_parts:
        return ""
    received = set(UploadPart.objects.filter(session=session).values_list("part_number", flat=True))
    total = session.total_parts or 0
    return _ranges([n for n in range(1, total + 1) if n not in received])


def dashboard(*, principal: Principal) -> Dashboard:
    """Counts stop at COUNT_CAP, so the page costs the same however many files there are."""
    files = files_of(principal)
    stored = files.filter(status=FileStatus.STORED)
    soon = Now() + timedelta(hours=settings.FILE_UPLOAD_EXPIRY_NOTIFY_HOURS)
    newest_stored = stored.order_by("-id")[:COUNT_CAP]
    return Dashboard(
        **{value: files.filter(status=value)[:COUNT_CAP].count() for value in FileStatus.values},
        stored_bytes=newest_stored.aggregate(total=Sum("size_bytes", default=0))["total"],
        expiring_soon=stored.filter(expires_at__lte=soon)[:COUNT_CAP].count(),
        recent=files_page(principal=principal, limit=5).items,
    )


def batch_not_found() -> NotFound:
    return NotFound("batch_not_found", "There is no such batch.")


def grants_page(
    *, principal: Principal, cursor: str | None = None, limit: int = 50
) -> Page[UploadGrant]:
    """The owner's upload grants, newest first, those that have ended too; none for a guest."""
    return paginate(_own_grants(principal), cursor=cursor, limit=limit)


def get_grant(*, principal: Principal, grant_id: UUID) -> UploadGrant:
    """Raises NotFound `grant_not_found`."""
    grant = _own_grants(principal).filter(id=grant_id).first()
    if grant is None:
        raise grant_not_found()
    return grant


def grant_files_page(
    *, principal: Principal, grant_id: UUID, cursor: str | None = None, limit: int = 50
) -> Page[IngestFile]:
    """What came under a grant of the owner's, newest first."""
    grant = get_grant(principal=principal, grant_id=grant_id)
    files = IngestFile.objects.filter(grant=grant, is_result=False, is_piece=False)
    return paginate(files, cursor=cursor, limit=limit)


def share_links(file: IngestFile) -> list[ShareLink]:
    """Of a file: all that live, at most MAX_SHARES, then the newest of the others."""
    ended = Q(revoked_at__isnull=False) | Q(expires_at__lte=Now())
    shares = ShareLink.objects.filter(file=file).timed()
    living_first = shares.order_by(Case(When(ended, then=1), default=0), "-id")
    return list(living_first[:MAX_SHARES])


def grant_not_found() -> NotFound:
    return NotFound("grant_not_found", "There is no such upload grant.")


def session_not_found() -> NotFound:
    return NotFound("session_not_found", "There is no such upload session.")


def _own_files(principal: Principal) -> TimeStampedQuerySet:
    if principal.is_guest:  # all of one owner: asking for that too misleads the planner
        return IngestFile.objects.filter(grant=principal.grant_id)
    return IngestFile.objects.filter(uploaded_by=principal.owner)


def _own_batches(principal: Principal) -> QuerySet[UploadBatch]:
    """Of a guest's, those that were opened with the grant: others tell of the owner's own files."""
    if principal.is_guest:
        return UploadBatch.objects.filter(grant=principal.grant_id)
    return UploadBatch.objects.filter(created_by=principal.owner)


def _own_grants(principal: Principal) -> TimeStampedQuerySet:
    grants = UploadGrant.objects.select_related("workflow", "batch").timed()
    grants = grants.filter(owner=principal.owner)
    return grants.none() if principal.is_guest else grants


def _own_sessions(principal: Principal) -> QuerySet[UploadSession]:
    sessions = UploadSession.objects.filter(created_by=principal.owner)
    return sessions.filter(grant_id=principal.grant_id) if principal.is_guest else sessions


def _file(files: TimeStampedQuerySet) -> IngestFile:
    file = files.select_related("uploaded_by", "batch", "grant").timed().first()
    if file is None:
        raise NotFound("file_not_found", "There is no such file.")
    return file


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as comma-separated runs."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
