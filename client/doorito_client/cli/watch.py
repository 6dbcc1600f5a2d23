"""``watch``: a folder whose finished files are uploaded."""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path

import click

from doorito_client.cli.common import (
    Command,
    Duration,
    as_json,
    connect,
    connection,
    printable,
)
from doorito_client.client import CONNECTIONS
from doorito_client.errors import DooritoError
from doorito_client.results import to_json
from doorito_client.uploading import Outcome
from doorito_client.watching import Watch

DONE = "done"
LEAST_PAUSE = 0.2  # seconds between two looks
MOST_PAUSE = 2.0
OUTAGE_PAUSE = 30.0


@click.command(cls=Command)
@click.argument(
    "folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "--settle",
    type=Duration(),
    default="5s",
    show_default=True,
    help="How long a file must not change before it counts as finished.",
)
@click.option("--recursive", "-r", is_flag=True, help="Folders inside too.")
@click.option(
    "--done",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where uploaded files are moved to, on the same file system.  [default: DIR/done]",
)
@click.option(
    "--keep", is_flag=True, help="Leave uploaded files where they are, and remember them."
)
@click.option("--once", is_flag=True, help="Upload what has come to rest, and end.")
@click.option(
    "--parallel",
    type=click.IntRange(1, 64),
    default=CONNECTIONS,
    show_default=True,
    help="Connections at once.",
)
@connection
@as_json
def watch(
    *,
    folder: Path,
    settle: timedelta,
    recursive: bool,
    done: Path | None,
    keep: bool,
    once: bool,
    parallel: int,
    server: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Upload each finished file of a folder once, until Ctrl-C.

    Uploaded files are moved away. Hidden files and links are passed over, and files that a program
    still writes to wait. It may be killed at any time: the next one goes on, and sends nothing
    twice.
    """
    if keep and done:
        raise click.UsageError("--keep and --done exclude each other.")

    def tell(outcome: Outcome) -> None:
        _tell(outcome, as_json=as_json)

    with connect(server, token, connections=parallel) as client:
        watching = Watch(
            client,
            folder,
            settle_seconds=settle.total_seconds(),
            done=None if keep else done or folder / DONE,
            is_recursive=recursive,
            on_outcome=tell,
        )
        with watching.alone():
            if once:
                sys.exit(_once(watching, settle.total_seconds()))
            _for_ever(watching, settle.total_seconds())


def _once(watching: Watch, settle_seconds: float) -> int:
    """The exit code: that of the first file that failed."""
    outcomes = watching.look()
    time.sleep(settle_seconds)
    outcomes += watching.look()
    errors = [outcome.error for outcome in outcomes if outcome.error]
    return errors[0].exit_code if errors else 0


def _for_ever(watching: Watch, settle_seconds: float) -> None:
    pause = min(max(settle_seconds / 2, LEAST_PAUSE), MOST_PAUSE)
    while True:
        try:
            outcomes = watching.look()
        except (DooritoError, OSError) as exc:  # of a mount that is away for a while
            click.echo(f"Error: {exc}", err=True)
            time.sleep(OUTAGE_PAUSE)
            continue
        is_outage = any(outcome.error and outcome.error.exit_code in {3, 6} for outcome in outcomes)
        time.sleep(OUTAGE_PAUSE if is_outage else pause)


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    path, file, error = outcome.upload.path, outcome.file, outcome.error
    if error:
        click.echo(f"Error: {printable(f'{path}: {error}')}", err=True)
    if file is None:
        return
    if as_json:
        click.echo(json.dumps({"path": str(path), "file": to_json(file)}, ensure_ascii=False))
    else:
        click.echo(f"{file.id}  {printable(str(path))}")
