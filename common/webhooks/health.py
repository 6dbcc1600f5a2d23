"""Health of endpoints: counts failures in a row, notifies staff, and finally disables.

The state is in the endpoint's row, so that the next review sends a mail that could not be sent, and
pages show the warning in any case.
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


def count(*, succeeded: Collection[UUID], failures: Mapping[UUID, int]) -> None:
    """Record the outcome of a round of attempts, in its own transaction.

    `failures` counts, per endpoint, the failures since its last success in the round; `succeeded`
    are the endpoints with a success. Healthy endpoints cost no write.
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
    """Endpoints that have reached a share (0 to 1) of the limit for being disabled."""
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
    """Endpoints that staff should check: failing for long, or disabled because of that."""
    disabled = Q(is_active=False, disabled_reason__in=[DisabledReason.FAILING, DisabledReason.GONE])
    return WebhookEndpoint.objects.filter(_failing(0.5) | disabled).order_by("id")


def review() -> None:
    """Disable endpoints that failed for too long; notify staff of these and of failing ones."""
    failing = _failing(1)
    for endpoint_id in WebhookEndpoint.objects.filter(failing).values_list("id", flat=True):
        with suppress(NotFound):  # the endpoint was removed meanwhile
            endpoints.disable(
                endpoint_id=endpoint_id, reason=DisabledReason.FAILING, condition=failing
            )
    for endpoint in in_trouble():
        _notify_staff(endpoint)


def _notify_staff(endpoint: WebhookEndpoint) -> None:
    """Mail staff once for each state.

    The mail is sent before that is recorded: after a crash in between it is sent twice instead of
    not at all. If it reached nobody, the next review tries again.
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
    """Whether the mail was sent. An error for one recipient must not stop the others."""
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
