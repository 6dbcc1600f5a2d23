"""System checks of the settings that announcing uses: a wrong one is refused at start, by name."""

import ipaddress
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def check_retry_schedule(**_: Any) -> list[CheckMessage]:
    schedule = settings.PORTAL_RETRY_SCHEDULE
    if schedule and all(wait >= 0 for wait in schedule):
        return []
    return [
        Error(
            "PORTAL_RETRY_SCHEDULE must name at least one wait, in seconds, and none below 0.",
            id="common.E001",
        )
    ]


@register()
def check_allowed_cidrs(**_: Any) -> list[CheckMessage]:
    return [
        Error(
            f"PORTAL_WEBHOOK_ALLOWED_CIDRS: {block!r} is not a network such as 10.1.0.0/16.",
            id="common.E002",
        )
        for block in settings.PORTAL_WEBHOOK_ALLOWED_CIDRS
        if not _is_network(block)
    ]


def _is_network(block: str) -> bool:
    try:
        ipaddress.ip_network(block)
    except ValueError:
        return False
    return True


@register()
def check_positive_settings(**_: Any) -> list[CheckMessage]:
    names = (
        "PORTAL_WEBHOOK_TIMEOUT_SECONDS",
        "OUTBOX_SWEEP_INTERVAL_MINUTES",
        "OUTBOX_RETENTION_HOURS",
    )
    return [
        Error(f"{name} must be 1 or more.", id="common.E003")
        for name in names
        if getattr(settings, name) < 1
    ]
