"""Lists in pages: keyset pagination on the primary key, which sorts by time of creation, or on
another key with it.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from common.errors import InvalidInput

MAX_PAGE = 200


@dataclass(frozen=True)
class Page[T]:
    """One page of a list; `next_cursor` is None on the last."""

    items: list[T]
    next_cursor: str | None


def paginate[T: Any](
    rows: QuerySet[T], *, cursor: str | None, limit: int, is_rising: bool = False
) -> Page[T]:
    """The rows after a cursor, at most MAX_PAGE. Raises InvalidInput `invalid_cursor`."""
    size = min(max(limit, 1), MAX_PAGE)
    if cursor:
        beyond = "id__gt" if is_rising else "id__lt"
        rows = rows.filter(**{beyond: decode_cursor(cursor)})
    items = list(rows.order_by("id" if is_rising else "-id")[: size + 1])
    more = len(items) > size
    return Page(
        items=items[:size], next_cursor=_encode_cursor(items[size - 1].id) if more else None
    )


def paginate_by[T: Any](
    rows: QuerySet[T], *, key: str, is_rising: bool, cursor: str | None, limit: int
) -> Page[T]:
    """As `paginate`, ordered by `key`, a text or number that every row has, then by the id.

    Raises InvalidInput `invalid_cursor`.
    """
    size = min(max(limit, 1), MAX_PAGE)
    beyond, sign = ("gt", "") if is_rising else ("lt", "-")
    if cursor:
        value, last = _decode_place(cursor)
        # The first condition is the index's range; the second leaves out what was listed already.
        rows = rows.filter(
            Q(**{f"{key}__{beyond}e": value}),
            Q(**{f"{key}__{beyond}": value}) | Q(**{f"id__{beyond}": last}),
        )
    items = list(rows.order_by(f"{sign}{key}", f"{sign}id")[: size + 1])
    more = len(items) > size
    place = _encode_place(getattr(items[size - 1], key), items[size - 1].id) if more else None
    return Page(items=items[:size], next_cursor=place)


def _encode_place(value: str | int, key: UUID) -> str:
    text = json.dumps([value, key.hex])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode_place(cursor: str) -> tuple[str | int, UUID]:
    try:
        value, key = json.loads(base64.urlsafe_b64decode(cursor + "=="))
        if not isinstance(value, str | int) or "\x00" in str(value):
            raise ValueError(cursor)
        return value, UUID(key)
    except (ValueError, TypeError, AttributeError) as exc:
        raise _no_cursor() from exc


def _encode_cursor(key: UUID) -> str:
    return base64.urlsafe_b64encode(key.bytes).decode().rstrip("=")


def decode_cursor(cursor: str) -> UUID:
    """The key of the last row of a page. Raises InvalidInput `invalid_cursor`."""
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except ValueError as exc:
        raise _no_cursor() from exc


def _no_cursor() -> InvalidInput:
    return InvalidInput("invalid_cursor", "cursor must be a next_cursor of this list.")
