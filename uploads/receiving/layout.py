"""The facts of an upload that never change, cached in the process: every part needs them."""

from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from accounts.principals import Principal
from common.errors import Conflict
from uploads import selectors
from uploads.models import PartOrder, UploadSession
from uploads.storage import UploadHandle, handle_of


@dataclass(frozen=True)
class Grid:
    """How a file is cut into numbered parts; all but the last have `chunk_size_bytes`."""

    size_bytes: int
    chunk_size_bytes: int
    total_parts: int


@dataclass(frozen=True)
class UploadLayout:
    """Whose a numbered upload is, where its bytes go, how it is cut."""

    owner_id: UUID | None
    grant_id: UUID | None
    handle: UploadHandle
    grid: Grid


def upload_layout(*, principal: Principal, session_id: UUID) -> UploadLayout:
    """The layout of a session, whatever its state; the database is asked once.

    Raises NotFound, Conflict `not_numbered` for an upload that is not cut into numbered parts.
    """
    layout = _layout(session_id)
    is_anothers = principal.is_guest and layout.grant_id != principal.grant_id
    if layout.owner_id != principal.owner.pk or is_anothers:
        raise selectors.session_not_found()
    return layout


@lru_cache(maxsize=1024)
def _layout(session_id: UUID) -> UploadLayout:
    session = UploadSession.objects.filter(id=session_id).first()
    if session is None:
        raise selectors.session_not_found()
    return UploadLayout(
        session.created_by_id, session.grant_id, handle_of(session), grid_of(session)
    )


def grid_of(session: UploadSession) -> Grid:
    """Raises Conflict `not_numbered` for an upload that is not cut into numbered parts."""
    size, chunk, parts = session.length_bytes, session.chunk_size_bytes, session.total_parts
    if session.part_order != PartOrder.NUMBERED or size is None or chunk is None or parts is None:
        raise Conflict("not_numbered", "This upload does not take numbered parts.")
    return Grid(size, chunk, parts)
