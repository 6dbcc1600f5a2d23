"""Uploads that a worker has to read through or check before they are stored: rows with a lease.

Celery messages can be lost, so a kick carries nothing: the rows say what is due, and the sweep
finds what a lost kick or a killed worker left.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from accounts.principals import PORTAL, Actor, ActorKind
from common.models import TimeStampedQuerySet
from uploads.models import UploadSession

LEASE = timedelta(seconds=120)

_senders: list[Callable[[], None]] = []


def install(sender: Callable[[], None]) -> None:
    """Set how workers are woken. Called at startup, so that services do not depend on Celery."""
    _senders[:] = [sender]


def kick() -> None:
    _senders[0]()


def put(session: UploadSession, *, actor: Actor) -> None:
    """Leave the rest of finalizing to a worker. Repeating it is harmless."""
    with transaction.atomic():
        open_sessions = UploadSession.objects.filter(id=session.id, status__in=UploadSession.OPEN)
        queued = open_sessions.filter(finalizing_at=None).change(
            finalizing_at=Now(),
            finalizing_until=None,
            finalizing_for=told_of(actor),
            last_activity_at=Now(),
        )
        if queued:
            transaction.on_commit(kick, robust=True)


def put_proven(session: UploadSession, *, actor: Actor, wait: timedelta) -> bool:
    """Leave the checks of a whole upload to a worker, after a while; whether it is open still.

    To be called in the transaction that says so in the file's state.
    """
    whole = UploadSession.objects.filter(
        id=session.id, status__in=UploadSession.OPEN, received_bytes=F("length_bytes")
    )
    queued = whole.change(
        finalizing_at=Now(),
        finalizing_until=Now() + wait,
        finalizing_for=told_of(actor),
        last_activity_at=Now(),
    )
    if queued and not wait:
        transaction.on_commit(kick, robust=True)
    return queued


def told_of(actor: Actor) -> dict[str, Any]:
    """As `actor_of` reads it."""
    return asdict(actor) | {"id": str(actor.id) if actor.id else None}


_TAKE = """
    UPDATE upload_session
    SET finalizing_until = statement_timestamp() + make_interval(secs => %s),
        last_activity_at = statement_timestamp()
    WHERE id = (
        SELECT id FROM upload_session
        WHERE finalizing_at IS NOT NULL AND status IN ('init', 'in_progress')
            AND (finalizing_until IS NULL OR finalizing_until <= statement_timestamp())
        ORDER BY finalizing_at LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
"""


def take() -> UUID | None:
    """The next upload to read, leased to the caller."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [LEASE.total_seconds()])
        row = cursor.fetchone()
    return row[0] if row else None


def prolong(session_id: UUID) -> bool:
    """Keep the lease for as long again. Returns whether the upload is still to be read."""
    return _queued(session_id).change(finalizing_until=Now() + LEASE, last_activity_at=Now())


def put_back(session_id: UUID, *, wait: timedelta = timedelta()) -> None:
    """Let it be taken again, after a while."""
    _queued(session_id).update(finalizing_until=Now() + wait)


def waited(session_id: UUID) -> timedelta | None:
    """How long an upload has been here, by the database's clock; None for one that has left."""
    since = ExpressionWrapper(Now() - F("finalizing_at"), output_field=DurationField())
    return _queued(session_id).annotate(since=since).values_list("since", flat=True).first()


def remove(session_id: UUID) -> None:
    """Its parts have to be sent again, and then it is finalized anew."""
    _queued(session_id).update(finalizing_at=None, finalizing_until=None, finalizing_for=None)


def actor_of(session: UploadSession) -> Actor:
    """Who asked for it."""
    told = session.finalizing_for
    if not told:
        return PORTAL
    return Actor(ActorKind(told["kind"]), UUID(told["id"]) if told["id"] else None, told["label"])


def _queued(session_id: UUID) -> TimeStampedQuerySet:
    return UploadSession.objects.filter(
        id=session_id, status__in=UploadSession.OPEN, finalizing_at__isnull=False
    )
