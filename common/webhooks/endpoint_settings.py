"""The settings of a webhook endpoint: reading, writing and checking them.

Used by every door: forms, the admin, the API and the command line turn their input into
EndpointSettings, and `check` checks these. Errors are InvalidInput; their member `field` names the
setting.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.contrib.auth import get_user_model

from common import durations, lengths
from common.content_types import is_pattern
from common.errors import DooritoError, InvalidInput
from common.models import WebhookEndpoint
from common.net import ssrf
from common.outbox.types import event_types as known_types

SCHEDULE_STEPS = 20
WAIT_MAX = 7 * 86_400  # seconds
TIMEOUT_MAX = 60  # seconds
HEADERS_MAX = 20
HEADER_LENGTH = 4096  # characters of a value
KEPT = "••••••••"  # shown instead of a stored header value

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # a token, RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
# Headers of HTTP itself, and those that the portal sets.
_OWN_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
_NO_WAIT = ("0s", "0m", "0h", "0d")
_OWN_PREFIXES = ("webhook-", "x-webhook-", "proxy-")


@dataclass(frozen=True)
class EndpointSettings:
    """The settings of an endpoint. Empty filters match all; null uses the portal's setting.

    `retry_schedule` and `timeout_seconds` are in seconds; `headers` are sent with every attempt.
    """

    url: str
    description: str = ""
    event_types: Sequence[str] = ()
    content_types: Sequence[str] = ()
    user_id: UUID | None = None
    batch_id: UUID | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_schedule: Sequence[int] | None = None
    timeout_seconds: int | None = None


# --- As people write it ----------------------------------------------------------------------


def read_words(text: str) -> list[str]:
    """Content types, or other words without blanks, separated by commas, blanks or line ends."""
    return text.lower().replace(",", " ").split()


def read_schedule(text: str) -> list[int] | None:
    """Waits such as `0, 5s, 5m, 2h`, in seconds, which is also the default unit. None if empty."""
    return [_read_wait(word) for word in read_words(text)] or None


def _read_wait(word: str) -> int:
    if word.isascii() and word.isdigit():
        return int(word[:9])
    span = durations.parse(word)
    if span is None and word not in _NO_WAIT:
        raise InvalidInput(
            "webhook_schedule_invalid",
            f"{word!r} is no wait: a retry schedule looks like 0, 5s, 5m, 2h, 1d.",
            field="retry_schedule",
        )
    return int(span.total_seconds()) if span else 0


def write_schedule(seconds: Iterable[int]) -> str:
    """A schedule in the form that `read_schedule` reads: `0s, 5s, 30m, 2h`."""
    return ", ".join(map(durations.write, seconds))


def read_headers(text: str, *, stored: Mapping[str, str] | None = None) -> dict[str, str]:
    """Headers as lines of `Name: value`, or as a JSON object.

    The value KEPT stands for the `stored` value of that name, in upper or lower case.
    """
    pairs = _json_pairs(text) if text.lstrip().startswith("{") else _line_pairs(text.splitlines())
    known = {name.lower(): value for name, value in (stored or {}).items()}
    headers: dict[str, str] = {}
    for name, value in pairs:
        if name.lower() in map(str.lower, headers):
            raise _bad_header(f"The header {name} is there twice.")
        if value == KEPT and name.lower() not in known:
            raise _bad_header(f"No value of {name} is stored: write it out.")
        headers[name] = known[name.lower()] if value == KEPT else value
    return headers


def _line_pairs(lines: Iterable[str]) -> list[tuple[str, str]]:
    pairs = []
    for line in filter(None, map(str.strip, lines)):
        name, colon, value = line.partition(":")
        if not colon:
            # The text is not repeated in the message: it may be a secret without its header name.
            raise _bad_header("Write each header as Name: value, one a line.")
        pairs.append((name.strip(), value.strip()))
    return pairs


def _json_pairs(text: str) -> list[tuple[str, str]]:
    try:
        pairs: list[tuple[str, str]] = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as exc:
        raise _bad_header(f"This is no JSON: {exc}") from exc
    if not all(isinstance(value, str) for _, value in pairs):
        raise _bad_header("The value of each header must be text.")
    return pairs


def write_headers(endpoint: WebhookEndpoint) -> str:
    """The stored headers in the form that `read_headers` reads, without their values."""
    return "\n".join(f"{name}: {KEPT}" for name in readable_headers(endpoint) or {})


def readable_headers(endpoint: WebhookEndpoint) -> dict[str, str] | None:
    """An endpoint's own headers; None when they cannot be decrypted."""
    try:
        return endpoint.headers
    except DooritoError:
        return None


