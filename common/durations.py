"""Durations as people write them: 90s, 15m, 12h, 30d, 8w."""

import re
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"([1-9]\d{0,4})([smhdw])", re.ASCII)  # five digits of weeks still fit a date
_WRITTEN = {"d": 86_400, "h": 3_600, "m": 60}  # seconds


def parse(text: str) -> timedelta | None:
    """The duration that a text such as `12h` stands for; None if it is not valid."""
    match = _SPAN.fullmatch(text)
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None


def write(seconds: int) -> str:
    """A duration in the largest unit that divides it: `90s`, `2h`, `0s`."""
    for unit, length in _WRITTEN.items():
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
