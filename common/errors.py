"""The tree of errors that users see: a stable code, a message that says what to do, a status.

DooritoError
├── InvalidInput 400            ├── PayloadTooLarge 413
├── Unauthenticated 401         ├── UnsupportedType 415
├── Forbidden 403               ├── RangeNotSatisfiable 416
├── NotFound 404                ├── UnprocessableContent 422
├── MethodNotAllowed 405        ├── TooManyRequests 429
├── RequestTimeout 408          ├── ServiceUnavailable 503
├── Conflict 409                └── InsufficientStorage 507
├── Gone 410
├── LengthRequired 411
└── PreconditionFailed 412

Services raise these; the API turns them into RFC 9457 problem details, pages and the CLI print
the message. Adapters translate what their backend raises into one of these.
"""

from typing import Any


class DooritoError(Exception):
    """An error whose code and message are part of the interface.

    `retry_after` is in seconds. `extra` are further members of the problem document.
    """

    status = 500
    title = "Error"

    def __init__(
        self, code: str, message: str, *, retry_after: int | None = None, **extra: Any
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.extra = extra


class InvalidInput(DooritoError):
    status = 400
    title = "Invalid input"


class Unauthenticated(DooritoError):
    status = 401
    title = "Not authenticated"


class Forbidden(DooritoError):
    status = 403
    title = "Not allowed"


class NotFound(DooritoError):
    status = 404
    title = "Not found"


class MethodNotAllowed(DooritoError):
    status = 405
    title = "Method not allowed"


class RequestTimeout(DooritoError):
    status = 408
    title = "Too slow"


class Conflict(DooritoError):
    status = 409
    title = "Conflict"


class Gone(DooritoError):
    status = 410
    title = "Gone"


class LengthRequired(DooritoError):
    status = 411
    title = "Length required"


class PreconditionFailed(DooritoError):
    status = 412
    title = "Precondition failed"


class PayloadTooLarge(DooritoError):
    status = 413
    title = "Too large"


class UnsupportedType(DooritoError):
    status = 415
    title = "Type not accepted"


class RangeNotSatisfiable(DooritoError):
    status = 416
    title = "Range not satisfiable"


class UnprocessableContent(DooritoError):
    status = 422
    title = "Content does not match"


class TooManyRequests(DooritoError):
    status = 429
    title = "Too many requests"


class ServiceUnavailable(DooritoError):
    status = 503
    title = "Not available now"


class InsufficientStorage(DooritoError):
    status = 507
    title = "No room"
