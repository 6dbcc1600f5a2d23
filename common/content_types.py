"""Content types, and patterns of them: `application/pdf`, `image/*`, `*/*`. One rule for all."""

import re
from collections.abc import Iterable

from common import lengths

_PATTERN = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/(\*|[a-z0-9][a-z0-9!#$&^_.+-]*)")  # RFC 6838


def is_pattern(text: str) -> bool:
    """Whether it is a content type, in lower case, or a pattern of some."""
    return text == "*/*" or (len(text) <= lengths.CONTENT_TYPE and bool(_PATTERN.fullmatch(text)))


def matches(patterns: Iterable[str], content_type: str) -> bool:
    """Whether one of the patterns takes a content type, which is in lower case."""
    return any(_matches(pattern.lower(), content_type) for pattern in patterns)


def _matches(pattern: str, content_type: str) -> bool:
    if pattern in ("*", "*/*"):
        return True
    if pattern.endswith("/*"):
        return content_type.startswith(pattern[:-1])
    return content_type == pattern
