"""docs/cli.md and the command line agree, and every command has help."""

import re
from pathlib import Path

import click
import pytest

from boot.cli import doorito
from doorito_client.cli.main import COMMANDS
from doorito_client.cli.main import main as client

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text()


def commands(group: click.Group, path: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """All commands below a group, by their names with those of their groups."""
    context = click.Context(group)
    found: dict[str, click.Command] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found[" ".join((*path, name))] = command
        if isinstance(command, click.Group):
            found |= commands(command, (*path, name))
    return found


ALL = commands(doorito) | {f"client {name}": each for name, each in commands(client).items()}


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_and_so_has_every_option(name):
    command = ALL[name]
    assert command.get_short_help_str()
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_every_command_has_its_place_in_the_docs():
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", DOCS, re.M)
    named = {name for row, _ in rows for name in re.findall(r"`([a-z-]+)`", row)}
    assert named == {name for name in commands(doorito) if " " not in name}
    assert {"events", "run", "webhook"} | named >= set(COMMANDS)


@pytest.mark.parametrize("name", [name for name in commands(doorito) if " " in name])
def test_every_command_of_a_group_is_named_in_the_docs(name):
    group, command = name.split(" ")[:2]
    row = next(line for line in DOCS.splitlines() if line.startswith(f"| `{group}` |"))
    assert f"`{command}`" in row
