"""Template filters and tags for sizes, times and receivers, and the warning about webhooks."""

import json
import math
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import template
from django.conf import settings
from django.http import HttpRequest
from django.template.defaultfilters import date
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User
from accounts.permissions import allows
from common import sizes
from common.models import OutboxEvent, WebhookEndpoint
from common.webhooks import health
from common.webhooks.endpoint_settings import write_schedule
from common.webhooks.permissions import CHANGE_WEBHOOKS, SEE_WEBHOOKS
from common.webhooks.selectors import BACKLOG_CAP
from uploads import policy
from uploads.models import ShareLink, UploadBatch, UploadGrant
from uploads.workflows.permissions import CHANGE_WORKFLOWS

register = template.Library()

_NO_ID = UUID(int=0)  # the script puts another into addresses
TROUBLES_SHOWN = 3
# ALM, LRM, RLM, embeddings, overrides and isolates (Unicode UAX #9, 2).
_BIDI_CONTROLS = dict.fromkeys(
    [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd"
)
_SPANS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


@register.filter
def moment(at: datetime | None) -> SafeString | str:
    """`in 3 hours` or `2 days ago`; the page's script keeps it up to date."""
    if at is None:
        return "—"
    return format_html(
        '<time datetime="{}" title="{} UTC" data-relative>{}</time>',
        at.isoformat(timespec="seconds"),
        date(at, "j F Y, H:i"),
        relative((at - timezone.now()).total_seconds()),
    )


def relative(seconds: float) -> str:
    """A span in its largest unit: rounded if ahead (positive), rounded down if past."""
    distance = abs(seconds)
    unit, length = next((span for span in _SPANS if distance >= span[1]), _SPANS[-1])
    count = int(distance / length + (0.5 if seconds > 0 else 0))
    if unit == "second":
        return "in a moment" if seconds > 0 else "just now"
    span = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"in {span}" if seconds > 0 else f"{span} ago"


@register.filter(is_safe=True)
def visible(text: str) -> str:
    """Replace control characters that change the direction of the surrounding text by a mark.

    The upload page's script does the same, also for characters that no stored name has. In
    addition, <bdi> in the templates keeps a name's own direction inside the name.
    """
    return str(text).translate(_BIDI_CONTROLS)


@register.filter
def receiver(endpoint: WebhookEndpoint) -> str:
    """A receiver's name, or else only its host: the path and query of a URL may hold a secret."""
    return visible(endpoint.description or endpoint.host)


@register.filter
def batch_name(batch: UploadBatch) -> str:
    """Its name, or else when it was begun."""
    return batch.name or f"Batch of {date(batch.created_at, 'j F Y, H:i')} UTC"


@register.filter
def link_state(grant: UploadGrant) -> str:
    """Of an upload link that was read with its time: `open`, `used up`, `expired`, `revoked`."""
    if grant.revoked_at is not None:
        return "revoked"
    if grant.expires_at is not None and grant.expires_at <= grant.read_at:
        return "expired"
    is_full = grant.max_files is not None and grant.files_begun >= grant.max_files
    return "used up" if is_full else "open"


@register.filter
def share_state(share: ShareLink) -> str:
    """Of a share link that was read with its time: `open`, `expired`, `revoked`."""
    if share.revoked_at is not None:
        return "revoked"
    is_over = share.expires_at is not None and share.expires_at <= share.read_at
    return "expired" if is_over else "open"


@register.filter
def without_query(url: str) -> str:
    """A URL without its query, for lists: a key in it is shown only on the endpoint's own page."""
    address, mark, _ = url.partition("?")
    return f"{address}{mark}…" if mark else url


@register.filter
def may_see_webhooks(user: User) -> bool:
    return allows(user, SEE_WEBHOOKS)


@register.filter
def may_change_webhooks(user: User) -> bool:
    return allows(user, CHANGE_WEBHOOKS)


@register.filter
def may_change_workflows(user: User) -> bool:
    return allows(user, CHANGE_WORKFLOWS)


@register.simple_tag
def webhook_trouble(user: User) -> dict[str, Any]:
    """Endpoints that fail or were disabled for failing, for users who can help."""
    found = list(health.in_trouble()[: TROUBLES_SHOWN + 1]) if may_see_webhooks(user) else []
    return {"endpoints": found[:TROUBLES_SHOWN], "has_more": len(found) > TROUBLES_SHOWN}


@register.inclusion_tag("partials/uploads_drawer.html")
def uploads_drawer(request: HttpRequest, section: str) -> dict[str, Any]:
    """The uploads of the tab, which every page has around it."""
    return {"request": request, "section": section, "none_id": _NO_ID, **_sizes()}


@register.inclusion_tag("partials/uploads_drawer.html")
def guest_uploads(grant: UploadGrant, visit: str, pass_url: str) -> dict[str, Any]:
    """The same for the page of an upload link, which sends with a pass."""
    return {"grant": grant, "visit": visit, "pass_url": pass_url, "section": "upload", **_sizes()}


def _sizes() -> dict[str, int]:
    return {
        "one_request_bytes": policy.largest_single_request(),
        "part_bytes": settings.PORTAL_CHUNK_SIZE,
        "least_part_bytes": settings.PORTAL_CHUNK_SIZE_MIN,
    }


@register.filter
def percent(share: float | None) -> str:
    """A share (0 to 1) as a percentage, rounded down: only 1 itself is shown as `100 %`."""
    return "—" if share is None else f"{math.floor(share * 1000) / 10:g} %"


@register.filter
def milliseconds(count: int | None) -> str:
    if count is None:
        return "—"
    return f"{count} ms" if count < 1000 else f"{count / 1000:.1f} s"


@register.filter
def took(start: datetime, end: datetime) -> str:
    """How long something lasted: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 0 min`."""
    seconds = (end - start).total_seconds()
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@register.filter
def amount(value: Decimal) -> str:
    """An amount of money without trailing zeros, but with at least two decimal places."""
    places = max(2, -int(value.normalize().as_tuple().exponent))
    return f"{value:,.{places}f}"


@register.filter
def backlog(count: int) -> str:
    return f"{count:,}{'+' if count >= BACKLOG_CAP else ''}"


register.filter("waits", write_schedule)
size = register.filter("size", sizes.readable)


@register.filter
def header_lines(headers: dict[str, str]) -> str:
    """Headers as lines, sorted by name (jsonb stores them by the length of their names)."""
    names = sorted(headers, key=str.lower)
    return "\n".join(f"{name}: {headers[name]}" for name in names)


@register.filter
def subject(event: OutboxEvent) -> str:
    """What an event is about: the object's name, or else its kind and id."""
    about = event.payload.get(event.aggregate_type) or {}
    names = (about.get(key) for key in ("original_filename", "name", "description", "host"))
    name = next(filter(None, names), None)
    return visible(name) if name else f"{event.aggregate_type} {event.aggregate_id}"


@register.filter
def pretty_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
