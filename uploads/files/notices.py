"""Tells owners by mail what guests have sent: once for what came together, not for each file.

What is still to be told stands in the grant's row, written in the transaction that stores a file.
A mail is due once nothing more has come for a while. It is sent before that is recorded: after a
crash in between it is sent twice instead of not at all.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Count, F, Max, Q, Sum
from django.db.models.functions import Coalesce, Least, Now
from django.template.loader import render_to_string

from uploads.models import IngestFile, UploadGrant

logger = logging.getLogger(__name__)

QUIET = timedelta(minutes=2)  # after the last file
LONGEST = timedelta(minutes=30)  # after the first, however many still come
LEASE = timedelta(minutes=10)  # to send a mail; then it is tried again
BATCH = 100
NAMED = 20  # files whose names are in the mail


@dataclass(frozen=True)
class News:
    """What came since the last mail."""

    count: int
    size_bytes: int
    until: datetime | None
    files: list[IngestFile]


def note_stored(grant_id: UUID) -> None:
    """In the transaction that stores a guest's file."""
    since = Coalesce(F("untold_since"), Now())
    UploadGrant.objects.filter(id=grant_id, mails_owner=True).update(
        untold_since=since, notice_due_at=Least(Now() + QUIET, since + LONGEST)
    )


def send_due() -> int:
    """Send the mails that are due. Returns how many grants were looked after."""
    due = UploadGrant.objects.filter(notice_due_at__lte=Now()).order_by("notice_due_at")
    return sum(_tell(grant) for grant in due.select_related("owner")[:BATCH])


def _tell(grant: UploadGrant) -> bool:
    with transaction.atomic():
        due = UploadGrant.objects.filter(id=grant.id, notice_due_at__lte=Now())
        if not due.change(notice_due_at=Now() + LEASE):
            return False
        grant = UploadGrant.objects.select_related("owner").get(id=grant.id)
    news = news_of(grant)
    if news.count and grant.owner.is_active and not _send(grant, news):
        return True
    leased = UploadGrant.objects.filter(id=grant.id, notice_due_at=grant.notice_due_at)
    told = Coalesce(news.until, F("told_until"))
    if not leased.change(notice_due_at=None, untold_since=None, told_until=told):
        # More has come meanwhile, which is due at its own time.
        UploadGrant.objects.filter(id=grant.id).update(told_until=told, untold_since=Now())
    return True


def news_of(grant: UploadGrant) -> News:
    """By when files were stored: a transaction is far shorter than the time of quiet."""
    files = IngestFile.objects.filter(grant=grant, stored_at__isnull=False, is_piece=False)
    if grant.told_until is not None:
        files = files.filter(stored_at__gt=grant.told_until)
    sums = files.aggregate(
        count=Count("id"), size_bytes=Sum("size_bytes", default=0), until=Max("stored_at")
    )
    return News(
        files=list(files.filter(~Q(status="deleted")).order_by("-stored_at")[:NAMED]), **sums
    )


def _send(grant: UploadGrant, news: News) -> bool:
    context = {
        "grant": grant,
        "news": news,
        "more": news.count - len(news.files),
        "public_url": settings.PUBLIC_URL,
    }
    subject = render_to_string("mail/guest_files_subject.txt", context)
    text = render_to_string("mail/guest_files.txt", context)
    try:
        EmailMessage(" ".join(subject.split()), text, to=[grant.owner.email]).send()
    except OSError:  # SMTP's errors are among them
        logger.exception("The owner of upload link %s was not told of files", grant.id)
        return False
    return True
