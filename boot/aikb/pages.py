"""Pages with tables between markers; what is around them is written by people."""

import re
from pathlib import Path

from boot.aikb import source_tables, tables
from boot.errors import CannotRunError

# Every table that a page can show, by the name in its marker.
TABLES = {
    "models": tables.models,
    "urls": tables.urls,
    "registered tasks": tables.registered_tasks,
    "periodic tasks": tables.periodic_tasks,
    "admin": tables.admin_classes,
    "commands": tables.commands,
    "management commands": tables.management_commands,
    "events": tables.events,
    "services": source_tables.services,
    "signals": source_tables.signal_receivers,
    "settings": source_tables.settings_read,
    "dependencies": source_tables.dependencies,
}
_TABLE = re.compile(r"(<!-- table: ([a-z ]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def stale(folder: Path) -> dict[Path, str]:
    """The pages whose tables do not say what the code says, each with the text that it should have.

    Raises CannotRunError for a marker that names no table.
    """
    texts = {path: _up_to_date(path) for path in sorted(folder.glob("*.md"))}
    return {path: text for path, text in texts.items() if text != path.read_text()}


def shown(folder: Path) -> set[str]:
    """The names of the tables that the pages show."""
    return {match[2] for path in folder.glob("*.md") for match in _TABLE.finditer(path.read_text())}


def _up_to_date(path: Path) -> str:
    def replaced(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise CannotRunError(f"{path.name} asks for a table that does not exist: {match[2]}.")
        return f"{match[1]}\n{TABLES[match[2]]()}\n\n{match[3]}"

    return _TABLE.sub(replaced, path.read_text())
