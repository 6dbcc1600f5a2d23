"""What can go wrong, by what its reader can do about it.

DooritoError
├── PortalError            an answer of the portal that is none of success; by its status:
│   ├── InvalidRequest 400     ├── TooLarge 413
│   ├── NotLoggedIn 401        ├── TypeNotAllowed 415
│   ├── NotAllowed 403         ├── ContentDiffers 422
│   ├── NotFound 404           ├── TooManyRequests 429
│   ├── Conflict 409           ├── Unavailable 5xx
│   ├── Gone 410               └── NoRoom 507
├── NoAnswer               none came, for as long as was waited
├── FileChanged            a file was written to while it was read
├── DigestDiffers          the bytes at the other end are not those at this one
└── UnusableState          what this machine remembers of uploads cannot be read or written
"""

import json
from typing import Any


class DooritoError(Exception):
    """`message` says what happened, `advice` what to do next ("" where the message does)."""

    exit_code = 1

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(f"{message} {advice}".strip())
        self.message = message
        self.advice = advice


class PortalError(DooritoError):
    """A problem document (RFC 9457). Without a `code`, something in front of the portal answered.

    `retry_after` is in seconds, None where the portal named no time. `extra` are further members
    of the document.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        retry_after: float | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, advice=_ADVICE.get(code, ""))
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.extra = extra or {}

    @property
    def is_transient(self) -> bool:
        """Whether the same request may go well later."""
        return self.status in _TRANSIENT or self.code in _BUSY or self.code == "digest_mismatch"

    @property
    def is_of_proxy(self) -> bool:
        return not self.code


class InvalidRequest(PortalError):
    pass


class NotLoggedIn(PortalError):
    exit_code = 3


class NotAllowed(PortalError):
    exit_code = 3


class NotFound(PortalError):
    exit_code = 4


class Conflict(PortalError):
    exit_code = 5


class Gone(PortalError):
    exit_code = 4


class TooLarge(PortalError):
    pass


class TypeNotAllowed(PortalError):
    pass


class ContentDiffers(PortalError):
    exit_code = 7


class TooManyRequests(PortalError):
    exit_code = 6


class Unavailable(PortalError):
    exit_code = 6


class NoRoom(PortalError):
    exit_code = 6


class NoAnswer(DooritoError):
    """`was_sent` is false where the request certainly reached nobody."""

    exit_code = 6

    def __init__(self, message: str, *, was_sent: bool = True) -> None:
        super().__init__(message, advice="Check the address and the network, then try again.")
        self.was_sent = was_sent


class FileChanged(DooritoError):
    exit_code = 7


class DigestDiffers(DooritoError):
    exit_code = 7


class UnusableState(DooritoError):
    pass


_BY_STATUS: dict[int, type[PortalError]] = {
    400: InvalidRequest,
    401: NotLoggedIn,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    415: TypeNotAllowed,
    422: ContentDiffers,
    429: TooManyRequests,
    507: NoRoom,
}
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_BUSY = {"part_in_progress", "finalize_in_progress", "upload_in_progress"}  # with another request

_LOG_IN = "Log in with a token that works: doorito-client login URL."
# What the portal cannot say, since it does not know its client.
_ADVICE = {
    "not_authenticated": _LOG_IN,
    "token_invalid": _LOG_IN,
    "token_revoked": _LOG_IN,
    "token_expired": _LOG_IN,
    "scope_missing": "Log in with a token that has this scope.",
    "invalid_chunk_size": "If a proxy refuses larger bodies, its limit has to be raised.",
    "session_aborted": "Start the upload again.",
    "being_checked": "It stays there until it is; the same command asks for it again.",
}


def problem(status: int, body: bytes, *, retry_after: str | None = None) -> PortalError:
    """The error that an answer stands for."""
    document = _document(body)
    code = str(document.pop("code", ""))
    detail = str(document.pop("detail", "")) if code else _foreign(status)
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 else PortalError)
    for name in ("type", "title", "status"):
        document.pop(name, None)
    return kind(detail, status=status, code=code, retry_after=_seconds(retry_after), extra=document)


def _document(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}  # a proxy's own page
    return value if isinstance(value, dict) else {}


def _foreign(status: int) -> str:
    if status == 413:
        return (
            "A proxy in front of the portal refuses even the smallest parts as too large. "
            "Its limit for request bodies must be raised (nginx: client_max_body_size)."
        )
    return f"Something that is no Doorito portal answered with status {status}."


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() else None
