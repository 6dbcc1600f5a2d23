"""Large tables in the admin: records to look at, read in bounded steps."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property

from common.ids import first_id


class ReadOnly(admin.options.BaseModelAdmin):
    """Mixin: rows that only the dispatcher writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


class ListsNamesOnly(admin.options.BaseModelAdmin):
    """Mixin: the confirmation of a deletion lists no more than the rows that were chosen.

    What goes with them, or stays, may be millions of rows.
    """

    def get_deleted_objects(
        self,
        objs: Any,
        request: HttpRequest,  # noqa: ARG002
    ) -> tuple[list[Any], dict[Any, Any], set[Any], list[Any]]:
        names = [str(each) for each in objs]
        return names, {self.opts.verbose_name_plural: len(names)}, set(), []


class NoNulInFilters(admin.ModelAdmin):
    """PostgreSQL's text holds no NUL: a filter with one is as wrong as others Django refuses."""

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        if any("\x00" in text for key, values in request.GET.lists() for text in (key, *values)):
            raise IncorrectLookupParameters
        return super().get_changelist_instance(request)


class BoundedPaginator(Paginator):
    """Counts no further than anybody turns pages: the tables hold millions of rows."""

    MOST_ROWS = 10_000
    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        return self.object_list[: self.MOST_ROWS].count()


class NewestFirst(ChangeList):
    """In one order, whatever the address asks for: no index knows another."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str | Combinable]:  # noqa: ARG002
        return ["-id"]


class RecordAdmin(ReadOnly, NoNulInFilters):
    """Large tables: newest first by key and in no other order, nothing is counted to the end.

    An id is looked up as an id in `id_fields`, which the indexes know; as text they do not.
    """

    id_fields: tuple[str, ...] = ("id",)
    ordering = ["-id"]
    sortable_by = ()
    list_per_page = 50
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return NewestFirst

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:  # noqa: ARG002
        """Only makes the search box appear: see `get_search_results`."""
        return ("=id",)

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Any],
        search_term: str,
    ) -> tuple[QuerySet[Any], bool]:
        try:
            key = UUID(search_term.strip())
        except ValueError:
            return self.search_by_text(queryset, search_term), False
        wanted = Q()
        for field in self.id_fields:
            wanted |= Q(**{field: key})
        return queryset.filter(wanted), False

    def search_by_text(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        return queryset.none() if text else queryset


class CreatedFilter(admin.SimpleListFilter):
    """By id, which tells the time: no index on the time itself is needed."""

    title = "created"
    parameter_name = "created"
    HOURS: Mapping[str, int] = {"hour": 1, "day": 24, "week": 168}

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:  # noqa: ARG002
        return [(name, f"in the last {name}") for name in self.HOURS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        hours = self.HOURS.get(self.value() or "")
        if hours is None:
            return queryset
        return queryset.filter(id__gte=first_id(timezone.now() - timedelta(hours=hours)))
