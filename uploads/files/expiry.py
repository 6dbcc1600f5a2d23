"""How long files are kept."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

# Times count from the database's clock unless there is another start: the machines that upload and
# those that remove may have different clocks.


def first_expiry() -> Combinable:
    """The expiry of a file that is stored now."""
    return Now() + timedelta(hours=settings.FILE_UPLOAD_TTL_HOURS)


def latest_expiry(stored_at: datetime) -> datetime:
    """The furthest that a file's expiry can be extended to."""
    hours = max(settings.PORTAL_MAX_TTL_HOURS, settings.FILE_UPLOAD_TTL_HOURS)
    return stored_at + timedelta(hours=hours)


def expiry_notice_from() -> Combinable:
    """Files that expire before this are to be announced as expiring."""
    return Now() + timedelta(hours=settings.FILE_UPLOAD_EXPIRY_NOTIFY_HOURS)


def purge_after_consumption() -> Combinable:
    """When to remove the bytes of a file that is consumed now."""
    return Now() + timedelta(seconds=settings.PORTAL_CONSUME_GRACE_SECONDS)


def idle_before() -> Combinable:
    """Open sessions without activity since this are given up."""
    return Now() - timedelta(hours=settings.PORTAL_SESSION_TTL_HOURS)


def last_activity_of_used_pieces() -> Combinable:
    """Pieces that were put together to a file are given up an hour later, if nobody uses them."""
    return idle_before() + timedelta(hours=1)


def batch_idle_before() -> Combinable:
    """Open batches without activity since this are closed."""
    return Now() - timedelta(hours=settings.PORTAL_BATCH_IDLE_HOURS)


def tombstone_before() -> Combinable:
    """Records of files that are gone since are deleted."""
    return Now() - timedelta(days=settings.PORTAL_TOMBSTONE_DAYS)


def session_expiry(last_activity_at: datetime) -> datetime:
    return last_activity_at + timedelta(hours=settings.PORTAL_SESSION_TTL_HOURS)
