"""A short description of what an event is about."""

from typing import Any

from common.console import printable

_NAMES = ("original_filename", "name", "description", "url", "host", "id")


def about(data: dict[str, Any]) -> str:
    """The name of the first thing in an event's `data` other than the actor.

    Independent of the apps' payloads: all name their subject by one of these members.
    """
    things = [value for key, value in data.items() if key != "actor" and isinstance(value, dict)]
    names = [str(thing[name]) for thing in things[:1] for name in _NAMES if thing.get(name)]
    return printable(names[0]) if names else ""
