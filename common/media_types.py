"""Content types and patterns of them: one rule for settings, webhooks and workflows."""

import re
from collections.abc import Collection

from common import lengths

_PATTERN = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/(\*|[a-z0-9][a-z0-9!#$&^_.+-]*)")  # RFC 6838


def is_pattern(text: str) -> bool:
    """Whether it is a content type, in lower case, a pattern such as `image/*`, or `*/*`."""
    return text == "*/*" or (len(text) <= lengths.CONTENT_TYPE and bool(_PATTERN.fullmatch(text)))


def is_in(patterns: Collection[str], content_type: str) -> bool:
    """Whether a content type, in lower case, is one of `patterns`."""
    return any(
        pattern in ("*/*", content_type)
        or (pattern.endswith("/*") and content_type.startswith(pattern[:-1]))
        for pattern in patterns
    )
