"""Writes the audit trail: who did what to endpoints, workflows, tokens, accounts, grants, files.

Services call `record` in the transaction of the change. Who acts is known from what is under way:
a request (`accounts.middleware.ActingMiddleware`) or a command; else it is the portal itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from common.db import database_now
from common.ids import first_id
from common.models import AuditEntry


@dataclass(frozen=True)
class Acting:
    """Who acts, and from which client address; `kind` is as in events' actors."""

    kind: str
    id: UUID | None
    label: str
    address: str = ""


_PORTAL = Acting("system", None, "the portal")
_acting: ContextVar[Callable[[], Acting]] = ContextVar("acting", default=lambda: _PORTAL)


@contextmanager
def acting(who: Callable[[], Acting]) -> Iterator[None]:
    """While it lasts, `who` tells who acts; it is asked when there is something to record."""
    token = _acting.set(who)
    try:
        yield
    finally:
        _acting.reset(token)


def record(action: str, *, subject: str, subject_id: object, label: str = "") -> None:
    """Tell of an act, such as `token.created`. `label` is for people, and holds no secret."""
    who = _acting.get()()
    AuditEntry.objects.create(
        actor_kind=who.kind,
        actor_id=who.id,
        actor_label=who.label,
        address=who.address,
        action=action,
        subject_type=subject,
        subject_id=str(subject_id),
        subject_label=label[:255],
    )


def purge(limit: int) -> int:
    """Delete up to `limit` entries that are older than PORTAL_AUDIT_DAYS. Returns how many."""
    before = database_now() - timedelta(days=settings.PORTAL_AUDIT_DAYS)
    old = AuditEntry.objects.filter(id__lt=first_id(before))
    with transaction.atomic():
        _let_purge("on")
        ids = list(old.order_by("id").values_list("id", flat=True)[:limit])
        AuditEntry.objects.filter(id__in=ids).delete()
        _let_purge("off")
    return len(ids)


def _let_purge(switch: str) -> None:
    """Whether the trigger on the table lets rows go, in this transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('doorito.purges_audit', %s, true)", [switch])
