"""What the commands share: how they reach the portal, fail, and print."""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from doorito_client.cli import config
from doorito_client.client import CONNECTIONS, PATIENCE, Client
from doorito_client.errors import DooritoError
from doorito_client.results import to_json
from doorito_client.transport import checked_url

INTERRUPTED = 130  # the exit code that shells have for it
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Command(click.Command):
    """A command whose errors of the client are told, not shown as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DooritoError as error:
            click.echo(f"Error: {printable(str(error))}", err=True)
            ctx.exit(error.exit_code)
        except OSError as exc:
            name = f"{exc.filename}: " if exc.filename else ""
            raise click.ClickException(f"{name}{exc.strerror or exc}.") from exc


class Group(click.Group):
    command_class = Command


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def connection[**P, T](command: Callable[P, T]) -> Callable[P, T]:
    """The options that say which portal, and who asks."""
    server = click.option(
        "--server", envvar="DOORITO_SERVER", metavar="URL", help="The portal [DOORITO_SERVER]."
    )
    token = click.option(
        "--token",
        envvar="DOORITO_TOKEN",
        metavar="TOKEN",
        help="An API token [DOORITO_TOKEN]. Without it, that of `login`.",
    )
    return server(token(command))


def connect(server: str | None, token: str | None, *, connections: int = CONNECTIONS) -> Client:
    """The client of the portal that is named, or that this user is logged in to."""
    login = config.read()
    address = checked_url(server or login.current) if server or login.current else ""
    if not address:
        raise DooritoError(
            "No portal is named.", advice="Log in: doorito-client login URL. Or set --server."
        )
    secret = token or config.token_of(login, address)
    if not secret:
        raise DooritoError(
            f"There is no token for {address}.",
            advice=f"Log in: doorito-client login {address}. Or set --token.",
        )
    return Client(address, secret, connections=connections, patience=PATIENCE)


class Duration(click.ParamType):
    """A time span such as ``30d`` or ``12h``."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        number, unit = str(value)[:-1], str(value)[-1:]
        if not (number.isascii() and number.isdigit()) or unit not in _UNITS:
            self.fail(f"{value!r} is not a duration such as 90s, 15m, 12h, 30d or 8w.", param, ctx)
        return timedelta(seconds=int(number) * _UNITS[unit])


def now() -> datetime:
    return datetime.now(UTC)


def progress_console() -> Console:
    return Console(stderr=True)


def print_json(value: Any) -> None:
    click.echo(json.dumps(to_json(value), indent=2, ensure_ascii=False))


def print_record(value: Any, *, json_wanted: bool) -> None:
    """One record: a line for each member."""
    if json_wanted:
        print_json(value)
        return
    for name, member in to_json(value).items():
        if member not in (None, "", [], {}):
            click.echo(f"{name:<18}  {_cell(member)}")


def print_table(rows: Sequence[Any], columns: Sequence[str], *, json_wanted: bool) -> None:
    """Records: the named members of each. JSON is an array of whole records."""
    if json_wanted:
        print_json(list(rows))
        return
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name.upper(), overflow="fold", no_wrap=name == "id")
    for row in rows:
        table.add_row(*(Text(_cell(to_json(getattr(row, name)))) for name in columns))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def printable(text: str) -> str:
    """A text of unknown origin without what would steer the terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return printable(json.dumps(value, ensure_ascii=False))
    if isinstance(value, list):
        return printable(", ".join(map(str, value)))
    return "-" if value in (None, "") else printable(str(value))
