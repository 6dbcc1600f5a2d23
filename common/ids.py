"""Identifiers."""

from datetime import UTC, datetime
from uuid import UUID

import uuid_utils.compat


def uuid7() -> UUID:
    """A time-ordered UUID (RFC 9562, version 7), increasing within a process."""
    return uuid_utils.compat.uuid7()


def moment_of(key: UUID) -> datetime:
    """When an id was made."""
    return datetime.fromtimestamp((key.int >> 80) / 1000, UTC)


def first_id(moment: datetime) -> UUID:
    """The smallest id of a moment: rows created before it have smaller ids."""
    milliseconds = max(0, int(moment.timestamp() * 1000))  # none was made before 1970
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (0b10 << 62))
