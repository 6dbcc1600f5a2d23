"""How many requests may wait for their clients at once.

A body that is sent slowly, or an answer that is read slowly, holds a thread. Without a bound for
all of them together, and for those of one account, slow clients would take every thread, and
nobody else would be answered.
"""

import fcntl
import hashlib
import random
import threading
from collections.abc import Callable
from functools import partial

from common.errors import ServiceUnavailable, TooManyRequests
from common.http.exchange import NoPlaceError

MOST_PER_ACCOUNT = 4096  # threads of a process, and so far apart are the locks of two accounts
_RETRY_SECONDS = 2

type GiveBack = Callable[[], None]


class Places:
    """Those of one process, whose threads they leave free in part."""

    def __init__(self, *, threads: int, shares: "Shares") -> None:
        self._transfers = threading.BoundedSemaphore(max(threads * 3 // 4, 1))
        self._others = threading.BoundedSemaphore(max(threads // 8, 1))
        self._shares = shares

    def take_for_transfer(self, account: str) -> GiveBack:
        """A place for a body or an answer that may take its time.

        Raises TooManyRequests `too_many_transfers`, ServiceUnavailable `server_busy`.
        """
        give_back_share = self._shares.take(account)
        if not self._transfers.acquire(blocking=False):
            give_back_share()
            raise ServiceUnavailable(
                "server_busy",
                "The portal has as many transfers under way as it can serve; try again.",
                retry_after=_RETRY_SECONDS,
            )
        return partial(_call_both, self._transfers.release, give_back_share)

    def take_for_other(self) -> GiveBack:
        """A place for what is no transfer and has to wait for its client. Raises NoPlaceError."""
        if not self._others.acquire(blocking=False):
            raise NoPlaceError("Too many requests wait for their clients.")
        return self._others.release


class Shares:
    """How many transfers an account has under way, in all processes that have opened `file`.

    Each transfer holds a lock on a byte of that (empty) file. The kernel frees the locks of a
    process that dies; within a process, which they do not keep apart, `_held` does.
    """

    def __init__(self, file: int, *, per_account: int) -> None:
        self._file = file
        self._per_account = per_account
        self._held: dict[int, set[int]] = {}  # by account: which of its bytes are ours
        self._guard = threading.Lock()

    def take(self, account: str) -> GiveBack:
        """Raises TooManyRequests `too_many_transfers`."""
        base = _first_byte(account)
        with self._guard:
            held = self._held.setdefault(base, set())
            number = self._lock_one(base, held)
            if number is not None:
                held.add(number)
                return partial(self._give_back, base, number)
            if not held:
                del self._held[base]
        raise TooManyRequests(
            "too_many_transfers",
            f"This account has {self._per_account} transfers under way, as many as it may have at "
            "once. Try again when some of them have ended.",
            retry_after=_RETRY_SECONDS,
        )

    def _lock_one(self, base: int, held: set[int]) -> int | None:
        start = random.randrange(self._per_account)  # noqa: S311  (other processes hold some)
        for turn in range(self._per_account):
            number = (start + turn) % self._per_account
            if number in held:
                continue
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, base + number)
            except (BlockingIOError, PermissionError):  # fcntl(2): EAGAIN or EACCES
                continue
            return number
        return None

    def _give_back(self, base: int, number: int) -> None:
        with self._guard:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, base + number)
            held = self._held[base]
            held.remove(number)
            if not held:
                del self._held[base]


def _first_byte(account: str) -> int:
    digest = hashlib.blake2b(account.encode(), digest_size=5).digest()
    return int.from_bytes(digest) * MOST_PER_ACCOUNT


def _call_both(first: GiveBack, second: GiveBack) -> None:
    first()
    second()
