"""How often somebody may try: counts in the database, which all web processes share.

An attempt is counted before it is made and taken back if it succeeds: of a hundred guesses that
come at once no more than the limit are looked at. What is under way counts as failed until it
is known to be otherwise.
"""

import hashlib
import ipaddress
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from accounts.models import Throttle
from common.errors import TooManyRequests


@dataclass(frozen=True)
class Rule:
    """So many times in a window that begins with the first; `kind` keeps rules' counts apart."""

    kind: str
    limit: int
    window: timedelta


# Somebody who tries to remember gets along with ten; a guesser gets a thousand a day.
FAILED_LOGINS_OF_PAIR = Rule("login-pair", 10, timedelta(minutes=15))
# Guesses at one account from many addresses. High, as it locks the owner out as well: one address
# alone, or a few, must not be enough to reach it.
FAILED_LOGINS_OF_ACCOUNT = Rule("login-account", 100, timedelta(hours=1))
# One password tried on many accounts. High, as a whole office may share an address.
FAILED_LOGINS_OF_CLIENT = Rule("login-client", 100, timedelta(minutes=15))
# Tries count, not accounts alone: the answer tells whether an address is taken.
REGISTRATIONS_OF_CLIENT = Rule("register-client", 20, timedelta(hours=1))
# Nobody's mailbox is to be flooded, and our mail server not be taken for a spammer's.
RESETS_OF_ACCOUNT = Rule("reset-account", 5, timedelta(hours=1))
RESETS_OF_CLIENT = Rule("reset-client", 20, timedelta(hours=1))

LONGEST_WINDOW = max(
    rule.window
    for rule in (
        FAILED_LOGINS_OF_PAIR,
        FAILED_LOGINS_OF_ACCOUNT,
        FAILED_LOGINS_OF_CLIENT,
        REGISTRATIONS_OF_CLIENT,
        RESETS_OF_ACCOUNT,
        RESETS_OF_CLIENT,
    )
)
PURGE_BATCH = 1000


@dataclass(frozen=True)
class Counter:
    """A rule's count for somebody."""

    rule: Rule
    key: str


@dataclass(frozen=True)
class Count:
    """Where a counter stands, and how long its window lasts still."""

    number: int
    window_start: datetime
    left: timedelta


@dataclass(frozen=True)
class LoginAttempt:
    """What a log-in was counted in."""

    pair: Counter
    others: Mapping[Counter, Count]


# A window that begins in the future is none: the clock was set back since. By so much statements
# that wait for one another can differ.
_CLOCK_SLACK = timedelta(minutes=1)

# One statement: of two requests at once the second waits for the first's row and adds to it. The
# time is the database's, read once the row is ours.
_COUNT = """
    INSERT INTO throttle AS known (key, count, window_start)
    VALUES (%(key)s, 1, clock_timestamp())
    ON CONFLICT (key) DO UPDATE SET (count, window_start) = (
        SELECT CASE WHEN goes_on THEN known.count + 1 ELSE 1 END,
            CASE WHEN goes_on THEN known.window_start ELSE clock_timestamp() END
        FROM (SELECT known.window_start BETWEEN
            clock_timestamp() - make_interval(secs => %(window)s)
            AND clock_timestamp() + make_interval(secs => %(slack)s) AS goes_on) AS window_
    )
    RETURNING count, window_start,
        window_start + make_interval(secs => %(window)s) - clock_timestamp()
"""


def begin_login(*, email: str, address: str) -> LoginAttempt:
    """Count a log-in: as failed, until `login_succeeded`. Called before the password is hashed.

    Raises TooManyRequests `too_many_logins`.
    """
    pair = _login_pair(email, address)
    counts = _count(
        [
            pair,
            _counter(FAILED_LOGINS_OF_ACCOUNT, _account(email)),
            _counter(FAILED_LOGINS_OF_CLIENT, _client(address)),
        ],
        code="too_many_logins",
        message="Too many failed log-ins.",
    )
    del counts[pair]
    return LoginAttempt(pair, counts)


def login_succeeded(attempt: LoginAttempt) -> None:
    """Forget what failed for this account and client; other clients' failures stay counted.

    So do those of this client with other accounts: it would otherwise guess on and on, and log
    in to an account of its own in between.
    """
    Throttle.objects.filter(key=attempt.pair.key).delete()
    for counter, count in attempt.others.items():
        same_window = Throttle.objects.filter(key=counter.key, window_start=count.window_start)
        same_window.filter(count__gt=0).update(count=F("count") - 1)


