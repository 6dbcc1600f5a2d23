"""``doorito token`` and ``doorito user``: accounts and their API tokens, from the shell.

Standard output carries results only.
"""

from datetime import timedelta
from typing import Any

import click

from accounts import services
from accounts.models import ApiToken, TokenScope, User
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


@click.group()
def user() -> None:
    """Accounts: create, list, disable, enable."""


@user.command("create")
@click.option("--email", required=True, help="What the account logs in with.")
@click.option("--admin", "is_admin", is_flag=True, help="An administrator with every right.")
@click.password_option(help="Without it, it is asked for; from a pipe, it is read twice.")
def create_user(email: str, is_admin: bool, password: str) -> None:
    """Create an account and print its id."""
    services.check_password(password, email=email)
    made = services.create_user(email=email, password=password, is_staff=is_admin)
    click.echo(made.id)


@user.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_users(as_json: bool) -> None:
    """List the newest accounts (200 at most)."""
    print_rows([_user_row(each) for each in services.latest_users()], as_json=as_json)


@user.command()
@click.argument("email")
def disable(email: str) -> None:
    """End an account's sessions and tokens until it is enabled again. Its files stay."""
    services.disable_user(services.get_user(email=email))
    click.echo(f"Disabled {email}.", err=True)


@user.command()
@click.argument("email")
def enable(email: str) -> None:
    """Let an account log in again."""
    services.enable_user(services.get_user(email=email))
    click.echo(f"Enabled {email}.", err=True)


def _user_row(each: User) -> dict[str, Any]:
    return {
        "id": str(each.id),
        "email": each.email,
        "active": each.is_active,
        "admin": each.is_superuser,
        "created_at": iso(each.created_at),
        "last_login": iso(each.last_login),
    }
