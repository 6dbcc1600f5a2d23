"""Health of endpoints: failures in a row are counted, staff are told, and at last it is disabled.

The row alone says which state was reached, so a mail that could not be sent is sent by the next
review, and the pages warn in any case.
"""

import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now
from django.template.loader import render_to_string

from common.errors import NotFound
from common.models import DisabledReason, HealthNotice, WebhookAttempt, WebhookEndpoint
from common.webhooks import endpoints

logger = logging.getLogger(__name__)

# A burst of failures within minutes is an outage of the receiver, not its end.
NOT_BEFORE = timedelta(hours=1)


def note(*, succeeded: Collection[UUID], failures: Mapping[UUID, int]) -> None:
    """Count what a round of attempts showed, in a transaction of its own.

    `failures` are those in a row since the endpoint's last success of the round, if it had one;
    `succeeded` are the endpoints that had one. Endpoints that are well cost no write.
    """
    ailing = WebhookEndpoint.objects.filter(id__in=succeeded, consecutive_failures__gt=0)
    recovered = set(ailing.values_list("id", flat=True))
    if not recovered and not failures:
        return
    with transaction.atomic():
        for endpoint_id in sorted(recovered | set(failures)):  # in one order: no deadlock
            row = WebhookEndpoint.objects.filter(id=endpoint_id)
            if endpoint_id in recovered:
                row.update(consecutive_failures=0, failing_since=None, notice=HealthNotice.NONE)
            if failed := failures.get(endpoint_id):
                row.update(
                    consecutive_failures=F("consecutive_failures") + failed,
                    failing_since=Coalesce("failing_since", Now()),
                )


def _failing(share: float) -> Q:
    """Endpoints that went a share of the way to being disabled."""
    failing = Q(pk__in=[])
    if settings.PORTAL_WEBHOOK_DISABLE_AFTER_FAILURES:
        failing |= Q(
            consecutive_failures__gte=settings.PORTAL_WEBHOOK_DISABLE_AFTER_FAILURES * share,
            failing_since__lte=Now() - NOT_BEFORE * share,
        )
    if settings.PORTAL_WEBHOOK_DISABLE_AFTER_HOURS:
        hours = timedelta(hours=settings.PORTAL_WEBHOOK_DISABLE_AFTER_HOURS)
        failing |= Q(failing_since__lte=Now() - hours * share)
    return failing & Q(is_active=True, expires_at__isnull=True)


def in_trouble() -> QuerySet[WebhookEndpoint]:
    """Endpoints that staff should look at: failing since long, or disabled for it."""
    disabled = Q(is_active=False, disabled_reason__in=[DisabledReason.FAILING, DisabledReason.GONE])
    return WebhookEndpoint.objects.filter(_failing(0.5) | disabled).order_by("id")


def review() -> None:
    """Disable what failed for too long, and tell staff of it and of what is half-way there."""
    failing = _failing(1)
    for endpoint_id in WebhookEndpoint.objects.filter(failing).values_list("id", flat=True):
        with suppress(NotFound):  # it was removed meanwhile
            endpoints.disable(endpoint_id=endpoint_id, reason=DisabledReason.FAILING, still=failing)
    for endpoint in in_trouble():
        _notify_staff(endpoint)


def _notify_staff(endpoint: WebhookEndpoint) -> None:
    """Mail staff once for each state.

    The mail is sent before that is noted: a crash in between sends it twice, which is better than
    never. When nobody could be reached, the next review tries again.
    """
    notice = HealthNotice.WARNED if endpoint.is_active else HealthNotice.DISABLED
    if endpoint.notice == notice:
        return
    context = {
        "endpoint": endpoint,
        # In one line, as a subject must be, and without the URL's path, which may be a secret.
        "name": " ".join(endpoint.description.split()) or endpoint.host,
        "is_disabled": not endpoint.is_active,
        "last_error": _last_error(endpoint),
        "settings": settings,
    }
    subject = render_to_string("mail/webhook_health_subject.txt", context).strip()
    text = render_to_string("mail/webhook_health.txt", context)
    staff = _staff()
    reached = [email for email in staff if _send(EmailMessage(subject, text, to=[email]))]
    if reached or not staff:
        WebhookEndpoint.objects.filter(id=endpoint.id, is_active=endpoint.is_active).update(
            notice=notice
        )


def _send(message: EmailMessage) -> bool:
    """Whether a mail went out. One mailbox that refuses must not keep the others from theirs."""
    try:
        message.send()
    except OSError:  # SMTP's errors are among them
        logger.exception("%s was not told of a webhook in trouble", message.to[0])
        return False
    return True


def _last_error(endpoint: WebhookEndpoint) -> str:
    latest = WebhookAttempt.objects.filter(endpoint=endpoint).order_by("-id").first()
    return latest.error if latest else ""


def _staff() -> list[str]:
    users = get_user_model()._default_manager.filter(is_staff=True, is_active=True)
    return list(users.order_by("pk").values_list("email", flat=True))
