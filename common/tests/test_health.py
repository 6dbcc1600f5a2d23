"""Health of endpoints: counting, warning staff, and disabling at last."""

from datetime import timedelta
from functools import partial
from smtplib import SMTPServerDisconnected

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import transaction
from django.utils import timezone

from common.ids import uuid7
from common.models import DeliveryStatus, DisabledReason, HealthNotice, OutboxEvent, WebhookEndpoint
from common.tests.factories import make_attempt, make_delivery, make_endpoint
from common.tests.threads import at_once, blocked_by_us
from common.webhooks import endpoints, health

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent_kicks")]


@pytest.fixture(autouse=True)
def limits(settings):
    settings.PORTAL_WEBHOOK_DISABLE_AFTER_FAILURES = 10
    settings.PORTAL_WEBHOOK_DISABLE_AFTER_HOURS = 120
    return settings


@pytest.fixture(autouse=True)
def staff():
    return get_user_model().objects.create_user("staff@example.org", "pw", is_staff=True)


def make_failing(*, failures=1, hours=0.0, **fields):
    """An endpoint whose last so many attempts failed, the first of them so long ago."""
    return make_endpoint(
        consecutive_failures=failures,
        failing_since=timezone.now() - timedelta(hours=hours, seconds=1),
        **fields,
    )


def fresh(endpoint):
    return WebhookEndpoint.objects.get(id=endpoint.id)


# --- Counting --------------------------------------------------------------------------------


def test_failures_in_a_row_are_counted_from_the_first():
    endpoint = make_endpoint()

    health.count(succeeded=[], failures={endpoint.id: 2})
    since = fresh(endpoint).failing_since
    health.count(succeeded=[], failures={endpoint.id: 3})

    counted = fresh(endpoint)
    assert (counted.consecutive_failures, counted.failing_since) == (5, since)
    assert timezone.now() - since < timedelta(minutes=1)


def test_a_success_resets_everything():
    endpoint = make_failing(failures=7, hours=70, notice=HealthNotice.WARNED)

    health.count(succeeded=[endpoint.id], failures={})

    well = fresh(endpoint)
    assert (well.consecutive_failures, well.failing_since, well.notice) == (0, None, "")


def test_failures_after_a_success_count_from_there():
    endpoint = make_failing(failures=7, hours=70)

    health.count(succeeded=[endpoint.id], failures={endpoint.id: 2})

    assert fresh(endpoint).consecutive_failures == 2
    assert timezone.now() - fresh(endpoint).failing_since < timedelta(minutes=1)


def test_an_endpoint_that_is_well_costs_no_write():
    endpoint = make_endpoint()

    health.count(succeeded=[endpoint.id], failures={})

    assert fresh(endpoint).updated_at == endpoint.updated_at


def test_other_endpoints_are_not_touched():
    endpoint, other = make_failing(), make_failing()

    health.count(succeeded=[endpoint.id], failures={uuid7(): 3})

    assert fresh(other).consecutive_failures == 1


@pytest.mark.django_db(transaction=True)
def test_rounds_at_the_same_time_count_every_failure():
    both = [make_endpoint(), make_endpoint()]
    failures = {endpoint.id: 1 for endpoint in both}
    turned = dict(reversed(failures.items()))

    at_once([partial(health.count, succeeded=[], failures=each) for each in [failures, turned] * 4])

    assert [fresh(endpoint).consecutive_failures for endpoint in both] == [8, 8]


# --- Disabling -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "hours", "is_disabled"),
    [
        (9, 2, False),
        (10, 2, True),
        (10_000, 2, True),
        (10_000, 0.9, False),  # an outage, not the end
        (10, 1, True),
        (1, 119.9, False),
        (1, 120, True),
        (9, 121, True),
    ],
)
def test_an_endpoint_that_failed_for_too_long_is_disabled(failures, hours, is_disabled):
    endpoint = make_failing(failures=failures, hours=hours)

    health.review()

    reviewed = fresh(endpoint)
    assert reviewed.is_active is not is_disabled
    assert reviewed.disabled_reason == (DisabledReason.FAILING if is_disabled else "")


