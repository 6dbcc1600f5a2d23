"""``run``: workflows on files, started and watched."""

import json
import sys
from itertools import islice
from typing import Any
from uuid import UUID

import click

from doorito_client.cli.common import (
    Group,
    as_json,
    connect,
    connection,
    print_json,
    print_record,
    printable,
)
from doorito_client.results import Run

_run_id = click.argument("run_id", metavar="RUN", type=click.UUID)
_wait = click.option(
    "--wait",
    "is_waiting",
    is_flag=True,
    help="Until it has ended. Exit code 1 unless it went well.",
)


class Setting(click.ParamType):
    """A member of a configuration: ``name=value``, the value as JSON or, else, a text."""

    name = "setting"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        name, equals, text = str(value).partition("=")
        if not (name and equals):
            self.fail(f"{value!r} is not a setting such as max_pages=20.", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


@click.group(cls=Group)
def run() -> None:
    """Runs of workflows on files: start, list, show, cancel, retry."""


@run.command()
@click.argument("workflow", metavar="WORKFLOW")
@click.argument("file_id", metavar="FILE", type=click.UUID)
@click.option(
    "--set", "settings", multiple=True, type=Setting(), metavar="KEY=VALUE", help="Configuration."
)
@_wait
@connection
@as_json
def start(
    *,
    workflow: str,
    file_id: UUID,
    settings: tuple[tuple[str, Any], ...],
    is_waiting: bool,
    server: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Start a workflow, named by its slug, on a file."""
    with connect(server, token) as client:
        found = client.start_run(workflow, file_id, **dict(settings))
        if is_waiting:
            found = client.wait_for_run(found.id)
    print_record(found, json_wanted=as_json)
    _end(found, is_waiting=is_waiting)


@run.command("ls")
@click.option("--file", "file_id", type=click.UUID, help="Only on this file.")
@click.option("--workflow", metavar="SLUG", help="Only of this workflow.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most.")
@connection
@as_json
def list_(
    *,
    file_id: UUID | None,
    workflow: str | None,
    limit: int,
    server: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """List runs on your files, newest first."""
    with connect(server, token) as client:
        found = list(islice(client.runs(file_id=file_id, workflow=workflow), limit))
    if as_json:
        print_json(found)
        return
    for each in found:
        click.echo(printable(f"{each.id}  {each.status}  {each.workflow.slug}  {_about(each)}"))


@run.command()
@_run_id
@_wait
@connection
@as_json
def show(
    *, run_id: UUID, is_waiting: bool, server: str | None, token: str | None, as_json: bool
) -> None:
    """Show a run with its output."""
    with connect(server, token) as client:
        found = client.wait_for_run(run_id) if is_waiting else client.run(run_id)
    print_record(found, json_wanted=as_json)
    _end(found, is_waiting=is_waiting)


@run.command()
@_run_id
@connection
@as_json
def cancel(*, run_id: UUID, server: str | None, token: str | None, as_json: bool) -> None:
    """Take a run back."""
    with connect(server, token) as client:
        print_record(client.cancel_run(run_id), json_wanted=as_json)


@run.command()
@_run_id
@connection
@as_json
def retry(*, run_id: UUID, server: str | None, token: str | None, as_json: bool) -> None:
    """Try a run again that failed or was cancelled."""
    with connect(server, token) as client:
        print_record(client.retry_run(run_id), json_wanted=as_json)


def _about(found: Run) -> str:
    return found.file.original_filename


def _end(found: Run, *, is_waiting: bool) -> None:
    if is_waiting and found.status != "completed":
        sys.exit(1)
