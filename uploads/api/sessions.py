"""/api/v1/uploads/sessions: resumable uploads."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from ninja import Query, Router, Status

from accounts import rates
from accounts.authentication import AuthenticatedRequest, Authenticator
from accounts.models import TokenScope
from common.http.bodies import body_blocks, body_length
from common.http.digests import content_digest
from common.http.headers import content_range
from common.http.schemas import BINARY
from uploads import selectors
from uploads.api.schemas import (
    DirectPartList,
    FileOut,
    PartOut,
    SessionIn,
    SessionOut,
    UnfinishedList,
)
from uploads.receiving import direct, finalizing, sessions
from uploads.receiving.parts import receive_part

may_begin = Authenticator(TokenScope.UPLOAD, rate=rates.SESSIONS)
router = Router(tags=["Upload sessions"], auth=Authenticator(TokenScope.UPLOAD))


@router.post("", response={201: SessionOut, 200: SessionOut}, auth=may_begin)
def create_session(request: AuthenticatedRequest, body: SessionIn) -> Status:
    """Begin an upload. A repeated `idempotency_key` answers 200 with the session it made."""
    session, created = sessions.create_session(
        principal=request.principal, request=body.to_request()
    )
    return Status(201 if created else 200, SessionOut.of(session))


@router.get("", response={200: UnfinishedList})
def list_unfinished_sessions(
    request: AuthenticatedRequest, limit: int = 50, cursor: str | None = None
) -> UnfinishedList:
    """Uploads that are not whole yet, newest first: each goes on when its file is sent again."""
    page = selectors.unfinished_page(principal=request.principal, cursor=cursor, limit=limit)
    return UnfinishedList.of(page)


@router.get("/{uuid:session_id}", response={200: SessionOut})
def get_session(request: AuthenticatedRequest, session_id: UUID) -> SessionOut:
    """State and received parts: what to send next after an interruption."""
    return SessionOut.of(selectors.get_session(principal=request.principal, session_id=session_id))


@router.put(
    "/{uuid:session_id}/parts/{int:part_number}",
    response={200: PartOut},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": BINARY}},
        }
    },
)
def put_part(
    request: AuthenticatedRequest, session_id: UUID, part_number: int
) -> dict[str, object]:
    """Send one part as the raw body, optionally with Content-Digest.

    Its place follows from its number; a Content-Range that says another is refused.
    """
    receipt = receive_part(
        principal=request.principal,
        session_id=session_id,
        part_number=part_number,
        length=body_length(request),
        declared=content_digest(request),
        place=content_range(request),
        blocks=body_blocks(request),
    )
    return asdict(receipt)


@router.get("/{uuid:session_id}/part-urls", response={200: DirectPartList})
def list_part_urls(
    request: AuthenticatedRequest,
    session_id: UUID,
    first: Annotated[int, Query(ge=1)] = 1,
    limit: Annotated[int, Query(ge=1, le=direct.MOST_URLS)] = 100,
) -> DirectPartList:
    """Where to send the parts of an upload whose transfer is `direct`, and which are there.

    Ask late, a page at a time: the addresses are good for some minutes. PUT each part to its own,
    without the portal's token, then finalize.
    """
    page = direct.part_urls(
        principal=request.principal, session_id=session_id, first=first, limit=limit
    )
    return DirectPartList.of(page)


@router.post("/{uuid:session_id}/finalize", response={200: FileOut, 202: SessionOut})
def finalize_session(
    request: AuthenticatedRequest, response: HttpResponse, session_id: UUID
) -> Status:
    """Prove and store the file. Safe to repeat.

    202 while it has to be read through first: the session (Location) says how far that is; then
    finalize again.
    """
    try:
        file = finalizing.finalize_session(principal=request.principal, session_id=session_id)
    except finalizing.FinalizeUnderWay as under_way:
        response["Location"] = reverse("api-1:get_session", args=[session_id])
        response["Retry-After"] = str(under_way.retry_after)
        return Status(202, SessionOut.of(under_way.session))
    return Status(200, FileOut.of(file))


@router.delete("/{uuid:session_id}", response={204: None})
def abort_session(
    request: AuthenticatedRequest, session_id: UUID, replaced: bool = False
) -> Status:
    """Give the upload up and free its space. In its batch it counts as failed.

    With `replaced`, another upload of the same file takes its place: the batch forgets this one.
    """
    give_up = sessions.replace_session if replaced else sessions.abort_session
    give_up(principal=request.principal, session_id=session_id)
    return Status(204, None)
