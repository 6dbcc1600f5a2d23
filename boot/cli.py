"""The command line, `./doorito`. Commands of the apps are added by name and loaded when needed."""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import click
import configurations

from boot import configuration
from boot.errors import STOPPED, CannotRunError, told_in_one_line
from common.version import VERSION
from doorito_client.cli import main as client

# Each needs Django set up before it can be imported, and a database when it is run.
APP_COMMANDS = {
    "backup": "boot.backup.cli:backup",
    "token": "accounts.cli:token",
    "user": "accounts.cli:user",
    "webhook": "common.webhooks.cli.webhook:webhook",
    "events": "common.webhooks.cli.events:events",
    "listen": "common.webhooks.cli.listen:listen",
    "grant": "uploads.cli:grant",
    "share": "uploads.cli:share",
    "storage": "uploads.checking.cli:storage",
    "workflow": "uploads.workflows.cli.workflow:workflow",
    "run": "uploads.workflows.cli.run:run",
}


class Root(click.Group):
    """The group of all commands; sets Django up, and the database for the apps' commands.

    The client's commands need neither: they speak to a portal over HTTP.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *APP_COMMANDS, *client.SHARED])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in client.SHARED:
            return client.load(cmd_name)
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
            ctx.with_resource(_startup().acting_at_the_shell())
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Ctrl-C is no failure, as which click would report it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            ctx.exit(STOPPED)


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
    _check_settings(startup)
    with startup.database():
        if pending := startup.pending_migrations():
            raise CannotRunError(f"The database lacks {pending} migrations: {startup.PREPARE}.")
        if problems := startup.bad_rows():
            raise CannotRunError(" ".join(problems))
    click.echo("No problems found.")


@doorito.command()
@click.option("--url", default="", help="Try the way from this public address to the portal, too.")
@click.option(
    "--patience", default=10.0, metavar="SECONDS", help="Silence that a proxy has to bear."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(url: str, patience: float, as_json: bool) -> None:
    """Look at everything that a portal needs, and say what is wrong and what to do.

    Settings, database, migrations, storage, free disk, broker, processes. Ends with 1 if something
    is wrong. Of a portal that does not run, its database is started for the time.

    With --url, what proxies do to requests: limits of bodies, buffering, timeouts, methods,
    headers, ranges, and what to change in nginx, Caddy, Traefik and Apache.
    """
    configurations.setup()
    doctor = import_module("boot.doctor")
    if not doctor.examine(as_json=as_json, url=url, patience=patience):
        sys.exit(1)


@doorito.command()
def hello() -> None:
    """Say hello, and what to do next."""
    click.echo(f"Hello, this is Doorito {VERSION}. `./doorito up` runs the portal;")
    click.echo("`./doorito doctor` says what is wrong; `./doorito upload` sends files to it.")


_wait = click.option(
    "--wait",
    "seconds",
    type=click.IntRange(min=0),
    default=0,
    metavar="SECONDS",
    help="How long to wait for the database, and for others to prepare the portal.",
)


@doorito.command()
@_wait
@click.option("--static-only", is_flag=True, help="Collect the static files, without a database.")
def prepare(seconds: int, *, static_only: bool) -> None:
    """Prepare the database and static files, for processes that are started one by one.

    (`up` does so by itself.) Creates the built-in workflows and the first administrator, too. Safe
    to repeat, and to be done after each upgrade.
    """
    configurations.setup()
    startup = _startup()
    if static_only:
        startup.collect_static()
        return
    _check_settings(startup)
    _starting().wait_for_database(seconds)
    with startup.database():
        startup.prepare()
    click.echo("The portal is prepared.")


@doorito.command()
@click.argument("process", type=click.Choice(["web", "worker", "workflows", "beat"]))
@_wait
@click.option("--prepare", is_flag=True, help="Prepare the portal first, as `prepare` does.")
def start(process: str, seconds: int, *, prepare: bool) -> None:
    """Run one of the processes that `up` runs, once the portal is prepared.

    Needs a DATABASE_URL. There may be several of each, but only one `beat`.
    """
    configurations.setup()
    startup = _startup()
    _check_settings(startup)
    startup.refuse_embedded_database()
    starting = _starting()
    starting.wait_for_database(seconds)
    if prepare:
        startup.prepare()
    starting.become(process, seconds=seconds)


def _check_settings(startup: Any) -> None:
    startup.refuse_bad_settings()
    for warning in startup.warnings():
        click.echo(f"Warning: {warning}", err=True)


@doorito.command()
def reencrypt() -> None:
    """Encrypt the stored secrets with the current DJANGO_SECRET_KEY.

    Those that an earlier key of DJANGO_SECRET_KEY_FALLBACKS encrypted need that key no longer.
    """
    configurations.setup()
    with _startup().database():
        count = import_module("boot.reencryption").reencrypt_all()
    click.echo(f"Secrets encrypted anew: {count}.")


@doorito.command()
def version() -> None:
    """Print the version."""
    click.echo(VERSION)


def _startup() -> Any:
    """boot.startup, whose imports need Django set up."""
    return import_module("boot.startup")


def _starting() -> Any:
    return import_module("boot.starting")


def main() -> None:
    """`./doorito`, configured as Local unless DJANGO_CONFIGURATION says otherwise."""
    run(partial(doorito, prog_name="doorito"), default="Local")


def run(command: Callable[[], Any], *, default: str) -> None:
    """Call `command` with the configuration that is chosen."""
    configuration.choose(default)
    with told_in_one_line():
        configuration.refuse_unknown()
        command()
