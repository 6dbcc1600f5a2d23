"""``webhook``: where the portal's events go. For staff."""

from uuid import UUID

import click

from doorito_client.cli.common import (
    Group,
    as_json,
    connect,
    connection,
    print_record,
    print_table,
)

COLUMNS = ("id", "is_active", "event_types", "consecutive_failures", "url")
_webhook_id = click.argument("webhook_id", metavar="WEBHOOK", type=click.UUID)


@click.group(cls=Group)
def webhook() -> None:
    """Webhooks: add, list, test, remove."""


@webhook.command()
@click.argument("url", metavar="URL")
@click.option("--event", "event_types", multiple=True, metavar="TYPE", help="Only this type.")
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@connection
@as_json
def add(
    *,
    url: str,
    event_types: tuple[str, ...],
    description: str,
    server: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Add an endpoint. Its secret is shown this once."""
    settings = {"event_types": list(event_types), "description": description}
    with connect(server, token) as client:
        print_record(client.add_webhook(url, **settings), json_wanted=as_json)


@webhook.command("ls")
@connection
@as_json
def list_(*, server: str | None, token: str | None, as_json: bool) -> None:
    """List the endpoints."""
    with connect(server, token) as client:
        print_table(list(client.webhooks()), COLUMNS, json_wanted=as_json)


@webhook.command()
@_webhook_id
@connection
@as_json
def test(*, webhook_id: UUID, server: str | None, token: str | None, as_json: bool) -> None:
    """Send a test and show the answer."""
    with connect(server, token) as client:
        print_record(client.test_webhook(webhook_id), json_wanted=as_json)


@webhook.command()
@_webhook_id
@connection
def rm(*, webhook_id: UUID, server: str | None, token: str | None) -> None:
    """Remove an endpoint with its deliveries."""
    with connect(server, token) as client:
        client.remove_webhook(webhook_id)
