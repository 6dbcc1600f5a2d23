"""Filters of the admin's lists. Indexes serve them, and their choices need no table scan."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from common.models import WebhookAttempt
from common.outbox import events
from common.outbox.types import event_types


class EventTypeFilter(admin.SimpleListFilter):
    """Offers all registered types, without searching the table for used ones."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:  # noqa: ARG002
        return [(name, name) for name in sorted(event_types)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        return queryset.filter(event_type=self.value()) if self.value() else queryset


class TakesFilter(EventTypeFilter):
    """Endpoints whose filter matches a type of event."""

    title = "takes"
    parameter_name = "takes"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        chosen = self.value()
        if not chosen:
            return queryset
        patterns = [chosen, f"{chosen.partition('.')[0]}.*", "*"]
        return queryset.filter(Q(event_types=[]) | Q(event_types__overlap=patterns))


class DueFilter(admin.SimpleListFilter):
    """Deliveries that wait for their time, and overdue ones."""

    title = "due"
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:  # noqa: ARG002
        return [("now", "now"), ("later", "later")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        match self.value():
            case "now":
                return queryset.filter(status__in=events.OPEN, due_at__lte=Now())
            case "later":
                return queryset.filter(status__in=events.OPEN, due_at__gt=Now())
        return queryset


class AnswerFilter(admin.SimpleListFilter):
    """Filters the newest attempts by the class of their status: no index covers it."""

    title = "answer (of the latest 100,000)"
    parameter_name = "answer"
    AMONG = 100_000

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:  # noqa: ARG002
        return [(f"{digit}", f"{digit}xx") for digit in range(2, 6)] + [("none", "no answer")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        chosen = self.value()
        if not chosen:
            return queryset
        latest = WebhookAttempt.objects.order_by("-id").values_list("id", flat=True)
        oldest = latest[self.AMONG : self.AMONG + 1].first()
        if oldest:
            queryset = queryset.filter(id__gt=oldest)
        if chosen == "none":
            return queryset.filter(response_status__isnull=True)
        if not chosen.isascii() or not chosen.isdigit():
            raise IncorrectLookupParameters
        first = int(chosen) * 100
        return queryset.filter(response_status__gte=first, response_status__lt=first + 100)


class FailingFilter(admin.SimpleListFilter):
    title = "failing"
    parameter_name = "failing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:  # noqa: ARG002
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(failing_since__isnull=self.value() == "no")
