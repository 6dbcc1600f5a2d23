"""Request bodies as streams: read in blocks, not parsed, never in memory as a whole."""

from collections.abc import Iterable, Iterator

from django.conf import settings
from django.http import HttpRequest, UnreadablePostError

from common.errors import InvalidInput, LengthRequired, RequestTimeout, ServiceUnavailable
from common.http.exchange import (
    NoPlaceError,
    TooSlowError,
    UnreadableBodyError,
    exchange_of,
)
from common.http.requests import has_unknown_length


def body_length(request: HttpRequest) -> int | None:
    """The declared length of the body in bytes; None for a chunked body.

    Raises LengthRequired, InvalidInput `invalid_length`.
    """
    if has_unknown_length(request):
        return None
    text = request.META.get("CONTENT_LENGTH") or ""
    if not text:
        raise no_length()
    if not (text.isascii() and text.isdigit()):
        raise InvalidInput("invalid_length", "Content-Length must be a whole number of bytes.")
    return int(text)


def no_length() -> LengthRequired:
    return LengthRequired("length_required", "Send the body with a Content-Length.")


def body_blocks(request: HttpRequest) -> Iterator[memoryview]:
    """The raw body of an upload. Ends early if the connection does.

    The body counts as one of the account's transfers from this call on; reading starts with the
    first block. A block stays valid until the second one after it is requested. Raises
    TooManyRequests `too_many_transfers` or ServiceUnavailable `server_busy`, and during reading the
    errors of `interrupted`.
    """
    return _explained(exchange_of(request).receive_upload(account_of(request)))


def whole_body_blocks(request: HttpRequest) -> Iterator[memoryview]:
    """As `body_blocks`. Raises InvalidInput `body_incomplete` after the last block if the
    connection ended early.
    """
    return whole(body_blocks(request), length=body_length(request))


def whole(blocks: Iterable[memoryview], *, length: int | None) -> Iterator[memoryview]:
    """The same blocks. Raises InvalidInput `body_incomplete` if they are less than `length`."""
    received = 0
    for block in blocks:
        received += block.nbytes
        yield block
    if length is not None and received < length:
        raise _incomplete()


def stop_body(request: HttpRequest) -> None:
    """Have another thread's `body_blocks` of this request end."""
    exchange_of(request).stop_receiving()


def expect_download(request: HttpRequest, *, size_bytes: int) -> None:
    """Count the answer as one of the account's transfers, if it is large enough to take time.

    Raises TooManyRequests `too_many_transfers`, ServiceUnavailable `server_busy`.
    """
    exchange_of(request).expect_download(account_of(request), size_bytes=size_bytes)


def account_of(request: HttpRequest) -> str:
    """Whom transfers are counted for: an account, one of its grants, or a signed link."""
    principal = getattr(request, "principal", None)  # see accounts.authentication.Authenticator
    if principal is None:
        return f"link {request.path}"
    return f"grant {principal.grant_id}" if principal.grant_id else f"user {principal.owner.pk}"


def interrupted(exc: Exception) -> RequestTimeout | InvalidInput | ServiceUnavailable:
    """Why a body could not be read to its end (see common.http.exchange).

    RequestTimeout `body_stalled` or `body_too_slow`, InvalidInput `body_incomplete` or
    `body_unreadable`, ServiceUnavailable `server_busy`.
    """
    causes = list(_causes(exc))

    def is_due_to(kind: type[Exception]) -> bool:
        return any(isinstance(cause, kind) for cause in causes)

    if is_due_to(TooSlowError):
        return RequestTimeout(
            "body_too_slow",
            f"The body came at less than {settings.PORTAL_TRANSFER_MIN_RATE} bytes a second; "
            "send it again, over a better connection or in smaller parts.",
        )
    if is_due_to(TimeoutError):
        return RequestTimeout(
            "body_stalled",
            "The body stopped for, or what is no upload took, more than "
            f"{settings.PORTAL_STALL_TIMEOUT_SECONDS} seconds; send it again.",
        )
    if is_due_to(NoPlaceError):
        return ServiceUnavailable(
            "server_busy", "Too many bodies are on their way; send it again.", retry_after=2
        )
    if is_due_to(UnreadableBodyError):
        return InvalidInput("body_unreadable", "The chunks of the body are not valid.")
    return _incomplete()


def _incomplete() -> InvalidInput:
    return InvalidInput("body_incomplete", "The connection ended early; send it again.")


def _explained(blocks: Iterator[memoryview]) -> Iterator[memoryview]:
    try:
        yield from blocks
    except (UnreadablePostError, OSError) as exc:
        raise interrupted(exc) from exc


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """An error and the errors that caused it: Django wraps once for read(), twice for body."""
    while exc is not None:
        yield exc
        exc = exc.__cause__
