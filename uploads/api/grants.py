"""/api/v1/grants: links by which people without an account send files."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from ninja import Router, Schema, Status
from pydantic import Field, StrictBool, StrictInt

from accounts.authentication import AuthenticatedRequest, Authenticator
from accounts.models import TokenScope
from common.http.schemas import BodyWithNulls, Moment, RequestBody
from common.pagination import Page
from uploads import selectors
from uploads.files import grants
from uploads.files.new_grants import NewGrant
from uploads.models import UploadGrant

router = Router(tags=["Upload links"])
may_upload = Authenticator(TokenScope.UPLOAD)


class GrantIn(BodyWithNulls):
    """Sizes in bytes. What is left out is no limit."""

    name: str
    scopes: list[str] = Field(
        default_factory=lambda: [TokenScope.UPLOAD.value],
        description="Of `upload`, `read`, `consume`: what the token may do with what came by it. "
        "The page of the link only sends.",
    )
    max_files: StrictInt | None = None
    max_bytes: StrictInt | None = None
    max_file_size: StrictInt | None = None
    allowed_types: list[str] = Field(default_factory=list)
    batch_id: UUID | None = None
    expires_at: Moment | None = None
    message: str = Field("", description="To the guest.")
    password: str = Field("", description="The page asks for it; without it the token is refused.")
    workflow: str = Field("", description="The slug of one that is started on each file.")
    mails_owner: StrictBool = Field(
        default=False, description="Whether you get mail once files have come."
    )


class GrantChanges(RequestBody):
    """What is left out stays as it is; null is no limit, no end."""

    name: str = ""
    max_files: StrictInt | None = None
    max_bytes: StrictInt | None = None
    max_file_size: StrictInt | None = None
    allowed_types: list[str] = Field(default_factory=list)
    expires_at: Moment | None = None
    message: str = ""
    password: str = Field("", description="Another, or none.")
    workflow: str = ""
    mails_owner: StrictBool = False


class GrantOut(Schema):
    """`files_begun` and `bytes_begun` are what counts for the limits."""

    id: UUID
    name: str
    hint: str
    scopes: list[str]
    max_files: int | None
    max_bytes: int | None
    max_file_size: int | None
    allowed_types: list[str]
    batch_id: UUID | None
    message: str
    has_password: bool
    workflow: str | None
    mails_owner: bool
    files_begun: int
    bytes_begun: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, grant: UploadGrant, **more: Any) -> Self:
        names = set(cls.model_fields) - {"has_password", "workflow", *more}
        return cls(
            **{name: getattr(grant, name) for name in names},
            has_password=bool(grant.password_hash),
            workflow=grant.workflow.slug if grant.workflow else None,
            **more,
        )


class NewGrantOut(GrantOut):
    """`token` and `url`, the page that it opens, are told this once."""

    token: str
    url: str

    @classmethod
    def of_new(cls, made: tuple[UploadGrant, str]) -> Self:
        grant, text = made
        return cls.of(grant, token=text, url=grants.link_of(text))


class GrantList(Schema):
    items: list[GrantOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page[UploadGrant]) -> Self:
        return cls(items=[GrantOut.of(each) for each in page.items], next_cursor=page.next_cursor)


@router.post("", response={201: NewGrantOut}, auth=may_upload)
def create_grant(request: AuthenticatedRequest, body: GrantIn) -> Status:
    """Let somebody without an account send you files, within limits."""
    made = grants.create_grant(principal=request.principal, new=NewGrant(**dict(body)))
    return Status(201, NewGrantOut.of_new(made))


@router.get("", response={200: GrantList}, auth=may_upload)
def list_grants(
    request: AuthenticatedRequest, limit: int = 50, cursor: str | None = None
) -> GrantList:
    """Newest first, those that have ended too."""
    return GrantList.of(
        selectors.grants_page(principal=request.principal, cursor=cursor, limit=limit)
    )


@router.get("/{uuid:grant_id}", response={200: GrantOut}, auth=may_upload)
def get_grant(request: AuthenticatedRequest, grant_id: UUID) -> GrantOut:
    return GrantOut.of(selectors.get_grant(principal=request.principal, grant_id=grant_id))


@router.patch("/{uuid:grant_id}", response={200: GrantOut}, auth=may_upload)
def change_grant(request: AuthenticatedRequest, grant_id: UUID, body: GrantChanges) -> GrantOut:
    """Other limits, or another end. What was counted stays."""
    values = {name: getattr(body, name) for name in body.model_fields_set}
    return GrantOut.of(
        grants.change_grant(principal=request.principal, grant_id=grant_id, **values)
    )


@router.post("/{uuid:grant_id}/renew", response={200: NewGrantOut}, auth=may_upload)
def renew_grant(request: AuthenticatedRequest, grant_id: UUID) -> NewGrantOut:
    """Another token, and address; the present one ends at once. What was counted stays."""
    return NewGrantOut.of_new(grants.replace_token(principal=request.principal, grant_id=grant_id))


@router.delete("/{uuid:grant_id}", response={204: None}, auth=may_upload)
def revoke_grant(request: AuthenticatedRequest, grant_id: UUID) -> Status:
    """End it at once; what came stays. Safe to repeat."""
    grants.revoke_grant(principal=request.principal, grant_id=grant_id)
    return Status(204, None)
