"""How long files are kept."""

from datetime import datetime, timedelta

from django.conf import settings


def first_expiry(stored_at: datetime) -> datetime:
    return stored_at + timedelta(hours=settings.FILE_UPLOAD_TTL_HOURS)


def latest_expiry(stored_at: datetime) -> datetime:
    """The furthest that a file's expiry can be extended to."""
    hours = max(settings.PORTAL_MAX_TTL_HOURS, settings.FILE_UPLOAD_TTL_HOURS)
    return stored_at + timedelta(hours=hours)


def expiry_notice_from(now: datetime) -> datetime:
    """Files that expire before this are to be announced as expiring."""
    return now + timedelta(hours=settings.FILE_UPLOAD_EXPIRY_NOTIFY_HOURS)


def purge_after_consumption(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.PORTAL_CONSUME_GRACE_SECONDS)


def idle_before(now: datetime) -> datetime:
    """Open sessions without activity since this are given up."""
    return now - timedelta(hours=settings.PORTAL_SESSION_TTL_HOURS)


def batch_idle_before(now: datetime) -> datetime:
    """Open batches without activity since this are closed."""
    return now - timedelta(hours=settings.PORTAL_BATCH_IDLE_HOURS)


def session_expiry(last_activity_at: datetime) -> datetime:
    return last_activity_at + timedelta(hours=settings.PORTAL_SESSION_TTL_HOURS)
