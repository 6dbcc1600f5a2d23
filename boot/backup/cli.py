"""``doorito backup``: make, verify and restore backups."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import click
from django.conf import settings

from boot import startup
from boot.backup import restoring, taking
from boot.backup.folder import Backup, Manifest, Progress
from boot.backup.folder import verify as verify_backup
from common.cli_params import Duration
from common.console import print_json

_FOLDER = click.Path(path_type=Path, file_okay=False)
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def backup() -> None:
    """Backups of a portal at work: make, verify, restore."""


@backup.command()
@click.argument("folder", type=_FOLDER)
@click.option(
    "--link-to",
    "earlier",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="An earlier backup on the same disk; files that it has are linked, not copied.",
)
@_AS_JSON
def create(folder: Path, earlier: Path | None, as_json: bool) -> None:
    """Make a backup: the new folder FOLDER, with database, stored files and secret key.

    The portal may run. What was announced before is in it, whole; uploads under way are not. Keep
    it as closed as the portal's own data.
    """
    with _bar("Copying") as begin:
        manifest = taking.take(folder, earlier=Backup(earlier) if earlier else None, begin=begin)
    _print(folder, manifest, as_json=as_json, done="Made")


@backup.command()
@click.argument("folder", type=_FOLDER)
@_AS_JSON
def verify(folder: Path, as_json: bool) -> None:
    """Read all of a backup and compare it with its digests."""
    found = Backup(folder)
    with _bar("Reading") as begin:
        manifest = verify_backup(found, progress=begin(found.manifest().size_bytes))
    _print(folder, manifest, as_json=as_json, done="Whole:")


@backup.command()
@click.argument("folder", type=_FOLDER)
@click.option(
    "--keep-for",
    type=Duration(),
    help="Files expire no sooner than this from now. Without it, FILE_UPLOAD_TTL_HOURS.",
)
@_AS_JSON
def restore(folder: Path, keep_for: timedelta | None, as_json: bool) -> None:
    """Make a portal of a backup. The portal must not run, and its database must be empty."""
    lease = keep_for or timedelta(hours=settings.FILE_UPLOAD_TTL_HOURS)
    with startup.only_one(settings.DOORITO_DATA_DIR), _bar("Restoring") as begin:
        restored = restoring.restore(Backup(folder), keep_for=lease, begin=begin)
    _print(folder, restored.manifest, as_json=as_json, done="Restored")
    if restored.ended and not as_json:
        click.echo(f"{restored.ended} uploads were under way and have to begin anew.")


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int], Progress]]:
    """On standard error; once the bytes to come are known."""
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def begin(total_bytes: int) -> Progress:
            bar.length = max(total_bytes, 1)
            return bar.update

        yield begin


def _print(folder: Path, manifest: Manifest, *, as_json: bool, done: str) -> None:
    if as_json:
        print_json({"folder": str(folder), **asdict(manifest)})
        return
    click.echo(
        f"{done} {folder}: {manifest.files} files, {manifest.size_bytes} bytes, "
        f"as of {manifest.made_at}."
    )
    if manifest.lost:
        click.echo(f"{len(manifest.lost)} consumed or deleted files went meanwhile.")
