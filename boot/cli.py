"""The command line, `./doorito`. Commands of the apps are added by name and loaded when needed."""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click
import configurations
from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, ProgrammingError

from boot.errors import CannotRunError
from common.errors import DooritoError
from common.version import VERSION

# Each needs Django set up before it can be imported, and a database when it is run.
APP_COMMANDS = {
    "token": "accounts.cli:token",
    "webhook": "common.cli.webhook:webhook",
    "events": "common.cli.events:events",
    "listen": "common.cli.listen:listen",
    "workflow": "uploads.cli.workflow:workflow",
    "run": "uploads.cli.run:run",
}


class Root(click.Group):
    """The group of all commands; sets Django up, and the database for the apps' commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *APP_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in APP_COMMANDS:
            return super().get_command(ctx, cmd_name)
        configurations.setup()
        module, attribute = APP_COMMANDS[cmd_name].split(":")
        return getattr(import_module(module), attribute)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in APP_COMMANDS and not {"-h", "--help"}.intersection(rest):
            ctx.with_resource(_startup().database())
        return name, command, rest


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
def doorito() -> None:
    """Doorito: the front door for files on their way to AI."""


@doorito.command()
def up() -> None:
    """Run the portal: database, web server, worker and scheduler. Ctrl-C stops it."""
    configurations.setup()
    import_module("boot.supervisor").up()


@doorito.command()
def check() -> None:
    """Check the settings and the database."""
    configurations.setup()
    startup = _startup()
    startup.refuse_bad_settings()
    with startup.database():
        pending = startup.pending_migrations()
        if pending:
            raise CannotRunError(f"The database lacks {pending} migrations: run `make migrate`.")
        if problems := startup.bad_rows():
            raise CannotRunError(" ".join(problems))
    click.echo("No problems found.")


@doorito.command()
def version() -> None:
    """Print the version."""
    click.echo(VERSION)


def _startup() -> Any:
    """boot.startup, whose imports need Django set up."""
    return import_module("boot.startup")


def main() -> None:
    """`./doorito`, configured as Local unless DJANGO_CONFIGURATION says otherwise."""
    os.environ.setdefault("DJANGO_CONFIGURATION", "Local")
    run(doorito)


def run(command: Callable[[], Any]) -> None:
    """Call `command`; what operators can put right ends as one line and exit code 1."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "boot.settings")
    try:
        command()
    except (CannotRunError, DooritoError) as exc:
        _fail(str(exc))
    except ImproperlyConfigured as exc:
        configuration = f"'boot.settings.{os.environ['DJANGO_CONFIGURATION']}'"
        _fail(str(exc).removeprefix(f"Couldn't setup configuration {configuration}: "))
    except ProgrammingError as exc:
        _fail(f"The database is not prepared, run `make migrate`: {exc}")
    except (OperationalError, InterfaceError) as exc:
        _fail(f"The database does not answer: {exc}")


def _fail(message: str) -> None:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(1)
