"""Procfile.dev: the processes of `make run`, one by one."""

import re
import shlex

from honcho.environ import parse_procfile

from boot.supervisor import commands
from boot.tests.portal import ROOT

PREFIX = ["DJANGO_CONFIGURATION=${DJANGO_CONFIGURATION:-Local}", "exec"]


def test_it_has_the_processes_of_the_supervisor():
    processes = parse_procfile((ROOT / "Procfile.dev").read_text()).processes
    expected = commands()

    assert list(processes) == list(expected)
    for name, command in processes.items():
        words = shlex.split(command)
        assert words[:2] == PREFIX
        assert words[2] == ".venv/bin/python"
        assert [_plain(word) for word in words[3:]] == [
            _plain(word) for word in _without_warnings(expected[name])
        ]


def _without_warnings(command):
    """Of a command of the supervisor: what follows Python and its option -W."""
    return command[3:] if command[1] == "-W" else command[1:]


def _plain(word):
    """Without how many at once, which are settings there and variables here."""
    return re.sub(r"^--concurrency=.*", "--concurrency", word)


def test_its_variables_are_settings_with_their_defaults():
    text = (ROOT / "Procfile.dev").read_text()
    example = (ROOT / ".env.example").read_text()
    variables = set(re.findall(r"\$\{([A-Z_]+):-(\w+)\}", text)) - {
        ("DJANGO_CONFIGURATION", "Local")
    }
    assert variables
    assert [name for name, value in variables if f"# {name}={value}\n" not in example] == []
