"""What an ``Authorization: Bearer`` header may hold: kinds of tokens, told apart by their prefix.

API tokens are this app's own kind. Apps above register theirs when the application starts.
"""

from collections.abc import Callable
from dataclasses import dataclass

from accounts import principals, services, tokens
from accounts.principals import Principal


@dataclass(frozen=True)
class Credential:
    """What a token stands for, and how messages speak of it."""

    principal: Principal
    kind: str
    advice: str  # to somebody whose token lacks a scope
    note_use: Callable[[], object] | None = None  # called when a request is let through


# Raises Unauthenticated or Forbidden for a token that is not good, or no longer.
type Reader = Callable[[str], Credential]

_readers: dict[str, Reader] = {}


def register(prefix: str, reader: Reader) -> None:
    """Let `reader` judge the tokens with this prefix, which has the length of all prefixes."""
    if len(prefix) != tokens.PREFIX_LENGTH:
        raise ValueError(f"{prefix!r} must have {tokens.PREFIX_LENGTH} characters")
    _readers[prefix] = reader


def credential_of(text: str) -> Credential:
    """Raises what the reader of this kind of token raises; `token_invalid` for an unknown kind."""
    return _readers.get(text[: tokens.PREFIX_LENGTH], _api_token)(text)


def _api_token(text: str) -> Credential:
    token = services.authenticate_token(text)
    return Credential(
        principals.of_token(token),
        kind="API token",
        advice="Create one that has it.",
        note_use=lambda: services.note_use(token),
    )