def forget_failed_logins(*, email: str, address: str) -> None:
    """For who proved by a mailed link that the account is theirs."""
    Throttle.objects.filter(key=_login_pair(email, address).key).delete()


def count_registration(*, address: str) -> None:
    """Raises TooManyRequests `too_many_registrations`."""
    _count(
        [_counter(REGISTRATIONS_OF_CLIENT, _client(address))],
        code="too_many_registrations",
        message="Too many registrations from your network.",
    )


def count_reset(*, email: str, address: str) -> None:
    """The same whether the account exists. Raises TooManyRequests `too_many_resets`."""
    _count(
        [
            _counter(RESETS_OF_ACCOUNT, _account(email)),
            _counter(RESETS_OF_CLIENT, _client(address)),
        ],
        code="too_many_resets",
        message="Links were asked for too often.",
    )


def purge() -> int:
    """Delete a batch of counts whose window is over; how many it were."""
    over = Throttle.objects.filter(window_start__lt=Now() - LONGEST_WINDOW)
    with transaction.atomic():
        # What a request counts on at this moment is skipped, and met by the next purge.
        batch = over.order_by("window_start").select_for_update(skip_locked=True)
        keys = list(batch.values_list("key", flat=True)[:PURGE_BATCH])
        Throttle.objects.filter(key__in=keys).delete()
    return len(keys)


def _count(counters: Sequence[Counter], *, code: str, message: str) -> dict[Counter, Count]:
    """Count in all counters, or in none if one has reached its limit.

    So whoever is refused brings no other limit nearer. A flood is refused by one read, and locks
    and writes nothing. Raises TooManyRequests.
    """
    waits = [count.left for count in _reached(counters)]
    if not waits:
        try:
            return _count_all(counters)
        except _LimitReachedError as reached:
            waits = [reached.wait]
    wait = math.ceil(max(waits).total_seconds())
    raise TooManyRequests(code, f"{message} Try again in {_in_words(wait)}.", retry_after=wait)


class _LimitReachedError(Exception):
    """Rolls back what was counted already."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__()
        self.wait = wait


def _reached(counters: Sequence[Counter]) -> list[Count]:
    """Where counters stand that have reached their limit in a window that goes on."""
    rules = {counter.key: counter.rule for counter in counters}
    age = ExpressionWrapper(Now() - F("window_start"), DurationField())
    rows = Throttle.objects.filter(key__in=rules).annotate(age=age)
    found = rows.values_list("key", "count", "window_start", "age")
    return [
        Count(number, start, rules[key].window - age)
        for key, number, start, age in found
        if number >= rules[key].limit and -_CLOCK_SLACK <= age < rules[key].window
    ]


@transaction.atomic
def _count_all(counters: Sequence[Counter]) -> dict[Counter, Count]:
    counts = {}
    for counter in counters:  # from the narrow to the wide, in all callers: no deadlock
        count = _count_one(counter)
        if count.number > counter.rule.limit:
            raise _LimitReachedError(count.left)
        counts[counter] = count
    return counts


def _count_one(counter: Counter) -> Count:
    values: dict[str, str | float] = {
        "key": counter.key,
        "window": counter.rule.window.total_seconds(),
        "slack": _CLOCK_SLACK.total_seconds(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, values)
        return Count(*cursor.fetchone())


def _in_words(seconds: int) -> str:
    minutes = math.ceil(seconds / 60)
    if minutes <= 1:
        return "a minute"
    return f"{minutes} minutes" if minutes < 60 else "an hour"


def _login_pair(email: str, address: str) -> Counter:
    return _counter(FAILED_LOGINS_OF_PAIR, f"{_account(email)} {_client(address)}")


def _counter(rule: Rule, value: str) -> Counter:
    """Hashed: no e-mail address and no client's address is kept in clear."""
    return Counter(rule, hashlib.sha256(f"{rule.kind} {value}".encode()).hexdigest())


def _account(email: str) -> str:
    """One text for all spellings that log in to the same account, which UPPER(email) finds."""
    return email.strip().upper()


def _client(address: str) -> str:
    """An IPv4 address, or the /64 that a client of IPv6 may choose its addresses from."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.IPv6Network((int(ip), 64), strict=False))
