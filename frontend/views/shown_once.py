"""The text of a new token, for the one page that shows it.

It is kept encrypted in the session until then. If the answer to the form showed it, reloading that
answer would create another token.
"""

from cryptography.fernet import InvalidToken
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
