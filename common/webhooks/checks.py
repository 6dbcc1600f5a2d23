"""System checks of the settings for webhooks. Wrong ones are refused at start, by name."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

_TEN_YEARS = 10 * 365 * 24  # hours; beyond it dates overflow, sooner or later
_LONGEST_WAIT = 30 * 86_400  # seconds


@register()
def check_retry_schedule(**_: Any) -> list[CheckMessage]:
    schedule = settings.PORTAL_RETRY_SCHEDULE
    if schedule and all(0 <= wait <= _LONGEST_WAIT for wait in schedule):
        return []
    return [
        Error(
            "PORTAL_RETRY_SCHEDULE must name at least one wait, in seconds, and none below 0 or "
            f"above {_LONGEST_WAIT} (30 days).",
            id="common.E001",
        )
    ]


_RANGES = {
    # name: (lowest, highest)
    "PORTAL_WEBHOOK_TIMEOUT_SECONDS": (1, 3600),
    "PORTAL_WEBHOOK_CONCURRENCY": (1, 10_000),
    "PORTAL_WEBHOOK_CONCURRENCY_PER_ENDPOINT": (1, 10_000),
    "PORTAL_WEBHOOK_DISABLE_AFTER_FAILURES": (0, 1_000_000),
    "PORTAL_WEBHOOK_DISABLE_AFTER_HOURS": (0, _TEN_YEARS),
    "PORTAL_WEBHOOK_SECRET_OVERLAP_HOURS": (0, _TEN_YEARS),
    "PORTAL_WEBHOOK_DETAIL_HOURS": (1, _TEN_YEARS),
    "OUTBOX_SWEEP_INTERVAL_MINUTES": (1, 24 * 60),
    "OUTBOX_RETENTION_HOURS": (1, _TEN_YEARS),
}


@register()
def check_ranges(**_: Any) -> list[CheckMessage]:
    return [
        Error(f"{name} must be {lowest} or more and at most {highest}.", id="common.E003")
        for name, (lowest, highest) in _RANGES.items()
        if not lowest <= getattr(settings, name) <= highest
    ]


@register()
def check_concurrency(**_: Any) -> list[CheckMessage]:
    if settings.PORTAL_WEBHOOK_CONCURRENCY_PER_ENDPOINT <= settings.PORTAL_WEBHOOK_CONCURRENCY:
        return []
    return [
        Error(
            "PORTAL_WEBHOOK_CONCURRENCY_PER_ENDPOINT must not be more than "
            "PORTAL_WEBHOOK_CONCURRENCY.",
            id="common.E004",
        )
    ]
