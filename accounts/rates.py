"""How often an account, or a client address, may do what could be abused.

A token bucket in the memory of each web process: it costs microseconds and no query, and is wrong
by no more than the number of processes. Answers carry `RateLimit` and `RateLimit-Policy`
(draft-ietf-httpapi-ratelimit-headers), refusals `Retry-After` as well.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

from accounts.client_address import client_address, client_network
from common.errors import TooManyRequests
from common.http.bodies import account_of

WINDOW_SECONDS = 60
ADDRESS_FACTOR = 5  # an office shares an address
_MOST_BUCKETS = 20_000  # beyond them, those that were not used for longest are forgotten
_HEADERS = "rate_headers"  # of a request, for the middleware


@dataclass(frozen=True)
class Rate:
    """`limit` is how many there may be in a minute; 0: any number."""

    name: str
    limit: Callable[[], int]


SESSIONS = Rate("sessions", lambda: settings.PORTAL_RATE_SESSIONS)
SMALL_FILES = Rate("files", lambda: settings.PORTAL_RATE_FILES)
RUNS = Rate("runs", lambda: settings.PORTAL_RATE_RUNS)
LINKS = Rate("links", lambda: settings.PORTAL_RATE_LINKS)
TOKEN_FAILURES = Rate("token-failures", lambda: settings.PORTAL_RATE_TOKEN_FAILURES)


class Buckets:
    """Each key has a bucket that fills up evenly, with what is left of its limit."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # and when

    def take(self, key: str, *, limit: int) -> float:
        """Take one. Returns how many are left; below 0, none was taken."""
        now = self._clock()
        with self._lock:
            left, since = self._left.pop(key, (float(limit), now))
            left = min(left + (now - since) * limit / WINDOW_SECONDS, limit)
            self._left[key] = (left - 1 if left >= 1 else left, now)
            if len(self._left) > _MOST_BUCKETS:
                self._left.popitem(last=False)
        return left - 1


_buckets = Buckets()


def take(request: HttpRequest, rate: Rate) -> None:
    """Count a request of an account and of its address. Raises TooManyRequests `rate_limited`."""
    limit = rate.limit()
    if limit:
        _take(request, rate, account_of(request), limit=limit)
        _take(request, rate, _address(request), limit=limit * ADDRESS_FACTOR)


def take_of_address(request: HttpRequest, rate: Rate) -> None:
    """The same where there is no account. Raises TooManyRequests `rate_limited`."""
    limit = rate.limit()
    if limit:
        _take(request, rate, _address(request), limit=limit)


def headers_of(request: HttpRequest) -> dict[str, str]:
    """What the answer says of the limit that is nearest to be reached."""
    headers: dict[str, str] = getattr(request, _HEADERS, {})
    return headers


def _take(request: HttpRequest, rate: Rate, who: str, *, limit: int) -> None:
    left = _buckets.take(f"{rate.name} {who}", limit=limit)
    wait = 0 if left >= 0 else math.ceil(-left * WINDOW_SECONDS / limit)
    if not hasattr(request, _HEADERS) or left < 0:
        headers = {
            "RateLimit-Policy": f'"{rate.name}";q={limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"{rate.name}";r={max(math.floor(left), 0)};t={wait}',
        }
        setattr(request, _HEADERS, headers)
    if left < 0:
        raise TooManyRequests(
            "rate_limited",
            f"There may be {limit} of these requests a minute ({rate.name}). Go on more slowly.",
            retry_after=max(wait, 1),
            limit=limit,
        )


def _address(request: HttpRequest) -> str:
    return f"address {client_network(client_address(request))}"
