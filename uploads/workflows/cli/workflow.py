"""``doorito workflow``: what can be done with stored files."""

import click

from common.console import Row, print_rows
from uploads.models import Workflow
from uploads.workflows import selectors
from uploads.workflows.builtin import install_builtin


@click.group()
def workflow() -> None:
    """Workflows: list them, add the built-in ones."""


@workflow.command("list")
@click.option("--all", "show_all", is_flag=True, help="Also those that are switched off.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(show_all: bool, as_json: bool) -> None:
    """List the workflows that can be started."""
    everything = selectors.all_workflows()
    found = everything if show_all else [each for each in everything if each.is_active]
    print_rows([_row(each) for each in found], as_json=as_json)
    if not found and everything:
        click.echo("All are switched off: see --all, and switch them on in the admin.", err=True)
    elif not found:
        click.echo("There are none: ./doorito workflow install-builtin adds some.", err=True)


@workflow.command("install-builtin")
def install_builtin_() -> None:
    """Add the built-in workflows that are missing, switched off. Repeating it is harmless."""
    installed = install_builtin()
    for each in installed:
        click.echo(each.slug)
    if installed:
        click.echo("Look at them in the admin, and switch on what you want.", err=True)
    else:
        click.echo("All are there already.", err=True)


def _row(each: Workflow) -> Row:
    return {
        "slug": each.slug,
        "name": each.name,
        "task": each.task_name,
        "active": each.is_active,
        "auto_start": each.auto_start,
        "next": each.on_success.slug if each.on_success else None,
        "types": each.accepted_types,
    }
