"""/api/v1/files/{id}/links: links by which people without an account download a file."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from ninja import Router, Schema, Status
from pydantic import Field

from accounts.authentication import AuthenticatedRequest, Authenticator
from accounts.models import TokenScope
from common.http.schemas import BodyWithNulls, Moment
from uploads import selectors
from uploads.files import sharing
from uploads.models import ShareLink

router = Router(tags=["Files"])
may_read = Authenticator(TokenScope.READ)


class ShareIn(BodyWithNulls):
    expires_at: Moment | None = Field(
        None, description="None: with the file, which no link outlives."
    )
    password: str = Field("", description="The page asks for it.")


class ShareOut(Schema):
    """`downloads` are those that were begun."""

    id: UUID
    hint: str
    has_password: bool
    downloads: int
    last_used_at: datetime | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, share: ShareLink, **more: Any) -> Self:
        names = set(cls.model_fields) - {"has_password", *more}
        values = {name: getattr(share, name) for name in names}
        return cls(**values, has_password=bool(share.password_hash), **more)


class NewShareOut(ShareOut):
    """`url` is told this once."""

    url: str


class ShareList(Schema):
    items: list[ShareOut]


@router.post("/{uuid:file_id}/links", response={201: NewShareOut}, auth=may_read)
def create_share(request: AuthenticatedRequest, file_id: UUID, body: ShareIn) -> Status:
    """Let somebody without an account download a file, while it is stored."""
    share, text = sharing.create_share(principal=request.principal, file_id=file_id, **dict(body))
    return Status(201, NewShareOut.of(share, url=sharing.link_of(text)))


@router.get("/{uuid:file_id}/links", response={200: ShareList}, auth=may_read)
def list_shares(request: AuthenticatedRequest, file_id: UUID) -> ShareList:
    """The newest 50, those that have ended too."""
    file = selectors.get_own_file(principal=request.principal, file_id=file_id)
    return ShareList(items=[ShareOut.of(share) for share in selectors.share_links(file)])


@router.delete("/{uuid:file_id}/links/{uuid:share_id}", response={204: None}, auth=may_read)
def revoke_share(request: AuthenticatedRequest, file_id: UUID, share_id: UUID) -> Status:
    """End it at once. Safe to repeat."""
    sharing.revoke_share(principal=request.principal, file_id=file_id, share_id=share_id)
    return Status(204, None)
