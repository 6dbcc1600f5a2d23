"""Parameter types for the command line."""

from datetime import datetime, timedelta
from typing import Any

import click
from django.utils import timezone

from common import durations


class Duration(click.ParamType):
    """A time span such as ``30d`` or ``12h``."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        span = durations.parse(str(value))
        if span is None:
            self.fail(f"{value!r} is not a duration such as 90s, 15m, 12h, 30d or 8w.", param, ctx)
        return span


class PastMoment(click.ParamType):
    """A past moment: an age (``2h``), or a date with or without a time (UTC by default)."""

    name = "moment"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        span = durations.parse(str(value))
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
