"""Limits on attempts, counted in the database, which all web processes share.

An attempt is counted as failed before it is made, and the count is taken back if it succeeds. So
if a hundred guesses come at once, no more of them than the limit are checked.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from accounts.client_address import client_network
from accounts.models import Throttle
from common.errors import TooManyRequests


@dataclass(frozen=True)
class Rule:
    """A limit of attempts in a window that begins with the first. `kind` separates the counts."""

    kind: str
    limit: int
    window: timedelta


# Ten are enough for somebody trying to remember a password; a guesser gets a thousand a day.
FAILED_LOGINS_OF_PAIR = Rule("login-pair", 10, timedelta(minutes=15))
# Guesses at one account from many addresses. The limit is high because reaching it locks out the
# owner as well: a single address, or a few, must not be able to reach it.
FAILED_LOGINS_OF_ACCOUNT = Rule("login-account", 100, timedelta(hours=1))
# One password tried on many accounts. The limit is high because an office may share an address.
FAILED_LOGINS_OF_CLIENT = Rule("login-client", 100, timedelta(minutes=15))
# Failed attempts count as well, because the answer tells whether an e-mail address is taken.
REGISTRATIONS_OF_CLIENT = Rule("register-client", 20, timedelta(hours=1))
# Nobody's mailbox must be flooded, and our mail server must not be taken for a spammer's.
RESETS_OF_ACCOUNT = Rule("reset-account", 5, timedelta(hours=1))
RESETS_OF_CLIENT = Rule("reset-client", 20, timedelta(hours=1))
# Guesses at the password of a link, which has no owner at the door who could be locked out.
FAILED_PASSWORDS_OF_PAIR = Rule("link-pair", 10, timedelta(minutes=15))
FAILED_PASSWORDS_OF_LINK = Rule("link", 100, timedelta(hours=1))

LONGEST_WINDOW = max(
    rule.window
    for rule in (
        FAILED_LOGINS_OF_PAIR,
        FAILED_LOGINS_OF_ACCOUNT,
        FAILED_LOGINS_OF_CLIENT,
        REGISTRATIONS_OF_CLIENT,
        RESETS_OF_ACCOUNT,
        RESETS_OF_CLIENT,
        FAILED_PASSWORDS_OF_PAIR,
        FAILED_PASSWORDS_OF_LINK,
    )
)
PURGE_BATCH = 1000


@dataclass(frozen=True)
class Counter:
    """What attempts are counted by: a rule and whom it counts."""

    rule: Rule
    key: str


@dataclass(frozen=True)
class Count:
    """A counter's value, and how long its window still lasts."""

    number: int
    window_start: datetime
    left: timedelta


@dataclass(frozen=True)
class Attempt:
    """An attempt to log in, or to open a link, with the counters that counted it."""

    pair: Counter
    others: Mapping[Counter, Count]


# A window that begins in the future is invalid: the clock was set back. The times of statements
# that wait for each other may differ by this much.
_CLOCK_SLACK = timedelta(minutes=1)

# One statement: of two simultaneous requests, the second waits for the first one's row and adds to
# it. The time is the database's, read when the row is locked.
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


def begin_login(*, email: str, address: str) -> Attempt:
    """Count a log-in as failed, until it `succeeded`. Call it before hashing the password.

    Raises TooManyRequests `too_many_logins`.
    """
    return _begin(
        _login_pair(email, address),
        _counter(FAILED_LOGINS_OF_ACCOUNT, _account(email)),
        _counter(FAILED_LOGINS_OF_CLIENT, client_network(address)),
        code="too_many_logins",
        message="Too many failed log-ins.",
    )


def begin_password(*, link_id: UUID, address: str) -> Attempt:
    """Count a try at the password of a link as failed, until it `succeeded`.

    Raises TooManyRequests `too_many_passwords`.
    """
    return _begin(
        _counter(FAILED_PASSWORDS_OF_PAIR, f"{link_id} {client_network(address)}"),
        _counter(FAILED_PASSWORDS_OF_LINK, str(link_id)),
        code="too_many_passwords",
        message="The password was wrong too often.",
    )


def succeeded(attempt: Attempt) -> None:
    """Forget this client's failures with this account, or link.

    Other clients' failures stay counted. So do this client's failures with other accounts, or else
    it could reset them by logging in to an account of its own between guesses.
    """
    Throttle.objects.filter(key=attempt.pair.key).delete()
    for counter, count in attempt.others.items():
        same_window = Throttle.objects.filter(key=counter.key, window_start=count.window_start)
        same_window.filter(count__gt=0).update(count=F("count") - 1)


def _begin(pair: Counter, *others: Counter, code: str, message: str) -> Attempt:
    counts = _count([pair, *others], code=code, message=message)
    del counts[pair]
    return Attempt(pair, counts)


def forget_failed_logins(*, email: str, address: str) -> None:
    """Forget failed log-ins of a user who proved by a mailed link that the account is theirs."""
    Throttle.objects.filter(key=_login_pair(email, address).key).delete()


def count_registration(*, address: str) -> None:
    """Count a registration. Raises TooManyRequests `too_many_registrations`."""
    _count(
        [_counter(REGISTRATIONS_OF_CLIENT, client_network(address))],
        code="too_many_registrations",
        message="Too many registrations from your network.",
    )


def count_reset(*, email: str, address: str) -> None:
    """Count a password reset, whether or not the account exists.

    Raises TooManyRequests `too_many_resets`.
    """
    _count(
        [
            _counter(RESETS_OF_ACCOUNT, _account(email)),
            _counter(RESETS_OF_CLIENT, client_network(address)),
        ],
        code="too_many_resets",
        message="Links were asked for too often.",
    )


def purge() -> int:
    """Delete a batch of counts whose window is over. Returns how many."""
    over = Throttle.objects.filter(window_start__lt=Now() - LONGEST_WINDOW)
    with transaction.atomic():
        # Rows that a request is counting on at this moment are skipped; the next purge gets them.
        batch = over.order_by("window_start").select_for_update(skip_locked=True)
        keys = list(batch.values_list("key", flat=True)[:PURGE_BATCH])
        Throttle.objects.filter(key__in=keys).delete()
    return len(keys)


def _count(counters: Sequence[Counter], *, code: str, message: str) -> dict[Counter, Count]:
    """Count in all counters, or in none of them if one has reached its limit.

    So a refused attempt does not use up other limits. During a flood, each refusal costs one read
    and neither locks nor writes anything. Raises TooManyRequests.
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
    """Raised to roll back the counters that were already increased."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__()
        self.wait = wait


def _reached(counters: Sequence[Counter]) -> list[Count]:
    """The counts of those counters that have reached their limit in a window not yet over."""
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
    for counter in counters:  # all callers order them from narrow to wide: no deadlock
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
    return _counter(FAILED_LOGINS_OF_PAIR, f"{_account(email)} {client_network(address)}")


def _counter(rule: Rule, value: str) -> Counter:
    """The counter of a rule for `value`, which is hashed: no address is stored in clear text."""
    return Counter(rule, hashlib.sha256(f"{rule.kind} {value}".encode()).hexdigest())


def _account(email: str) -> str:
    """The same text for all spellings of an address that UPPER(email) treats as one account."""
    return email.strip().upper()
