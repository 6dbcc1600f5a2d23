"""``ls``, ``show``, ``rm``, ``extend``: files that the portal has."""

import sys
from datetime import timedelta
from itertools import islice
from uuid import UUID

import click

from doorito_client.cli.common import (
    Command,
    Duration,
    as_json,
    connect,
    connection,
    now,
    print_json,
    print_record,
    print_table,
)
from doorito_client.errors import DooritoError

COLUMNS = ("id", "status", "size_bytes", "created_at", "expires_at", "original_filename")
STATUSES = ("uploading", "checking", "stored", "processed", "deleted", "failed")


@click.command(cls=Command)
@click.option("--status", type=click.Choice(STATUSES), help="Only in this state.")
@click.option("--batch", "batch_id", type=click.UUID, metavar="ID", help="Only of this batch.")
@click.option("--search", metavar="TEXT", help="Only with this in their names.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most.")
@click.option("--all", "is_all", is_flag=True, help="However many there are.")
@connection
@as_json
def ls(
    *,
    status: str | None,
    batch_id: UUID | None,
    search: str | None,
    limit: int,
    is_all: bool,
    server: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """List your files, newest first."""
    with connect(server, token) as client:
        files = client.files(status=status, batch_id=batch_id, search=search)
        found = list(islice(files, None if is_all else limit))
    print_table(found, COLUMNS, json_wanted=as_json)


@click.command(cls=Command)
@click.argument("file_id", metavar="FILE", type=click.UUID)
@connection
@as_json
def show(*, file_id: UUID, server: str | None, token: str | None, as_json: bool) -> None:
    """Show all that the portal knows of a file."""
    with connect(server, token) as client:
        print_record(client.file(file_id), json_wanted=as_json)


@click.command(cls=Command)
@click.argument("file_ids", metavar="FILE...", type=click.UUID, nargs=-1, required=True)
@connection
@as_json
def rm(*, file_ids: tuple[UUID, ...], server: str | None, token: str | None, as_json: bool) -> None:
    """Remove files; their records stay. Repeating it is harmless."""
    failed: DooritoError | None = None
    removed: list[str] = []
    with connect(server, token) as client:
        for file_id in file_ids:
            try:
                client.delete(file_id)
            except DooritoError as error:
                click.echo(f"Error: {file_id}: {error}", err=True)
                failed = error
            else:
                removed.append(str(file_id))
    if as_json:
        print_json(removed)
    if failed:
        sys.exit(failed.exit_code)


@click.command(cls=Command)
@click.argument("file_id", metavar="FILE", type=click.UUID)
@click.argument("time", metavar="TIME", type=Duration())
@connection
@as_json
def extend(
    *, file_id: UUID, time: timedelta, server: str | None, token: str | None, as_json: bool
) -> None:
    """Keep a file for TIME from now (12h, 30d), if that is longer and the portal allows it."""
    with connect(server, token) as client:
        print_record(client.extend(file_id, now() + time), json_wanted=as_json)
