"""What people type on the command line."""

import re
from datetime import datetime, timedelta
from typing import Any

import click
from django.utils import timezone

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"([1-9]\d{0,4})([smhdw])")  # five digits of weeks still fit a date


def duration(text: str) -> timedelta | None:
    """The span that a text such as `12h` stands for; None when it is none."""
    match = _DURATION.fullmatch(text)
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match and match[1].isascii() else None


class Duration(click.ParamType):
    """A time span such as ``30d`` or ``12h``."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        span = duration(str(value))
        if span is None:
            self.fail(f"{value!r} is not a duration such as 90s, 15m, 12h, 30d or 8w.", param, ctx)
        return span


class PastMoment(click.ParamType):
    """A moment: so long ago (``2h``), or a date with or without a time (UTC unless it says)."""

    name = "moment"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        span = duration(str(value))
        try:
            if span is not None:
                return timezone.now() - span
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a moment such as 2h or 2026-11-20T10:00.", param, ctx)
        moment = moment if moment.tzinfo else timezone.make_aware(moment)
        if moment > timezone.now():
            self.fail(f"{value!r} is yet to come.", param, ctx)
        return moment


class Schedule(click.ParamType):
    """Waits before each attempt: ``0,5s,5m,2h``. A bare number is in seconds."""

    name = "schedule"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        return [self._seconds(part.strip(), param, ctx) for part in str(value).split(",")]

    def _seconds(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if text.isascii() and text.isdigit():
            return int(text[:9])
        span = duration(text)
        if span is None:
            self.fail(f"{text!r} is not a wait: a schedule looks like 0,5s,5m,2h.", param, ctx)
        return int(span.total_seconds())


class Header(click.ParamType):
    """A header as it is written: ``Name: value``."""

    name = "header"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        name, colon, content = str(value).partition(":")
        if not colon:
            # The text is not repeated: it may be a secret whose name was forgotten.
            self.fail("a header looks like 'Name: value'.", param, ctx)
        return name.strip(), content.strip()
