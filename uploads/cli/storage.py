"""``doorito storage``: where files lie."""

import json

import click
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from common.errors import DooritoError
from uploads.files import moving
from uploads.storage import s3_config
from uploads.storage.s3 import setup

FAILED = 1


@click.group()
def storage() -> None:
    """Where files lie: move them to another backend, set a bucket up."""


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
    config = s3_config()
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
