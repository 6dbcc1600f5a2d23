"""Django's management commands, with the embedded database started for those that need it."""

import sys
from importlib import import_module

import configurations
from configurations import importer

from boot import configuration
from boot.cli import run

# Commands that never ask the database anything.
_WITHOUT_DATABASE = {
    "",
    "aikb",
    "help",
    "version",
    "check",
    "collectstatic",
    "compilemessages",
    "diffsettings",
    "findstatic",
    "makemessages",
    "startapp",
}


def main() -> None:
    """`manage.py`, configured as Dev unless the environment or --configuration says otherwise."""
    run(_execute, default="Dev")


def _execute() -> None:
    importer.install(check_options=True)
    configuration.refuse_unknown()
    from_command_line = import_module("django.core.management").execute_from_command_line
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if command in _WITHOUT_DATABASE or {"-h", "--help"} & set(sys.argv):
        from_command_line(sys.argv)
        return
    configurations.setup()
    with import_module("boot.startup").database():
        from_command_line(sys.argv)
