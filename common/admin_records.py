"""Admin classes for large tables of records, which are read in bounded steps."""

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
    """Mixin: rows that the admin cannot add, change or delete."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


class ListsNamesOnly(admin.options.BaseModelAdmin):
    """Mixin: the confirmation page of a deletion lists only the chosen rows.

    Related rows may be millions.
    """

    def get_deleted_objects(
        self,
        objs: Any,
        request: HttpRequest,  # noqa: ARG002
    ) -> tuple[list[Any], dict[Any, Any], set[Any], list[Any]]:
        names = [str(each) for each in objs]
        return names, {self.opts.verbose_name_plural: len(names)}, set(), []


class NoNulInFilters(admin.ModelAdmin):
    """Mixin: refuses filters that contain NUL, which PostgreSQL cannot store in text."""

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        if any("\x00" in text for key, values in request.GET.lists() for text in (key, *values)):
            raise IncorrectLookupParameters
        return super().get_changelist_instance(request)


class BoundedPaginator(Paginator):
    """Counts only as many rows as anybody pages through: the tables hold millions."""

    MOST_ROWS = 10_000
    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        return self.object_list[: self.MOST_ROWS].count()


class NewestFirst(ChangeList):
    """Ignores the sort order in the URL: no index serves another order."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str | Combinable]:  # noqa: ARG002
        return ["-id"]


class RecordAdmin(ReadOnly, NoNulInFilters):
    """Base class for large tables: newest first, no other order, no full counts.

    A search term that is an id is compared with the `id_fields` as an id, so that indexes are used.
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
        """Makes the search box appear; the search itself is in `get_search_results`."""
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
    """Filters by id, which contains the creation time, so that no other index is needed."""

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
