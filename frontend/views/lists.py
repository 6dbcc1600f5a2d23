"""Filtered lists in pages: answers with the whole page, the list, or only more of its rows."""

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

# How often a page refreshes, in seconds: while something happens, and during longer waits.
BUSY_PACE = 2
IDLE_PACE = 30
SOON = timedelta(minutes=1)


@dataclass(frozen=True)
class Listing:
    """The words that `partials/record_list.html` uses for the records in a list."""

    noun: str
    name: str  # heading of the column with links to the records
    about: str  # ... of the column that says what the record is about
    time: str  # ... of the column with the time of its creation
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
        """The template that is shown when there are no records at all."""
        return f"partials/{self.noun}_none.html"

    def template(self, request: HttpRequest, *, page: str) -> str:
        return template_of(request, page=page, listing="partials/record_list.html", rows=self.rows)


def chosen(form: forms.Form) -> dict[str, Any]:
    """The filters that are set; values that are not on offer are ignored."""
    form.is_valid()
    return {name: value for name, value in form.cleaned_data.items() if value}


def page_of[T](request: HttpRequest, read: Callable[..., Page[T]], **filters: Any) -> Page[T]:
    """The page that the query asks for; 404 for a cursor that is not from this list."""
    try:
        return read(cursor=request.GET.get("cursor") or None, **filters)
    except InvalidInput as exc:
        raise Http404(exc.message) from exc


def template_of(request: HttpRequest, *, page: str, listing: str, rows: str) -> str:
    """The template to answer with: a changed filter replaces the list, "Load more" adds rows."""
    if not is_fragment(request):
        return page
    return rows if "cursor" in request.GET else listing


def pace(deliveries: Iterable[WebhookDelivery]) -> int | None:
    """Seconds until a page with these deliveries should refresh; None when all have ended."""
    waiting = [delivery for delivery in deliveries if delivery.status in OPEN]
    if not waiting:
        return None
    soon = timezone.now() + SOON
    is_busy = any(
        delivery.status == DeliveryStatus.SENDING or delivery.due_at <= soon for delivery in waiting
    )
    return BUSY_PACE if is_busy else IDLE_PACE
