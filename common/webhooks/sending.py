"""Signs and sends one event to one endpoint, without the database.

Signatures: Standard Webhooks 1.0.0, and additionally the older single header.
"""

import base64
import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from time import monotonic
from uuid import UUID

from django.utils import timezone

from common import lengths
from common.errors import InvalidInput
from common.journal import NOWHERE, Origin, next_hop
from common.net import guarded_http
from common.version import VERSION

logger = logging.getLogger(__name__)

SECRET_PREFIX = "whsec_"  # noqa: S105
SECRET_BYTES = 32
HEADERS_KEPT = 8192  # characters
HIDDEN = "(hidden)"
USER_AGENT = f"Doorito/{VERSION}"


@dataclass(frozen=True, slots=True)
class Message:
    """Everything one attempt needs."""

    url: str
    secrets: Sequence[str]  # newest first; all of them sign
    event_id: UUID
    event_type: str
    delivery_id: UUID
    body: bytes
    timeout: float  # seconds, for everything
    own_headers: Mapping[str, str] = field(
        default_factory=dict
    )  # headers configured for the endpoint
    origin: Origin = NOWHERE  # the request that the event comes from


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an attempt. `status` is None when no response came; `error` then says why.

    The values of the receiver's own headers are hidden in `request_headers`.
    """

    started_at: datetime
    duration_ms: int
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    error: str = ""
    retry_after: int | None = None  # seconds
    is_interrupted: bool = False  # by the portal, not by the receiver
    request_headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        return self.status == 410


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(*, secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one `v1,<base64>` for each secret.

    The key is the decoded base64 part of the secret; `timestamp` is in Unix seconds.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(_key(secret), signed, "sha256") for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def legacy_signature(*, secret: str, body: bytes) -> str:
    """The `X-Webhook-Signature` header: hex HMAC-SHA256 of the body alone.

    Its key is the text of the secret including `whsec_`: such receivers have it in their
    configuration and decode nothing.
    """
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@lru_cache(maxsize=1024)
def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)


def headers(message: Message, *, timestamp: int) -> dict[str, str]:
    """The headers of an attempt made at `timestamp`, in Unix seconds."""
    message_id = str(message.event_id)
    return {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(
            secrets=message.secrets,
            message_id=message_id,
            timestamp=timestamp,
            body=message.body,
        ),
        "X-Webhook-Signature": legacy_signature(secret=message.secrets[0], body=message.body),
        "X-Webhook-Event": message.event_type,
        "X-Webhook-Delivery": str(message.delivery_id),
        **_origin_headers(message.origin),
    }


def _origin_headers(origin: Origin) -> dict[str, str]:
    if not origin.request_id:
        return {}
    return {"X-Request-ID": origin.request_id, "traceparent": next_hop(origin.traceparent)}


async def send(message: Message, client: guarded_http.Client) -> Result:
    """Make one attempt. Every failure to deliver is a result, not an exception."""
    started_at, start = timezone.now(), monotonic()
    sent: Mapping[str, str] = {}
    try:
        own = headers(message, timestamp=int(started_at.timestamp()))
        sent = own | dict.fromkeys(message.own_headers, HIDDEN)
        response = await client.post(
            url=message.url,
            headers={**message.own_headers, **own},
            body=message.body,
            timeout=message.timeout,
        )
        return Result(
            started_at=started_at,
            duration_ms=_milliseconds_since(start),
            status=response.status,
            headers=_kept(response.headers),
            body=_storable(response.body.decode(errors="replace")),
            error=(
                "" if 200 <= response.status < 300 else f"The receiver answered {response.status}."
            ),
            retry_after=retry_after_seconds(response.headers.get("retry-after")),
            request_headers=sent,
        )
    except (guarded_http.RequestFailed, InvalidInput) as exc:
        error = str(exc)
    except Exception as exc:
        # A bug, hit by one message. It must not stop the others.
        logger.exception("Sending delivery %s failed", message.delivery_id)
        error = internal_error(exc)
    return failure(
        error,
        started_at=started_at,
        duration_ms=_milliseconds_since(start),
        request_headers=sent,
    )


def failure(
    error: str,
    *,
    started_at: datetime,
    duration_ms: int = 0,
    request_headers: Mapping[str, str] | None = None,
) -> Result:
    """The result of an attempt that got no usable response."""
    return Result(
        started_at=started_at,
        duration_ms=duration_ms,
        error=_storable(error)[: lengths.ERROR_MESSAGE],
        request_headers=request_headers or {},
    )


def internal_error(fault: BaseException) -> str:
    """The error of an attempt that failed because of a bug; the log has the details."""
    return f"Internal error: {type(fault).__name__}"


def _milliseconds_since(start: float) -> int:
    return round((monotonic() - start) * 1000)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """The first 8 KiB of a response's headers, which are stored."""
    kept: dict[str, str] = {}
    room = HEADERS_KEPT
    for name, value in headers.items():
        room -= len(name) + len(value)
        if room < 0:
            break
        kept[name] = _storable(value)
    return kept


def _storable(text: str) -> str:
    """The text without NUL and lone surrogates (from bytes of a header), for PostgreSQL."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()


def retry_after_seconds(value: str | None) -> int | None:
    """Seconds, from either form of the header (RFC 9110, section 10.2.3); None if invalid."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return int(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for numbers that no date has
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, round((moment - timezone.now()).total_seconds()))
