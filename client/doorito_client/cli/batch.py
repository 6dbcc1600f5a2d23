"""``batch``: files that belong together."""

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
from doorito_client.cli.files import COLUMNS as FILE_COLUMNS

COLUMNS = ("id", "status", "total_files", "stored_count", "failed_count", "created_at", "name")

_batch_id = click.argument("batch_id", metavar="BATCH", type=click.UUID)
_expected = click.option(
    "--expected", type=click.IntRange(0), help="How many files; what never comes counts as failed."
)


@click.group(cls=Group)
def batch() -> None:
    """Batches: open, list, show, close."""


@batch.command()
@click.argument("name", metavar="NAME")
@_expected
@connection
@as_json
def create(
    *, name: str, expected: int | None, server: str | None, token: str | None, as_json: bool
) -> None:
    """Open a batch."""
    with connect(server, token) as client:
        print_record(client.create_batch(name, expected_files=expected), json_wanted=as_json)


@batch.command("ls")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most.")
@connection
@as_json
def list_(*, limit: int, server: str | None, token: str | None, as_json: bool) -> None:
    """List your batches, newest first."""
    with connect(server, token) as client:
        print_table(list(islice(client.batches(), limit)), COLUMNS, json_wanted=as_json)


@batch.command()
@_batch_id
@connection
@as_json
def show(*, batch_id: UUID, server: str | None, token: str | None, as_json: bool) -> None:
    """Show a batch with its counts."""
    with connect(server, token) as client:
        print_record(client.batch(batch_id), json_wanted=as_json)


@batch.command()
@_batch_id
@connection
@as_json
def files(*, batch_id: UUID, server: str | None, token: str | None, as_json: bool) -> None:
    """List all files of a batch."""
    with connect(server, token) as client:
        print_table(list(client.batch_files(batch_id)), FILE_COLUMNS, json_wanted=as_json)


@batch.command()
@_batch_id
@_expected
@connection
@as_json
def close(
    *, batch_id: UUID, expected: int | None, server: str | None, token: str | None, as_json: bool
) -> None:
    """Say that no more files will come."""
    with connect(server, token) as client:
        print_record(client.close_batch(batch_id, expected_files=expected), json_wanted=as_json)
