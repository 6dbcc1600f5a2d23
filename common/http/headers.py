"""Request headers that change what a body means."""

import re
from dataclasses import dataclass

from django.http import HttpRequest

from common.errors import InvalidInput, UnsupportedType

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class ContentRange:
    """Where in a whole a body belongs (RFC 9110, 14.4): offsets in bytes, both ends included.

    `complete_length` is None where the sender did not say it.
    """

    first: int
    last: int
    complete_length: int | None


def check_content_encoding(value: str | None) -> None:
    """Refuse a compressed body, which would be stored as if it were the file itself.

    Raises UnsupportedType `encoding_unsupported`.
    """
    codings = {coding.strip().lower() for coding in (value or "").split(",")}
    if codings - {"", "identity"}:
        raise UnsupportedType(
            "encoding_unsupported",
            f"Content-Encoding {value} is not decoded here; send the file's own bytes.",
        )


def content_range(request: HttpRequest) -> ContentRange | None:
    """Raises InvalidInput `content_range_invalid`."""
    value = request.headers.get("Content-Range")
    if value is None:
        return None
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if match is None:
        raise InvalidInput(
            "content_range_invalid",
            "Content-Range must be such as `bytes 0-8388607/20000000`, or be left out.",
        )
    first, last, length = match.groups()
    return ContentRange(int(first), int(last), None if length == "*" else int(length))


def refuse_content_range(request: HttpRequest, *, instead: str) -> None:
    """Refuse a part of a file, which must not be stored as the whole (RFC 9110, 14.5).

    `instead` tells the client what to do. Raises InvalidInput `content_range_unsupported`.
    """
    if "Content-Range" in request.headers:
        raise InvalidInput(
            "content_range_unsupported", f"This address takes whole files only. {instead}"
        )
