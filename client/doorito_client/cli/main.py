"""The command `doorito-client`, and which of its commands the portal's `./doorito` has too."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from doorito_client import __version__
from doorito_client.cli.common import INTERRUPTED

# What any program that knows a portal can do with it.
SHARED: Mapping[str, str] = {
    "login": "doorito_client.cli.login:login",
    "logout": "doorito_client.cli.login:logout",
    "upload": "doorito_client.cli.upload:upload",
    "download": "doorito_client.cli.download:download",
    "consume": "doorito_client.cli.download:consume",
    "ls": "doorito_client.cli.files:ls",
    "show": "doorito_client.cli.files:show",
    "rm": "doorito_client.cli.files:rm",
    "extend": "doorito_client.cli.files:extend",
    "batch": "doorito_client.cli.batch:batch",
    "usage": "doorito_client.cli.usage:usage",
    "watch": "doorito_client.cli.watch:watch",
}
# On the portal's own machine, commands of these names need no token and do more.
_REMOTE: Mapping[str, str] = {
    "events": "doorito_client.cli.events:events",
    "run": "doorito_client.cli.run:run",
    "webhook": "doorito_client.cli.webhook:webhook",
}
COMMANDS = {**SHARED, **_REMOTE}


def load(name: str) -> click.Command:
    """A command by its name; imported only now, so that the others cost nothing."""
    module, attribute = COMMANDS[name].split(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


class Root(click.Group):
    """All commands, each loaded when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return load(cmd_name) if cmd_name in COMMANDS else None

    def invoke(self, ctx: click.Context) -> Any:
        """Ctrl-C is no failure, as which click would report it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """Send files to a Doorito portal and fetch them.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not logged in or not allowed, 4 not there,
    5 somebody else was first, 6 no answer or no room, 7 the bytes differ, 130 interrupted.
    """
