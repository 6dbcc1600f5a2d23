"""The kinds of tokens that an ``Authorization: Bearer`` header may hold, told apart by prefix.

API tokens are this app's own kind. Higher apps register their kinds when the application starts.
"""

from collections.abc import Callable
from dataclasses import dataclass

from accounts import principals, services, tokens
from accounts.principals import Principal


@dataclass(frozen=True)
class Credential:
    """The principal that a token stands for, and the words that messages use for the token."""

    principal: Principal
    kind: str
    advice: str  # shown when a token lacks a scope
    note_use: Callable[[], object] | None = None  # called when a request is allowed


# Raises Unauthenticated or Forbidden for an invalid, expired or revoked token.
type Reader = Callable[[str], Credential]

_readers: dict[str, Reader] = {}


def register(prefix: str, reader: Reader) -> None:
    """Have `reader` check all tokens with this prefix. All prefixes have the same length."""
    if len(prefix) != tokens.PREFIX_LENGTH:
        raise ValueError(f"{prefix!r} must have {tokens.PREFIX_LENGTH} characters")
    _readers[prefix] = reader


def credential_of(text: str) -> Credential:
    """Read a token with the reader for its kind.

    Raises what that reader raises, and Unauthenticated `token_invalid` for an unknown kind.
    """
    return _readers.get(text[: tokens.PREFIX_LENGTH], _api_token)(text)


def _api_token(text: str) -> Credential:
    token = services.authenticate_token(text)
    return Credential(
        principals.of_token(token),
        kind="API token",
        advice="Create one that has it.",
        note_use=lambda: services.note_use(token),
    )
