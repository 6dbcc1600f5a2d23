"""Finding files: searched, filtered and sorted, at a cost that does not grow with their number."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from uuid import UUID

from django.contrib.postgres.search import SearchQuery
from django.db.models import F
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.principals import Principal
from common.ids import first_id
from common.models import TimeStampedQuerySet
from common.pagination import Page, paginate, paginate_by
from uploads import selectors
from uploads.models import IngestFile
from uploads.models.searching import FILE_KIND, NameWords, words_of


class Order(StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"
    LARGEST = "largest"
    NAME = "name"


class Uploader(StrEnum):
    """Whose files, for those who may read everybody's; or else an account's id."""

    ANYBODY = "anybody"


@dataclass(frozen=True)
class FileFilters:
    """None or empty: no such filter. Dates are whole days in UTC, sizes are bytes."""

    search: str = ""
    status: str = ""
    kind: str = ""
    batch: UUID | None = None
    grant: UUID | None = None
    since: date | None = None
    until: date | None = None
    min_size: int | None = None
    max_size: int | None = None
    uploader: Uploader | UUID | None = None
    order: Order = Order.NEWEST


def find_files(
    *, principal: Principal, filters: FileFilters, cursor: str | None = None, limit: int = 50
) -> Page[IngestFile]:
    """What matches every filter. Every word of the search begins a word of the name.

    Where no name has such words, it may be a part of a word: that is looked for in the newest
    names only (`selectors.SEARCH_WINDOW`). Raises InvalidInput `invalid_cursor`.
    """
    files = _filtered(_files_of(principal, filters.uploader), filters)
    if not filters.search:
        return _ordered(files, filters.order, cursor=cursor, limit=limit)
    found = _ordered(_with_words(files, filters.search), filters.order, cursor=cursor, limit=limit)
    if found.items or cursor:
        return found
    return paginate(selectors.with_part_of_name(files, filters.search), cursor=None, limit=limit)


def own_files(*, principal: Principal, file_ids: list[UUID]) -> list[IngestFile]:
    """Those of the files that are the principal's own, newest first."""
    return list(_files_of(principal, None).filter(id__in=file_ids).timed().order_by("-id"))


def _files_of(principal: Principal, uploader: Uploader | UUID | None) -> TimeStampedQuerySet:
    """The principal's own files; another's only for those who may read everybody's."""
    if uploader is None or not selectors.reaches_all_files(principal):
        return selectors.files_of(principal)
    files = IngestFile.objects.filter(is_result=False, is_piece=False)
    return files if uploader is Uploader.ANYBODY else files.filter(uploaded_by=uploader)


def _filtered(files: TimeStampedQuerySet, filters: FileFilters) -> TimeStampedQuerySet:
    chosen = {
        "status": filters.status or None,
        "batch_id": filters.batch,
        "grant_id": filters.grant,
        "size_bytes__gte": filters.min_size,
        "size_bytes__lte": filters.max_size,
        # Ids sort by time of creation: no other index is needed.
        "id__gte": first_id(_begin(filters.since)) if filters.since else None,
        "id__lt": first_id(_begin(filters.until) + timedelta(days=1)) if filters.until else None,
    }
    files = files.filter(**{name: value for name, value in chosen.items() if value is not None})
    return files.alias(kind=FILE_KIND).filter(kind=filters.kind) if filters.kind else files


def _with_words(files: TimeStampedQuerySet, search: str) -> TimeStampedQuerySet:
    words = words_of(search)
    if not words:
        return files.none()
    query = SearchQuery(
        " & ".join(f"'{word}':*" for word in words), search_type="raw", config="simple"
    )
    return files.alias(words=NameWords(F("original_filename"))).filter(words=query)


def _ordered(
    files: TimeStampedQuerySet, order: Order, *, cursor: str | None, limit: int
) -> Page[IngestFile]:
    files = files.select_related("uploaded_by", "grant")
    if order is Order.NEWEST:
        return paginate(files, cursor=cursor, limit=limit)
    if order is Order.OLDEST:
        return paginate(files, cursor=cursor, limit=limit, is_rising=True)
    if order is Order.LARGEST:
        return paginate_by(files, key="size_bytes", is_rising=False, cursor=cursor, limit=limit)
    files = files.annotate(small_name=Lower("original_filename"))
    return paginate_by(files, key="small_name", is_rising=True, cursor=cursor, limit=limit)


def _begin(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=timezone.get_current_timezone())
