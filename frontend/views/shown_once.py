"""The text of a new token, or the address with it, for the one page that shows it.

It is kept encrypted in the session until then. If the answer to the form showed it, reloading that
answer would create another token.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from common.encryption import cipher

_WITHIN = 300  # seconds


@sensitive_variables("text")
def keep(request: HttpRequest, key: str, text: str) -> None:
    request.session[key] = cipher().encrypt(text.encode()).decode()


def take(request: HttpRequest, key: str) -> str | None:
    """None if there is none, if it is too old, or if the page is only looked up (HEAD)."""
    if request.method != "GET":
        return None
    waiting = request.session.pop(key, "")
    try:
        return cipher().decrypt(waiting, ttl=_WITHIN).decode()
    except InvalidToken:
        return None


def take_address(
    request: HttpRequest, key: str, link_of: Callable[[str], str | None]
) -> str | None:
    """As `take`, the address that `link_of` makes of the text, if it makes one.

    Where nobody has said what the portal is called, it is called what this browser calls it.
    """
    text = take(request, key)
    address = None if text is None else link_of(text)
    if address is None:
        return None
    return (
        address if settings.PORTAL_BASE_URL else request.build_absolute_uri(urlsplit(address).path)
    )