@pytest.mark.django_db(transaction=True)
def test_an_endpoint_that_is_well_again_by_then_is_not_disabled():
    endpoint = make_failing(failures=10, hours=1)

    with transaction.atomic():
        health.count(succeeded=[endpoint.id], failures={})
        reviewing = blocked_by_us(health.review)
    reviewing.result(timeout=20)

    assert fresh(endpoint).is_active


def test_disabling_fails_what_waits_and_tells_the_other_endpoints():
    endpoint, other = make_failing(failures=10, hours=2), make_endpoint()
    waiting = make_delivery(endpoint=endpoint)

    health.review()
    health.review()

    waiting.refresh_from_db()
    assert waiting.status == DeliveryStatus.FAILED
    event = OutboxEvent.objects.get(event_type="webhook.disabled")
    assert [delivery.endpoint for delivery in event.deliveries.all()] == [other]
    assert event.payload["webhook"]["reason"] == "failing"
    assert event.payload["webhook"]["consecutive_failures"] == 10


@pytest.mark.parametrize(
    ("rule", "failures", "hours"),
    [
        ("PORTAL_WEBHOOK_DISABLE_AFTER_FAILURES", 10_000, 119),
        ("PORTAL_WEBHOOK_DISABLE_AFTER_HOURS", 9, 10_000),
    ],
)
def test_a_rule_is_switched_off_by_0_and_the_other_stays(limits, rule, failures, hours):
    other = {
        "PORTAL_WEBHOOK_DISABLE_AFTER_FAILURES": {"failures": 1, "hours": 120},
        "PORTAL_WEBHOOK_DISABLE_AFTER_HOURS": {"failures": 10, "hours": 1},
    }[rule]
    setattr(limits, rule, 0)
    spared, disabled = make_failing(failures=failures, hours=hours), make_failing(**other)

    health.review()

    assert fresh(spared).is_active
    assert not fresh(disabled).is_active


def test_with_both_rules_off_nothing_is_disabled_and_nobody_told(limits):
    limits.PORTAL_WEBHOOK_DISABLE_AFTER_FAILURES = limits.PORTAL_WEBHOOK_DISABLE_AFTER_HOURS = 0
    endpoint = make_failing(failures=10_000, hours=10_000)

    health.review()

    assert fresh(endpoint).is_active
    assert mail.outbox == []
    assert not health.in_trouble().exists()


def test_a_temporary_endpoint_is_its_listeners_business():
    endpoint = make_failing(
        failures=10_000, hours=10_000, expires_at=timezone.now() + timedelta(minutes=1)
    )

    health.review()

    assert fresh(endpoint).is_active
    assert mail.outbox == []


# --- Telling ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "hours", "is_told"),
    [(4, 1, False), (5, 1, True), (5, 0.4, False), (5, 0.5, True), (1, 59, False), (1, 60, True)],
)
def test_staff_are_warned_at_half(failures, hours, is_told):
    endpoint = make_failing(failures=failures, hours=hours, description="the runner")

    health.review()

    assert fresh(endpoint).is_active
    assert [message.to for message in mail.outbox] == [["staff@example.org"]] * is_told
    assert list(health.in_trouble()) == [endpoint] * is_told


def test_staff_are_warned_once_and_told_once_when_it_is_disabled():
    endpoint = make_failing(failures=5, hours=2)

    for _ in range(3):
        health.review()
    assert [message.subject for message in mail.outbox] == ["Webhook is failing: 127.0.0.1:9"]
    health.count(succeeded=[], failures={endpoint.id: 5})
    for _ in range(3):
        health.review()

    assert [message.subject for message in mail.outbox][1:] == ["Webhook disabled: 127.0.0.1:9"]
    assert fresh(endpoint).notice == HealthNotice.DISABLED


