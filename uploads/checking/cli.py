"""``doorito storage``: where files lie, and whether rows and bytes agree."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import click
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from common.errors import DooritoError
from uploads.checking import mending
from uploads.checking.findings import MENDABLE, Finding
from uploads.checking.walking import Walk
from uploads.files import moving
from uploads.storage import Storage, configured, named
from uploads.storage.base import ListsObjects
from uploads.storage.s3 import configuration, setup

FAILED = 1


@click.group()
def storage() -> None:
    """Storage: compare it with the database, move files to another backend, set a bucket up."""


@storage.command()
@click.option(
    "--fix", is_flag=True, help="Remove bytes that no file has; fail files whose bytes are lost."
)
@click.option("--hash", "with_digests", is_flag=True, help="Read every byte and check the SHA-256.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
@click.pass_context
def check(ctx: click.Context, fix: bool, with_digests: bool, as_json: bool) -> None:
    """Find bytes without a file, files without bytes, wrong sizes.

    Changes nothing without --fix, and then nothing that is being received or is younger than an
    hour. Files with wrong bytes are never changed. Ends with 1 if something stays wrong.
    """
    is_wrong = False
    for name in configured():
        store = named(name)
        if isinstance(store.objects, ListsObjects):
            is_wrong |= _check(store, fix=fix, with_digests=with_digests, as_json=as_json)
        else:
            click.echo(f"{name}: this storage does not list what it has.", err=True)
    if is_wrong:
        ctx.exit(FAILED)


@storage.command()
@click.option(
    "--to", "target", required=True, type=click.Choice(["local", "s3"]), help="Where files go."
)
@click.pass_context
def move(ctx: click.Context, target: str) -> None:
    """Move all stored files to a backend. Safe to stop and to repeat; files stay readable."""
    while moving.remove_left_objects():
        pass
    amount = moving.count_elsewhere(to=target)
    failed = 0
    with click.progressbar(
        length=max(amount.size_bytes, 1), label=f"{amount.files} files", width=30
    ) as bar:
        for file in moving.files_elsewhere(to=target):
            moved = moving.move(file, to=target)
            bar.update(moved.size_bytes)
            if moved.problem:
                failed += 1
                click.echo(f"\n{moved.file_id}: {moved.problem}", err=True)
    click.echo(f"{amount.files - failed} files are in {target} now; {failed} stayed.")
    if failed:
        ctx.exit(FAILED)


@storage.command("s3-setup")
@click.option("--apply", "is_applied", is_flag=True, help="Set CORS and lifecycle of the bucket.")
def s3_setup(is_applied: bool) -> None:
    """Print what the bucket needs: CORS, lifecycle, the least policy; or apply the former two."""
    config = configuration()
    if not config.bucket:
        raise ImproperlyConfigured("AWS_STORAGE_BUCKET_NAME must name the bucket.")
    for title, value in (
        ("CORS", {"CORSRules": [setup.cors_rule(settings.PUBLIC_URL)]}),
        ("Lifecycle", {"Rules": [setup.lifecycle_rule(config)]}),
        ("Policy of the portal's key or role", setup.policy(config)),
    ):
        click.echo(f"{title}:\n{json.dumps(value, indent=2)}\n")
    if is_applied:
        try:
            setup.apply(config, origin=settings.PUBLIC_URL)
        except DooritoError as exc:
            raise click.ClickException(exc.message) from exc
        click.echo(f"CORS and lifecycle of {config.bucket} are set.")


def _check(store: Storage, *, fix: bool, with_digests: bool, as_json: bool) -> bool:
    """Whether something is wrong at the end."""
    if fix:
        mending.require_something_held(store)
    walk, mended = Walk(store, with_digests=with_digests), 0
    for finding in _findings(walk):
        is_mended = fix and mending.mend(store, finding)
        mended += is_mended
        if as_json:
            click.echo(json.dumps(_facts(finding) | {"fixed": is_mended}))
        else:
            click.echo(f"{finding}{' (fixed)' if is_mended else ''}")
    found = sum(walk.tally.findings.values())
    if as_json:
        click.echo(json.dumps({"backend": store.name, **asdict(walk.tally), "fixed": mended}))
    else:
        click.echo(_summary(walk, found=found, mended=mended, fix=fix))
    return mended < found


def _findings(walk: Walk) -> Iterator[Finding]:
    yield from walk.files()
    yield from walk.uploads()


def _facts(finding: Finding) -> dict[str, str | None]:
    file_id = str(finding.file_id) if finding.file_id else None
    facts = asdict(finding) | {"kind": finding.kind.value, "file_id": file_id}
    return {name: value for name, value in facts.items() if name != "token"}


def _summary(walk: Walk, *, found: int, mended: int, fix: bool) -> str:
    tally = walk.tally
    seen = (
        f"{walk.store.name}: {tally.objects} objects, {tally.size_bytes} bytes, {tally.rows} rows."
    )
    if not found:
        return f"{seen} They agree."
    what = f"{seen} {found} found, {mended} fixed." if fix else f"{seen} {found} found."
    mendable = sum(number for kind, number in tally.findings.items() if kind in MENDABLE)
    return f"{what} With --fix, {mendable} can be fixed." if mendable and not fix else what
