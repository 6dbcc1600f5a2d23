"""Passwords of links, which people without an account are asked for.

Kept as those of accounts are. Tries are counted (`accounts.throttle`) before a password is hashed.
"""

from uuid import UUID

from django.contrib.auth.hashers import check_password, make_password

from accounts import throttle
from common import lengths
from common.errors import Forbidden, InvalidInput

SHORTEST = 6  # characters; tries are few


def hashed(password: str) -> str:
    """What is kept of a password; "" for none. Raises InvalidInput `link_password_invalid`."""
    if not password:
        return ""
    if not SHORTEST <= len(password) <= lengths.LINK_PASSWORD:
        raise InvalidInput(
            "link_password_invalid",
            f"A link's password has {SHORTEST} to {lengths.LINK_PASSWORD} characters.",
        )
    return make_password(password)


def require_match(password: str, *, kept: str, link_id: UUID, address: str) -> None:
    """Raises Forbidden `link_password_wrong`, TooManyRequests `too_many_passwords`."""
    attempt = throttle.begin_password(link_id=link_id, address=address)
    if len(password) > lengths.LINK_PASSWORD or not check_password(password, kept):
        raise Forbidden(
            "link_password_wrong", "This is not the password. Ask whoever gave you the link."
        )
    throttle.succeeded(attempt)
