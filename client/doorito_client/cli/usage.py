"""``usage``: what the account takes up of its limits."""

import click
from rich.filesize import decimal

from doorito_client.cli.common import Command, as_json, connect, connection, print_json
from doorito_client.results import Usage


@click.command(cls=Command)
@connection
@as_json
def usage(*, server: str | None, token: str | None, as_json: bool) -> None:
    """Show what your files take up, and what you may."""
    with connect(server, token) as client:
        found = client.usage()
    if as_json:
        print_json(found)
        return
    click.echo(_line("storage", found.bytes, is_size=True))
    click.echo(_line("files", found.files))
    click.echo(_line("uploads under way", found.uploads_under_way))


def _line(name: str, usage: Usage, *, is_size: bool = False) -> str:
    used, limit = (
        decimal(number) if is_size and number is not None else number
        for number in (usage.used, usage.limit)
    )
    if usage.limit is None:
        return f"{name:<18}  {used}, without a limit"
    left = f", {100 * usage.used // usage.limit} %" if usage.limit else ""
    return f"{name:<18}  {used} of {limit}{left}"