def test_staff_are_warned_again_after_it_was_well():
    endpoint = make_failing(failures=5, hours=2)
    health.review()
    health.count(succeeded=[endpoint.id], failures={})
    WebhookEndpoint.objects.update(
        consecutive_failures=5, failing_since=timezone.now() - timedelta(hours=2)
    )

    health.review()

    assert len(mail.outbox) == 2


def test_staff_are_told_of_an_endpoint_that_answered_410():
    endpoint = make_endpoint()
    endpoints.disable(endpoint_id=endpoint.id, reason=DisabledReason.GONE)

    health.review()

    (message,) = mail.outbox
    assert "410 Gone" in message.body
    assert list(health.in_trouble()) == [endpoint]


def test_what_was_disabled_by_hand_troubles_nobody():
    endpoints.disable(endpoint_id=make_failing(failures=5, hours=2).id)

    health.review()

    assert mail.outbox == []
    assert not health.in_trouble().exists()


def test_an_endpoint_that_is_enabled_again_is_no_longer_in_trouble():
    endpoint = make_failing(failures=10, hours=2)
    health.review()

    endpoints.enable(endpoint_id=endpoint.id)

    assert not health.in_trouble().exists()


def test_only_active_staff_are_told(staff):
    users = get_user_model().objects
    users.create_user("person@example.org", "pw")
    users.create_user("gone@example.org", "pw", is_staff=True, is_active=False)
    users.create_superuser("root@example.org", "pw")
    make_failing(failures=5, hours=2)

    health.review()

    assert [message.to for message in mail.outbox] == [["staff@example.org"], ["root@example.org"]]


def test_a_warning_says_what_fails_since_when_why_and_where_to_look(settings):
    settings.PUBLIC_URL = "https://portal.example.org"
    endpoint = make_failing(
        failures=5,
        hours=2,
        description="Runner <1>\nBcc: all@example.org",
        url="https://runner.example.org/secret-path?key=hidden",
    )
    make_attempt(delivery=make_delivery(endpoint=endpoint), error="older")
    make_attempt(delivery=make_delivery(endpoint=endpoint), error="The receiver's answer was 500.")

    health.review()

    (message,) = mail.outbox
    assert message.subject == "Webhook is failing: Runner <1> Bcc: all@example.org"
    assert "Receiver: runner.example.org" in message.body
    assert f"Failing since: {endpoint.failing_since:%Y-%m-%d %H:%M} UTC" in message.body
    assert "Failed attempts in a row: 5" in message.body
    assert "Last error: The receiver's answer was 500." in message.body
    assert f"https://portal.example.org/app/webhooks/{endpoint.id}/" in message.body
    assert "will be disabled" in message.body
    assert "secret-path" not in message.body
    assert "hidden" not in message.body


def test_the_mail_of_a_disabled_endpoint_says_what_to_do():
    make_failing(failures=10, hours=2)

    health.review()

    (message,) = mail.outbox
    assert "has been disabled" in message.body
    assert f"kept for {django_settings.OUTBOX_RETENTION_HOURS} hours" in message.body


class FailingFor(EmailBackend):
    """A mail server that refuses some recipients."""

    refused: set[str] = set()

    def send_messages(self, messages):
        if any(self.refused & set(message.to) for message in messages):
            raise SMTPServerDisconnected("gone")
        return super().send_messages(messages)


def test_a_mail_that_could_not_be_sent_is_sent_by_the_next_review(settings, monkeypatch, caplog):
    settings.EMAIL_BACKEND = f"{__name__}.FailingFor"
    monkeypatch.setattr(FailingFor, "refused", {"staff@example.org"})
    endpoint = make_failing(failures=10, hours=2)

    health.review()
    assert "was not told" in caplog.text
    assert not fresh(endpoint).is_active
    assert fresh(endpoint).notice == ""
    monkeypatch.setattr(FailingFor, "refused", set())
    health.review()
    health.review()

    assert [message.to for message in mail.outbox] == [["staff@example.org"]]
    assert fresh(endpoint).notice == HealthNotice.DISABLED
