"""What an event is about, in a few words."""

from typing import Any

from common.console import printable

_NAMES = ("original_filename", "name", "description", "url", "host", "id")


def about(data: dict[str, Any]) -> str:
    """The name of the first thing in an event's `data` other than who did it.

    It knows no app's payloads: they all name what they are about by one of these.
    """
    things = [value for key, value in data.items() if key != "actor" and isinstance(value, dict)]
    names = [str(thing[name]) for thing in things[:1] for name in _NAMES if thing.get(name)]
    return printable(names[0]) if names else ""
