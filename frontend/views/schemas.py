"""The page that describes every event to whoever writes a receiver."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from common.outbox import schemas as event_schemas
from common.outbox.types import event_types


@dataclass(frozen=True)
class Description:
    event_type: str
    when: str
    path: str
    fields: list[event_schemas.Field]
    example: dict[str, Any]


@require_safe
@gzip_page
@cache_control(public=True, max_age=3600)
def schemas(request: HttpRequest) -> HttpResponse:
    """The page of all event schemas. It is public: it reveals only this portal's address.

    That is why it may be sent compressed. Pages of an account are not: they hold secrets beside
    what an address brings in (a search), and their compressed length would tell of both (BREACH).
    """
    described = [_described(event_type) for event_type in event_types]
    return render(request, "pages/schemas.html", {"events": described})


def _described(event_type: str) -> Description:
    return Description(
        event_type=event_type,
        when=event_schemas.schema(event_type)["description"],
        path=event_schemas.path(event_type),
        fields=event_schemas.fields(event_type),
        example=event_schemas.example(event_type),
    )
