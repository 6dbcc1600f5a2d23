"""``doorito storage``: whether rows and bytes agree."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import click

from uploads.checking import mending
from uploads.checking.findings import MENDABLE, Finding
from uploads.checking.walking import Walk
from uploads.storage import Storage, backends, named
from uploads.storage.base import ListsObjects


@click.group()
def storage() -> None:
    """Storage: compare what it has with what the database says."""


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
    for name in backends():
        store = named(name)
        if isinstance(store.objects, ListsObjects):
            is_wrong |= _check(store, fix=fix, with_digests=with_digests, as_json=as_json)
        else:
            click.echo(f"{name}: this storage does not list what it has.", err=True)
    if is_wrong:
        ctx.exit(1)


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
