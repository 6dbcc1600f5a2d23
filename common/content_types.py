"""Content types and patterns for them: `application/pdf`, `image/*`, `*/*`."""

import re
from collections.abc import Iterable

from common import lengths

_PATTERN = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/(\*|[a-z0-9][a-z0-9!#$&^_.+-]*)")  # RFC 6838


def is_pattern(text: str) -> bool:
    """Whether the text is a content type or a pattern, in lower case."""
    return text == "*/*" or (len(text) <= lengths.CONTENT_TYPE and bool(_PATTERN.fullmatch(text)))


def matches(patterns: Iterable[str], content_type: str) -> bool:
    """Whether one of the patterns matches a content type, which is in lower case."""
    return any(_matches(pattern.lower(), content_type) for pattern in patterns)


def _matches(pattern: str, content_type: str) -> bool:
    if pattern in ("*", "*/*"):
        return True
    if pattern.endswith("/*"):
        return content_type.startswith(pattern[:-1])
    return content_type == pattern