def read_user(text: str) -> UUID | None:
    """An account from its e-mail address, in upper or lower case, or its id; None if empty."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return _user_id(text)


def _user_id(email: str) -> UUID:
    users = get_user_model()
    try:
        user = users._default_manager.get_by_natural_key(email.replace("\x00", ""))
    except users.DoesNotExist as exc:
        raise InvalidInput(
            "webhook_user_unknown",
            f"No account has the e-mail address {email}. Check the spelling.",
            field="user_id",
        ) from exc
    found: UUID = user.pk
    return found


def write_user(user_id: UUID | None) -> str:
    """The e-mail address of an account; its id if the account is gone."""
    if user_id is None:
        return ""
    users = get_user_model()._default_manager.filter(pk=user_id)
    return users.values_list("email", flat=True).first() or str(user_id)


# --- Whether it can work ---------------------------------------------------------------------


def check(chosen: EndpointSettings) -> None:
    """Refuse settings that cannot work. Raises InvalidInput whose member `field` names the setting.

    Codes: `webhook_url_invalid`, `webhook_url_not_public`, `webhook_event_type_unknown`,
    `webhook_description_invalid`, `webhook_content_type_invalid`, `webhook_header_invalid`,
    `webhook_schedule_invalid`, `webhook_timeout_invalid`.
    """
    _check_url(chosen.url)
    _check_description(chosen.description)
    _check_event_types(chosen.event_types)
    _check_content_types(chosen.content_types)
    check_headers(chosen.headers)
    _check_schedule(chosen.retry_schedule)
    _check_timeout(chosen.timeout_seconds)


def _check_url(url: str) -> None:
    if len(url) > lengths.URL:
        message = f"The URL is longer than {lengths.URL} characters."
        raise InvalidInput("webhook_url_invalid", message, field="url")
    try:
        ssrf.check_url(url)
    except InvalidInput as exc:
        raise InvalidInput(f"webhook_{exc.code}", exc.message, field="url") from exc


def _check_event_types(patterns: Sequence[str]) -> None:
    for pattern in patterns:
        if not known_types.has_any(pattern):
            raise InvalidInput(
                "webhook_event_type_unknown",
                f"There is no event type {pattern}. Types: {known_types.listed()}; file.* takes "
                "all of a kind.",
                field="event_types",
            )


def _check_description(description: str) -> None:
    problem = None
    if len(description) > lengths.DESCRIPTION:
        problem = f"The description is longer than {lengths.DESCRIPTION} characters."
    # Bytes of an argument that are not UTF-8 come as lone surrogates (PEP 383).
    elif any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in description):
        problem = "The description must be UTF-8 text without NUL."
    if problem:
        raise InvalidInput("webhook_description_invalid", problem, field="description")


def _check_content_types(patterns: Sequence[str]) -> None:
    for pattern in patterns:
        if not is_pattern(pattern):
            raise InvalidInput(
                "webhook_content_type_invalid",
                f"{pattern} is not a content type such as application/pdf or image/*.",
                field="content_types",
            )


def check_headers(headers: Mapping[str, str]) -> None:
    problem = None
    if len(headers) > HEADERS_MAX or len({name.lower() for name in headers}) < len(headers):
        problem = f"At most {HEADERS_MAX} headers can be added, each name once."
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            problem = f"{name!r} is not the name of a header."
        elif name.lower() in _OWN_HEADERS or name.lower().startswith(_OWN_PREFIXES):
            problem = f"The header {name} is set by Doorito itself."
        elif len(value) > HEADER_LENGTH or not _HEADER_VALUE.fullmatch(value):
            problem = (
                f"The value of {name} must be one line of at most {HEADER_LENGTH} ASCII characters."
            )
    if problem:
        raise _bad_header(problem)


def _bad_header(problem: str) -> InvalidInput:
    return InvalidInput("webhook_header_invalid", problem, field="headers")


def _check_schedule(schedule: Sequence[int] | None) -> None:
    if schedule is None:
        return
    if not 1 <= len(schedule) <= SCHEDULE_STEPS or not all(
        0 <= wait <= WAIT_MAX for wait in schedule
    ):
        raise InvalidInput(
            "webhook_schedule_invalid",
            f"A retry schedule has 1 to {SCHEDULE_STEPS} waits of 0 to {WAIT_MAX} seconds.",
            field="retry_schedule",
        )


def _check_timeout(timeout: int | None) -> None:
    if timeout is not None and not 1 <= timeout <= TIMEOUT_MAX:
        raise InvalidInput(
            "webhook_timeout_invalid",
            f"The timeout must be 1 to {TIMEOUT_MAX} seconds.",
            field="timeout_seconds",
        )
