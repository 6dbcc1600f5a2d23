"""Lists that are filtered and paged: the whole page, its list, or only more rows of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.http import Http404, HttpRequest
from django.utils import timezone

from common.errors import InvalidInput
from common.models import DeliveryStatus, WebhookDelivery
from common.outbox.events import OPEN
from common.pagination import Page
from frontend.views.access import is_fragment

# How often a page looks again, in seconds: while something happens, and while it waits for longer.
BUSY_PACE = 2
IDLE_PACE = 30
SOON = timedelta(minutes=1)


@dataclass(frozen=True)
class Listing:
    """What `partials/record_list.html` says of the records that it lists."""

    noun: str
    name: str  # heading of the column that leads to the record
    about: str  # ... of what the record is about
    time: str  # ... of when it was made
    filter_hint: str  # what to do when nothing matches

    @property
    def url_name(self) -> str:
        return f"frontend:{self.noun}s"

    @property
    def rows(self) -> str:
        """The template of the rows."""
        return f"partials/{self.noun}_rows.html"

    @property
    def none(self) -> str:
        """The template of what is said when there are none at all."""
        return f"partials/{self.noun}_none.html"

    def template(self, request: HttpRequest, *, page: str) -> str:
        return template_of(request, page=page, listing="partials/record_list.html", rows=self.rows)


def chosen(form: forms.Form) -> dict[str, Any]:
    """The filters that are set; a value that is not on offer is as none."""
    form.is_valid()
    return {name: value for name, value in form.cleaned_data.items() if value}


def page_of[T](request: HttpRequest, read: Callable[..., Page[T]], **filters: Any) -> Page[T]:
    """The page that the address asks for. One that is not of this list is a 404."""
    try:
        return read(cursor=request.GET.get("cursor") or None, **filters)
    except InvalidInput as exc:
        raise Http404(exc.message) from exc


def template_of(request: HttpRequest, *, page: str, listing: str, rows: str) -> str:
    """A changed filter replaces the list, "Load more" adds rows to it."""
    if not is_fragment(request):
        return page
    return rows if "cursor" in request.GET else listing


def pace(deliveries: Iterable[WebhookDelivery]) -> int | None:
    """Seconds until a page that shows them should look again; None when all are over."""
    waiting = [delivery for delivery in deliveries if delivery.status in OPEN]
    if not waiting:
        return None
    soon = timezone.now() + SOON
    is_busy = any(
        delivery.status == DeliveryStatus.SENDING or delivery.due_at <= soon for delivery in waiting
    )
    return BUSY_PACE if is_busy else IDLE_PACE
