"""Keeping all stored bytes for a while: a backup copies what its snapshot of the rows names.

A file's row is marked before its bytes are removed, and the removal looks for holds first. So
whatever a snapshot that is taken under a hold calls stored has its bytes until the hold ends.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from uuid import UUID

from django.db import DatabaseError, connection
from django.db.models import Exists
from django.db.models.functions import Now

from uploads.models import BytesHold

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)
_RENEW_SECONDS = LEASE.total_seconds() / 5


@contextmanager
def hold_bytes(reason: str) -> Iterator[None]:
    """No stored bytes are removed inside the block; for five minutes more if it is killed."""
    BytesHold.objects.filter(expires_at__lt=Now()).delete()
    hold = BytesHold.objects.create(reason=reason, expires_at=Now() + LEASE)
    is_over = Event()
    renewing = Thread(target=_renew, args=(hold.id, is_over), name="hold", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        is_over.set()
        renewing.join()
        BytesHold.objects.filter(id=hold.id).delete()


def held() -> Exists:
    """The condition that somebody holds the bytes now."""
    return Exists(BytesHold.objects.filter(expires_at__gt=Now()))


def _renew(hold_id: UUID, is_over: Event) -> None:
    while not is_over.wait(_RENEW_SECONDS):
        try:
            BytesHold.objects.filter(id=hold_id).update(expires_at=Now() + LEASE)
        except DatabaseError:  # tried again long before the lease ends
            logger.exception("The hold on stored bytes cannot be renewed")
        finally:
            connection.close()
