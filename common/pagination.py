"""Lists in pages: keyset pagination on the primary key, which sorts by time of creation."""

import base64
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from common.errors import InvalidInput

MAX_PAGE = 200


@dataclass(frozen=True)
class Page[T]:
    """One page of a list, newest first; `next_cursor` is None on the last."""

    items: list[T]
    next_cursor: str | None


def paginate[T: Any](rows: QuerySet[T], *, cursor: str | None, limit: int) -> Page[T]:
    """The rows after a cursor, at most MAX_PAGE. Raises InvalidInput `invalid_cursor`."""
    size = min(max(limit, 1), MAX_PAGE)
    if cursor:
        rows = rows.filter(id__lt=decode_cursor(cursor))
    items = list(rows.order_by("-id")[: size + 1])
    more = len(items) > size
    return Page(
        items=items[:size], next_cursor=_encode_cursor(items[size - 1].id) if more else None
    )


def _encode_cursor(key: UUID) -> str:
    return base64.urlsafe_b64encode(key.bytes).decode().rstrip("=")


def decode_cursor(cursor: str) -> UUID:
    """The key of the last row of a page. Raises InvalidInput `invalid_cursor`."""
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except ValueError as exc:
        raise InvalidInput("invalid_cursor", "cursor must be a next_cursor of this list.") from exc
