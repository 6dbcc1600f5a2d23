"""Who appends to an upload: of several requests, the newest.

The client of an older request has usually lost its connection, which the server may not notice for
long. So a request that finds another one appending writes its wish into the session's row. The
process that serves the other one looks there several times a second, and ends that one's body: what
of it was not recorded yet is dropped, so that the newest finds the upload as its client was told.
A process that dies leaves nothing locked: the lock goes with it, and a wish alone refuses nobody.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from uuid import UUID

from common.db import DATABASE_GONE, release_connection
from common.errors import Conflict
from common.ids import uuid7
from uploads.models import UploadSession
from uploads.storage import handle_of, storage_for

LONGEST_WAIT_SECONDS = 20.0
_POLL_SECONDS = 0.02
_LOOK_SECONDS = 0.25


class Turn:
    """A request that appends. `let_go` is called from another thread, and ends the body."""

    def __init__(
        self, session_id: UUID, *, known_wish: UUID | None, let_go: Callable[[], object]
    ) -> None:
        self.session_id = session_id
        self.known_wish = known_wish
        self.is_over = False
        self._let_go = let_go

    def end(self) -> None:
        self.is_over = True
        self._let_go()

    def blocks(self, blocks: Iterator[memoryview]) -> Iterator[memoryview]:
        """The same blocks. Raises Conflict `superseded` once the turn is over."""
        for block in blocks:
            self._require()
            yield block
        self._require()

    def _require(self) -> None:
        if self.is_over:
            raise superseded()


def superseded() -> Conflict:
    return Conflict("superseded", "A newer request goes on with this upload.")


@contextmanager
def sole_writer(session: UploadSession, *, offset: int) -> Iterator[UUID | None]:
    """The sole right to append from `offset` on, taken from an older request if need be.

    Gives this request's wish, or None where it needed none; `require_latest` checks it once the
    session was read again. Raises Conflict `part_in_progress` after a long wait, NotFound
    `upload_missing`.
    """
    locks, handle = storage_for(session).locks, handle_of(session)
    wish: UUID | None = None
    until = time.monotonic() + LONGEST_WAIT_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locks.writing(handle, offset=offset, size_bytes=None))
                break
            except Conflict:
                if time.monotonic() > until:
                    raise
            if wish is None:
                wish = uuid7()
                UploadSession.objects.filter(id=session.id).update(wanted_by=wish)
                release_connection()
            time.sleep(_POLL_SECONDS)
        yield wish


def require_latest(session: UploadSession, wish: UUID | None) -> None:
    """Raises Conflict `superseded` where a newer request wants to append than this one."""
    if wish is not None and session.wanted_by != wish:
        raise superseded()


@contextmanager
def turn_of(session: UploadSession, *, let_go: Callable[[], object]) -> Iterator[Turn]:
    """A turn that ends at the next wish. The caller must be the sole writer."""
    turn = Turn(session.id, known_wish=session.wanted_by, let_go=let_go)
    watch = _watch()
    watch.add(turn)
    try:
        yield turn
    finally:
        watch.remove(turn)  # nobody calls `let_go` from here on


class _Watch:
    """Looks for wishes about the turns of this process, in a thread of its own."""

    def __init__(self) -> None:
        self._turns: set[Turn] = set()
        self._guard = threading.Condition()
        threading.Thread(target=self._run, name="turns", daemon=True).start()

    def add(self, turn: Turn) -> None:
        with self._guard:
            self._turns.add(turn)
            self._guard.notify()

    def remove(self, turn: Turn) -> None:
        with self._guard:
            self._turns.discard(turn)

    def _run(self) -> None:
        while True:
            with self._guard:
                self._guard.wait_for(lambda: self._turns)
                present = set(self._turns)
            time.sleep(_LOOK_SECONDS)  # most turns are over by then, and cost no query
            self._end_those_superseded(present)

    def _end_those_superseded(self, candidates: set[Turn]) -> None:
        with self._guard:
            present = candidates & self._turns
        if not present:
            return
        ids = {turn.session_id for turn in present}
        sessions = UploadSession.objects.filter(id__in=ids)
        try:
            wishes = dict(sessions.values_list("id", "wanted_by"))
        except DATABASE_GONE:
            return
        finally:
            release_connection()
        with self._guard:
            for turn in present & self._turns:
                if wishes.get(turn.session_id) != turn.known_wish and not turn.is_over:
                    turn.end()


@cache
def _watch() -> _Watch:
    """Made at the first use, in the process that uses it: threads do not survive a fork."""
    return _Watch()
