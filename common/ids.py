"""Identifiers."""

from uuid import UUID

import uuid_utils.compat


def uuid7() -> UUID:
    """A time-ordered UUID (RFC 9562, version 7), increasing within a process."""
    return uuid_utils.compat.uuid7()
