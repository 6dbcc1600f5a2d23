"""``doorito token``: API tokens from the shell. Standard output carries results only."""

from datetime import timedelta
from typing import Any

import click

from accounts import services
from accounts.models import ApiToken, TokenScope
from common.cli_params import Duration
from common.console import iso, print_rows
from common.db import database_now


@click.group()
def token() -> None:
    """API tokens: create, list, revoke."""


@token.command()
@click.option("--email", required=True, help="The account that the token acts for.")
@click.option("--name", required=True, help="What the token is for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(TokenScope.values),
    help="What the token may do; repeatable. Without it, all.",
)
@click.option("--expires", type=Duration(), help="How long it is good for: 90m, 12h, 30d, 8w.")
def create(email: str, name: str, scopes: tuple[str, ...], expires: timedelta | None) -> None:
    """Create a token and print it. It is shown this once only."""
    _, text = services.create_token(
        user=services.get_user(email=email),
        name=name,
        scopes=scopes or None,
        expires_at=database_now() + expires if expires else None,
    )
    click.echo(text)


@token.command("list")
@click.option("--email", help="Only this account's tokens.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(email: str | None, as_json: bool) -> None:
    """List the newest tokens (200 at most)."""
    found = services.latest_tokens()
    if email:
        found = services.list_tokens(user=services.get_user(email=email))
    print_rows([_row(entry) for entry in found], as_json=as_json)


@token.command()
@click.argument("reference", metavar="ID|HINT")
def revoke(reference: str) -> None:
    """Revoke a token, named by its id or by its first characters as `list` shows them."""
    found = services.find_token(reference=reference)
    services.revoke_token(user=found.user, token_id=found.id)
    click.echo(f"Revoked {found.name} ({found.hint}…) of {found.user.email}.", err=True)


def _row(entry: ApiToken) -> dict[str, Any]:
    return {
        "id": str(entry.id),
        "hint": entry.hint,
        "name": entry.name,
        "email": entry.user.email,
        "scopes": entry.scopes,
        "created_at": iso(entry.created_at),
        "expires_at": iso(entry.expires_at),
        "last_used_at": iso(entry.last_used_at),
        "revoked_at": iso(entry.revoked_at),
    }
