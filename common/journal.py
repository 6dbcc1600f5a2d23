"""The journal: a line in the log for each change of state, with what it was about.

Lines of one request carry its id, `request_id`, and `trace_id` of the W3C's Trace Context. Both go
along with events and tasks of the background, so that a file can be followed from the request that
sent it to the receiver that was told of it. Facts are ids, numbers and codes: never what somebody
could use, or the content of a file.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import transaction

from common import lengths
from common.ids import uuid7

_REQUEST_ID = re.compile(rf"[A-Za-z0-9._:+/=-]{{1,{lengths.REQUEST_ID}}}")
# https://www.w3.org/TR/trace-context/#traceparent-header: version 00, no id of zeros alone
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")

_log = structlog.stdlib.get_logger("doorito")


@dataclass(frozen=True)
class Origin:
    """The request that something comes from; both are empty where it comes from none."""

    request_id: str = ""
    traceparent: str = ""


NOWHERE = Origin()


def tell(event: str, **facts: Any) -> None:
    _log.info(event, **facts)


def tell_quietly(event: str, **facts: Any) -> None:
    """What happens all the time and means little: seen with PORTAL_LOG_LEVEL=DEBUG."""
    _log.debug(event, **facts)


def tell_after_commit(event: str, **facts: Any) -> None:
    """The same once the transaction is committed, if it is; at once outside of one."""
    transaction.on_commit(lambda: tell(event, **facts), robust=True)


def origin_of(*, request_id: str, traceparent: str) -> Origin:
    """The origin that a client names, as far as what it says is well-formed; else a new one."""
    given = request_id if _REQUEST_ID.fullmatch(request_id) else uuid7().hex
    if _TRACEPARENT.fullmatch(traceparent) is None:
        traceparent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
    return Origin(given, traceparent)


def origin() -> Origin:
    """Where what is done now comes from."""
    known = structlog.contextvars.get_contextvars()
    return Origin(known.get("request_id", ""), known.get("traceparent", ""))


@contextmanager
def coming_from(origin: Origin, **facts: Any) -> Iterator[None]:
    """Lines in the block, and what it begins, come from there; they have these facts as well."""
    bound = {"request_id": origin.request_id, "traceparent": origin.traceparent} | facts
    with structlog.contextvars.bound_contextvars(**bound):
        yield


def next_hop(traceparent: str) -> str:
    """The header for a request that is made on behalf of one that had `traceparent`."""
    match = _TRACEPARENT.fullmatch(traceparent)
    return f"00-{match[1]}-{secrets.token_hex(8)}-{match[2]}" if match else ""
