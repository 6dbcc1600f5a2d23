"""Parts that clients send to the store themselves.

The portal signs where to, and believes only what the store lists.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from accounts.principals import Principal
from common.db import database_now, release_connection
from common.errors import Conflict, InvalidInput, NotFound
from uploads import selectors
from uploads.models import SessionStatus, Transfer, UploadPart, UploadSession
from uploads.receiving.endings import missing_spool_explained, require_open
from uploads.receiving.layout import Grid, grid_of
from uploads.storage import Storage, handle_of, storage_for
from uploads.storage.base import PartUrl, TakesPartsDirectly

MOST_URLS = 1000  # of one page
LONGEST_SECONDS = 900  # that an address is good for: they are asked for late


@dataclass(frozen=True)
class DirectPart:
    """A part of the grid: received, or else where to send it."""

    number: int
    offset_bytes: int
    size_bytes: int
    url: PartUrl | None


@dataclass(frozen=True)
class DirectPage:
    parts: list[DirectPart]
    next_part: int | None
    expires_at: datetime


def transfer_for(store: Storage, wanted: Transfer, *, total_parts: int | None) -> Transfer:
    """How parts of a new upload come: directly where that was asked for, and can be."""
    can = settings.PORTAL_DIRECT_UPLOADS and isinstance(store.uploads, TakesPartsDirectly)
    return wanted if can and (total_parts or 0) > 1 else Transfer.PORTAL


def part_urls(*, principal: Principal, session_id: UUID, first: int, limit: int) -> DirectPage:
    """Addresses for the parts from number `first` on that the store does not have yet.

    Raises NotFound, Gone `session_…`, Conflict `not_direct`, InvalidInput `part_number_invalid`,
    ServiceUnavailable.
    """
    session = selectors.get_session(principal=principal, session_id=session_id)
    require_open(session)
    store = storage_for(session).uploads
    if session.transfer != Transfer.DIRECT or not isinstance(store, TakesPartsDirectly):
        raise Conflict("not_direct", "Send the parts of this upload to the portal.")
    grid = grid_of(session)
    if not 1 <= first <= grid.total_parts:
        raise InvalidInput(
            "part_number_invalid", f"Parts are numbered 1 to {grid.total_parts}, not {first}."
        )
    numbers = range(first, min(first + limit, grid.total_parts + 1))
    seconds = min(settings.AWS_QUERYSTRING_EXPIRE, LONGEST_SECONDS)
    expires_at = database_now() + timedelta(seconds=seconds)
    UploadSession.objects.filter(id=session.id).update(last_activity_at=Now())
    release_connection()
    with missing_spool_explained(session.id):
        handle = handle_of(session)
        there = {
            number
            for number, size, _ in store.listed_parts(handle, after=first - 1, limit=limit)
            if number in numbers and size == _size(grid, number)
        }
        wanted = [(number, _size(grid, number)) for number in numbers if number not in there]
        urls = {url.number: url for url in store.part_urls(handle, wanted, expires_seconds=seconds)}
    parts = [
        DirectPart(number, _offset(grid, number), _size(grid, number), urls.get(number))
        for number in numbers
    ]
    return DirectPage(parts, numbers.stop if numbers.stop <= grid.total_parts else None, expires_at)


def adopt_parts(session: UploadSession) -> None:
    """Make what the store lists the parts of the upload, which the caller holds exclusively.

    Parts of another size than theirs are none. Nothing counts as hashed: any part may have been
    sent again since. Where the store lists nothing any more, a request that was killed has made
    the object of all of them: then they are the upload's already.
    """
    store = storage_for(session).uploads
    if not isinstance(store, TakesPartsDirectly):
        raise TypeError(f"the store {session.storage_backend} takes no parts directly")
    release_connection()
    try:
        parts = _listed(session, store)
    except NotFound as error:
        if error.code == "upload_missing" and session.received_bytes == session.length_bytes:
            return  # whoever finishes it looks whether the object is there
        raise
    with transaction.atomic():
        adopted = UploadSession.objects.filter(id=session.id, status__in=UploadSession.OPEN).change(
            status=SessionStatus.IN_PROGRESS,
            received_parts_count=len(parts),
            received_bytes=sum(part.size_bytes for part in parts),
            hash_state=None,
            hashed_bytes=0,
        )
        if adopted:
            UploadPart.objects.filter(session=session).delete()
            UploadPart.objects.bulk_create(parts, batch_size=1000)


def _listed(session: UploadSession, store: TakesPartsDirectly) -> list[UploadPart]:
    grid = grid_of(session)
    return [
        UploadPart(
            session=session,
            part_number=number,
            offset_bytes=_offset(grid, number),
            size_bytes=size,
            receipt=receipt,
        )
        for number, size, receipt in store.listed_parts(handle_of(session))
        if number <= grid.total_parts and size == _size(grid, number)
    ]


def _offset(grid: Grid, number: int) -> int:
    return (number - 1) * grid.chunk_size_bytes


def _size(grid: Grid, number: int) -> int:
    return min(grid.chunk_size_bytes, grid.size_bytes - _offset(grid, number))
