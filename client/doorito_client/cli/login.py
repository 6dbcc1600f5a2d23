"""Logging in: a token is tried, then kept for this user alone."""

import sys

import click

from doorito_client.cli import config
from doorito_client.cli.common import Command
from doorito_client.client import Client
from doorito_client.errors import NotAllowed
from doorito_client.transport import checked_url

STDIN = "-"


@click.command(cls=Command)
@click.argument("url", metavar="URL")
@click.option(
    "--token",
    metavar="TOKEN",
    help="The API token, or - to read it from standard input. Without it, it is asked for.",
)
def login(url: str, token: str | None) -> None:
    """Remember a portal and an API token for it.

    The token is tried first. It is kept in the keyring where the package keyring is installed, else
    in a file that only you can read.
    """
    server = checked_url(url)
    given = sys.stdin.readline() if token == STDIN else token
    secret = (given or click.prompt("API token", hide_input=True)).strip()
    with Client(server, secret, patience=0) as client:
        try:
            client.check_login()
        except NotAllowed as error:
            if error.code != "scope_missing":  # it may do something else
                raise
    place = config.remember(server, secret)
    click.echo(f"Logged in to {server}; the token is in {place}.", err=True)


@click.command(cls=Command)
@click.argument("url", metavar="URL", required=False)
def logout(url: str | None) -> None:
    """Forget the token of a portal, by default of the one that commands go to."""
    server = checked_url(url) if url else config.read().current
    if server and config.forget(server):
        click.echo(f"Forgot the token for {server}. It stays valid until it is revoked.", err=True)
    else:
        click.echo("You are not logged in there.", err=True)
