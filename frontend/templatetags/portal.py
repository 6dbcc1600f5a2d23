"""How sizes, times and receivers are shown."""

import json
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django import template
from django.template.defaultfilters import date
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.models import WebhookEndpoint

register = template.Library()

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SPANS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


@register.filter
def size(count: int) -> str:
    """Bytes for people, as the upload page's script shows them: `1.5 MiB`."""
    amount = float(count)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{count} B" if unit == "B" else f"{amount:.{1 if amount < 100 else 0}f} {unit}"


@register.filter
def moment(at: datetime | None) -> SafeString | str:
    """`in 3 hours` or `2 days ago`; the page's script keeps it true while the page is open."""
    if at is None:
        return "—"
    return format_html(
        '<time datetime="{}" title="{} UTC" data-relative>{}</time>',
        at.isoformat(timespec="seconds"),
        date(at, "j F Y, H:i"),
        relative((at - timezone.now()).total_seconds()),
    )


def relative(seconds: float) -> str:
    """A span in its largest unit, ahead (positive: rounded) or past (whole units only)."""
    distance = abs(seconds)
    unit, length = next((span for span in _SPANS if distance >= span[1]), _SPANS[-1])
    count = int(distance / length + (0.5 if seconds > 0 else 0))
    if unit == "second":
        return "in a moment" if seconds > 0 else "just now"
    span = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"in {span}" if seconds > 0 else f"{span} ago"


@register.filter
def receiver(endpoint: WebhookEndpoint) -> str:
    """A receiver's name, or its host alone: path and query of a URL may carry a secret."""
    return endpoint.description or urlsplit(endpoint.url).netloc.rpartition("@")[2]


@register.filter
def pretty_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
