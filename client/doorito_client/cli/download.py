"""``download`` and ``consume``: bytes out of the portal."""

import sys
from pathlib import Path
from uuid import UUID

import click

from doorito_client.cli.common import (
    Command,
    as_json,
    connect,
    connection,
    print_json,
    print_record,
    printable,
)
from doorito_client.cli.progress import bars
from doorito_client.client import Client
from doorito_client.results import Consumption, File, to_json

_output = click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A folder, or the file's new name; - is standard output.",
)
_force = click.option("--force", is_flag=True, help="Replace a file that is there.")


@click.command(cls=Command)
@click.argument("file_ids", metavar="FILE...", type=click.UUID, nargs=-1, required=True)
@_output
@_force
@connection
@as_json
def download(
    *,
    file_ids: tuple[UUID, ...],
    output: Path | None,
    force: bool,
    server: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Download files, named by their ids, into this folder.

    A broken download goes on where it was. A file gets its name once its SHA-256 is right.
    """
    target = output or Path()
    if len(file_ids) > 1 and not target.is_dir():
        raise click.UsageError("Several files need a folder as --output.")
    rows = []
    with connect(server, token) as client:
        for file_id in file_ids:
            file = client.file(file_id)
            path = _fetch(client, file, target, url="", is_replacing=force)
            rows.append({"path": path, "file": to_json(file)})
            if not as_json and path != "-":
                click.echo(printable(path))
    if as_json:
        print_json(rows)


@click.command(cls=Command)
@click.argument("file_id", metavar="FILE", type=click.UUID)
@_output
@_force
@connection
@as_json
def consume(
    *,
    file_id: UUID,
    output: Path | None,
    force: bool,
    server: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Take a file for processing: one caller gets it, others end with exit code 5.

    With --output the bytes are fetched as well; without it, the answer has a private link to them.
    """
    with connect(server, token) as client:
        taken = client.consume(file_id)
        if output is not None:
            _fetch_claimed(client, taken, output, is_replacing=force)
        if str(output) != "-":
            print_record(taken, json_wanted=as_json)


def _fetch_claimed(client: Client, taken: Consumption, output: Path, *, is_replacing: bool) -> None:
    """The link is all that is left of the file: it is shown where fetching fails."""
    try:
        _fetch(client, taken, output, url=taken.claim_url, is_replacing=is_replacing)
    except BaseException:
        click.echo(f"Until {taken.claim_expires_at:%H:%M:%S %Z}: {taken.claim_url}", err=True)
        raise


def _fetch(client: Client, file: File, target: Path, *, url: str, is_replacing: bool) -> str:
    """The path, "-" for standard output."""
    with bars(files=1, total_bytes=file.size_bytes) as shown:
        follow = shown.follow(file.original_filename, file.size_bytes)
        if str(target) == "-":
            client.download_to(file, sys.stdout.buffer, url=url, on_progress=follow)
            return "-"
        return str(
            client.download(file, target, url=url, is_replacing=is_replacing, on_progress=follow)
        )
