"""``doorito grant`` and ``doorito share``: links for people without an account, from the shell.

Standard output carries results only.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import click

from accounts import principals, services
from accounts.models import TokenScope
from accounts.principals import Principal
from common.cli_params import Duration
from common.console import iso, print_rows
from common.db import database_now
from common.errors import Conflict
from uploads import selectors
from uploads.files import grants, sharing
from uploads.files.new_grants import NewGrant
from uploads.models import IngestFile, ShareLink, UploadGrant

_email = click.option("--email", required=True, help="The account that the link belongs to.")
_expires = click.option(
    "--expires", type=Duration(), help="How long it is good for: 90m, 12h, 30d, 8w."
)
_ask_password = click.option(
    "--ask-password",
    is_flag=True,
    help="Ask for a password here that the link's page will ask for; from a pipe, it is read.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
_grant_id = click.argument("grant_id", metavar="ID", type=click.UUID)
_file_id = click.argument("file_id", metavar="FILE", type=click.UUID)


@click.group()
def grant() -> None:
    """Upload links: create, list, renew, revoke."""


@grant.command("create")
@_email
@click.option("--name", required=True, help="What for; the guest sees it.")
@_expires
@click.option("--message", default="", help="To the guest.")
@click.option("--max-files", type=int, help="How many files may come.")
@click.option("--max-bytes", type=int, help="Of all files together.")
@click.option("--max-file-size", type=int, help="Bytes of one file.")
@click.option(
    "--type", "types", multiple=True, help="A content type such as image/*; repeatable. All else."
)
@click.option("--workflow", default="", help="The slug of one that is started on each file.")
@click.option("--mail", "mails_owner", is_flag=True, help="Mail the account once files have come.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=[TokenScope.UPLOAD.value],
    type=click.Choice([scope.value for scope in UploadGrant.SCOPES]),
    help="What the token may do with what came by it; repeatable. Its page only sends.",
)
@_ask_password
def create_grant(
    email: str, expires: timedelta | None, types: tuple[str, ...], ask_password: bool, **values: Any
) -> None:
    """Create an upload link and print its address. It is shown this once only."""
    new = NewGrant(
        **values,
        allowed_types=types,
        expires_at=_end(expires),
        password=_password() if ask_password else "",
    )
    _, text = grants.create_grant(principal=_principal(email), new=new)
    click.echo(grants.link_of(text))


@grant.command("list")
@_email
@_json
def list_grants(email: str, as_json: bool) -> None:
    """List an account's newest upload links (200 at most)."""
    page = selectors.grants_page(principal=_principal(email), limit=services.LIST_LIMIT)
    print_rows([_grant_row(each) for each in page.items], as_json=as_json)


@grant.command()
@_email
@_grant_id
def renew(email: str, grant_id: UUID) -> None:
    """Give an upload link another address and print it; the present one ends at once."""
    _, text = grants.replace_token(principal=_principal(email), grant_id=grant_id)
    click.echo(grants.link_of(text))


@grant.command("revoke")
@_email
@_grant_id
def revoke_grant(email: str, grant_id: UUID) -> None:
    """End an upload link at once. What came stays."""
    found = grants.revoke_grant(principal=_principal(email), grant_id=grant_id)
    click.echo(f"Revoked {found.name} ({found.hint}…).", err=True)


@click.group()
def share() -> None:
    """Share links of a file: create, list, revoke."""


@share.command("create")
@_file_id
@_expires
@_ask_password
def create_share(file_id: UUID, expires: timedelta | None, ask_password: bool) -> None:
    """Create a share link of a file and print its address. It is shown this once only."""
    file = selectors.get_linked_file(file_id)
    _, text = sharing.create_share(
        principal=_owner_of(file),
        file_id=file.id,
        expires_at=_end(expires),
        password=_password() if ask_password else "",
    )
    click.echo(sharing.link_of(text))


@share.command("list")
@_file_id
@_json
def list_shares(file_id: UUID, as_json: bool) -> None:
    """List a file's newest share links (50 at most)."""
    shares = selectors.share_links(selectors.get_linked_file(file_id))
    print_rows([_share_row(each) for each in shares], as_json=as_json)


@share.command("revoke")
@_file_id
@click.argument("share_id", metavar="ID", type=click.UUID)
def revoke_share(file_id: UUID, share_id: UUID) -> None:
    """End a share link at once."""
    file = selectors.get_linked_file(file_id)
    sharing.revoke_share(principal=_owner_of(file), file_id=file.id, share_id=share_id)
    click.echo("Revoked.", err=True)


def _principal(email: str) -> Principal:
    return principals.at_the_shell(services.get_user(email=email))


def _owner_of(file: IngestFile) -> Principal:
    if file.uploaded_by is None:
        raise Conflict("file_without_owner", "The account that the file belonged to is gone.")
    return principals.at_the_shell(file.uploaded_by)


def _end(expires: timedelta | None) -> datetime | None:
    return database_now() + expires if expires else None


def _password() -> str:
    return str(click.prompt("Password", hide_input=True, err=True))


def _grant_row(each: UploadGrant) -> dict[str, Any]:
    return {
        "id": str(each.id),
        "hint": each.hint,
        "name": each.name,
        "files": each.files_begun,
        "max_files": each.max_files,
        "bytes": each.bytes_begun,
        "max_bytes": each.max_bytes,
        "created_at": iso(each.created_at),
        "expires_at": iso(each.expires_at),
        "revoked_at": iso(each.revoked_at),
    }


def _share_row(each: ShareLink) -> dict[str, Any]:
    return {
        "id": str(each.id),
        "hint": each.hint,
        "downloads": each.downloads,
        "last_used_at": iso(each.last_used_at),
        "created_at": iso(each.created_at),
        "expires_at": iso(each.expires_at),
        "revoked_at": iso(each.revoked_at),
    }
