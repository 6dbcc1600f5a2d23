"""``events``: what happens on the portal, as it happens. For staff."""

import json
from itertools import islice
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
from doorito_client.results import to_json

COLUMNS = ("id", "created_at", "type", "status", "aggregate_type", "aggregate_id")
_type = click.option("--type", "event_type", metavar="TYPE", help="Only this type.")


@click.group(cls=Group)
def events() -> None:
    """Events: list, follow, show."""


@events.command("ls")
@_type
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most.")
@connection
@as_json
def list_(
    *, event_type: str | None, limit: int, server: str | None, token: str | None, as_json: bool
) -> None:
    """List events, newest first."""
    with connect(server, token) as client:
        found = list(islice(client.events(type=event_type), limit))
    print_table(found, COLUMNS, json_wanted=as_json)


@events.command()
@_type
@connection
@as_json
def tail(*, event_type: str | None, server: str | None, token: str | None, as_json: bool) -> None:
    """Print events as they happen, until Ctrl-C. JSON is one object per line."""
    with connect(server, token) as client:
        for event in client.follow_events(type=event_type):
            if as_json:
                click.echo(json.dumps(to_json(event), ensure_ascii=False))
            else:
                parts = (event.created_at.isoformat(timespec="seconds"), event.type, event.id)
                click.echo("  ".join(map(str, (*parts, event.aggregate_id))))


@events.command()
@click.argument("event_id", metavar="EVENT", type=click.UUID)
@connection
@as_json
def show(*, event_id: UUID, server: str | None, token: str | None, as_json: bool) -> None:
    """Show an event as receivers get it, and its deliveries."""
    with connect(server, token) as client:
        print_record(client.event(event_id), json_wanted=as_json)
