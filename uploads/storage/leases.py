"""Locks that hold between machines: leases of byte ranges, kept in rows.

A lease is renewed by its process for as long as it is held, and runs out soon after a process that
was killed. No database connection is held meanwhile. A holder that stalls for longer than a lease
may meet another one: the store's own receipts then tell whose bytes count.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from common.db import release_connection
from common.errors import NotFound
from common.ids import uuid7
from uploads.models import RangeLease
from uploads.storage.base import UploadHandle
from uploads.storage.refusals import finalize_in_progress, part_in_progress, upload_missing

logger = logging.getLogger(__name__)

WHOLE = 2**62  # no file reaches this offset: its lease stands for the upload as a whole
LONGEST_WAIT_SECONDS = 20.0
LEASE_SECONDS = 30.0
_FIRST_POLL_SECONDS = 0.02
_LONGEST_POLL_SECONDS = 0.5


class LeaseLocks:
    def __init__(self, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._seconds = lease_seconds

    @contextmanager
    def writing(
        self, handle: UploadHandle, *, offset: int, size_bytes: int | None
    ) -> Iterator[None]:
        end = WHOLE if size_bytes is None else offset + size_bytes
        lease = self._take(handle, start=offset, end=end)
        if lease is None:
            raise part_in_progress()
        with self._kept(lease):
            yield

    @contextmanager
    def try_exclusive(self, handle: UploadHandle) -> Iterator[bool]:
        lease = self._take(handle, start=WHOLE, end=WHOLE + 1)
        with self._kept(lease):
            yield lease is not None

    @contextmanager
    def exclusive(self, handle: UploadHandle) -> Iterator[None]:
        with self._kept(self._wait_for(handle, start=WHOLE)):
            yield

    @contextmanager
    def settled(self, handle: UploadHandle) -> Iterator[None]:
        lease = self._wait_for(handle, start=0)
        RangeLease.objects.filter(id=lease).update(start_bytes=WHOLE)
        with self._kept(lease):
            yield

    @contextmanager
    def try_idle(self, handle: UploadHandle) -> Iterator[bool]:
        try:
            lease = self._take(handle, start=0, end=WHOLE + 1)
        except NotFound:
            yield True
            return
        with self._kept(lease):
            yield lease is not None

    def _take(self, handle: UploadHandle, *, start: int, end: int) -> UUID | None:
        """The id of a lease of the range; None while another has some of it.

        Raises NotFound `upload_missing`.
        """
        lease = uuid7()
        values: dict[str, Any] = {
            "backend": handle.backend,
            "key": handle.key,
            "lease": lease,
            "start": start,
            "end": end,
            "seconds": self._seconds,
        }
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_LOCK, values)
            row = cursor.fetchone()
            if row is None:
                raise upload_missing()
            cursor.execute(_INSERT, values | {"upload": row[0]})
            return lease if cursor.rowcount else None

    def _wait_for(self, handle: UploadHandle, *, start: int) -> UUID:
        """Wait for the lease, but not for ever: a waiter holds a thread."""
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        pause = _FIRST_POLL_SECONDS
        while (lease := self._take(handle, start=start, end=WHOLE + 1)) is None:
            if time.monotonic() > deadline:
                raise finalize_in_progress()
            release_connection()
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL_SECONDS)
        return lease

    @contextmanager
    def _kept(self, lease: UUID | None) -> Iterator[None]:
        if lease is None:
            yield
            return
        _keeper(self._seconds).add(lease)
        try:
            yield
        finally:
            _keeper(self._seconds).remove(lease)
            RangeLease.objects.filter(id=lease).delete()


# Whoever takes a lease of an upload holds its row until it has looked at the others.
_LOCK = """
    UPDATE store_upload SET written_at = statement_timestamp()
    WHERE backend = %(backend)s AND key = %(key)s
    RETURNING id
"""
# A statement of its own: it has to see what was committed while the row was waited for.
_INSERT = """
    WITH lapsed AS (
        DELETE FROM range_lease
        WHERE upload_id = %(upload)s AND expires_at <= statement_timestamp()
    )
    INSERT INTO range_lease (id, upload_id, start_bytes, end_bytes, expires_at)
    SELECT %(lease)s, %(upload)s, %(start)s, %(end)s,
        statement_timestamp() + make_interval(secs => %(seconds)s)
    WHERE NOT EXISTS (
        SELECT FROM range_lease
        WHERE upload_id = %(upload)s AND end_bytes > %(start)s AND start_bytes < %(end)s
            AND expires_at > statement_timestamp()
    )
"""


class _Keeper:
    """Renews the leases that this process holds, in a thread that ends when there are none."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._leases: set[UUID] = set()
        self._condition = threading.Condition()
        self._is_running = False

    def add(self, lease: UUID) -> None:
        with self._condition:
            self._leases.add(lease)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._renew, name="leases", daemon=True).start()

    def remove(self, lease: UUID) -> None:
        with self._condition:
            self._leases.discard(lease)
            self._condition.notify()

    def _renew(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: not self._leases, timeout=self._seconds / 3)
                if not self._leases:
                    self._is_running = False
                    return
                held = list(self._leases)
            try:
                self._prolong(held)
            except Exception:  # the database may be back before they run out
                logger.exception("Leases of uploads cannot be renewed")

    def _prolong(self, held: list[UUID]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_PROLONG, [self._seconds, held])
        connection.close()


_PROLONG = """
    UPDATE range_lease SET expires_at = statement_timestamp() + make_interval(secs => %s)
    WHERE id = ANY(%s)
"""


@cache
def _keeper(seconds: float) -> _Keeper:
    """Of this process, made at the first use: threads do not survive a fork."""
    return _Keeper(seconds)
