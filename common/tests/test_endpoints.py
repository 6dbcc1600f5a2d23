"""Webhook endpoints: what can be chosen, their secrets, on and off, and their end."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.utils import timezone

from common.errors import DooritoError, InvalidInput, NotFound
from common.ids import uuid7
from common.models import (
    DeliveryStatus,
    DisabledReason,
    OutboxEvent,
    RetiredSecret,
    WebhookDelivery,
    WebhookEndpoint,
)
from common.outbox import events as outbox
from common.tests.factories import chosen_of, make_delivery, make_endpoint, make_event
from common.tests.threads import at_once, blocked_by_us
from common.webhooks import dispatch, endpoints
from common.webhooks.endpoint_settings import EndpointSettings

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:8000/hook"
ALL = EndpointSettings(
    url=URL,
    description="the runner",
    event_types=["file.uploaded", "batch.*"],
    content_types=["application/pdf", "image/*"],
    user_id=uuid7(),
    batch_id=uuid7(),
    headers={"Authorization": "Bearer of-the-runner"},
    retry_schedule=[0, 10, 600],
    timeout_seconds=5,
)


def add(**chosen):
    return endpoints.add_endpoint(EndpointSettings(**{"url": URL} | chosen))


def test_what_cannot_work_is_neither_added_nor_changed():
    """What that is: `test_endpoint_settings.py`."""
    existing = make_endpoint()
    attempted = EndpointSettings(url=URL, timeout_seconds=0)

    for call in (
        partial(endpoints.add_endpoint, attempted),
        partial(endpoints.change_endpoint, endpoint_id=existing.id, chosen=attempted),
        partial(endpoints.change_some, endpoint_id=existing.id, changes={"timeout_seconds": 0}),
    ):
        with pytest.raises(InvalidInput) as refused:
            call()
        assert refused.value.code == "webhook_timeout_invalid"

    assert chosen_of(WebhookEndpoint.objects.get()) == chosen_of(existing)


# --- What can be chosen ----------------------------------------------------------------------


def test_an_endpoint_is_added_with_a_secret_of_its_own():
    one, other = add(), add()

    assert one.secret.startswith("whsec_")
    assert one.secret != other.secret
    assert one.is_active
    assert (one.event_types, one.headers, one.retry_schedule) == ((), {}, None)


def test_everything_that_was_chosen_is_kept_and_who_chose_it():
    user = get_user_model().objects.create_user("staff@example.org", "pw")
    lifetime = timedelta(minutes=2)

    endpoints.add_endpoint(ALL, user=user, lifetime=lifetime)

    endpoint = WebhookEndpoint.objects.get()
    assert chosen_of(endpoint) == ALL
    assert endpoint.created_by == user
    assert timedelta() < endpoint.expires_at - timezone.now() < lifetime


def test_a_change_replaces_what_was_chosen_and_nothing_else():
    before = make_endpoint(is_active=False, disabled_reason=DisabledReason.FAILING)

    changed = endpoints.change_endpoint(endpoint_id=before.id, chosen=ALL)

    assert chosen_of(changed) == ALL
    assert (changed.secret, changed.is_active) == (before.secret, False)
    assert changed.disabled_reason == DisabledReason.FAILING


def test_secrets_and_headers_are_not_readable_in_the_database():
    endpoint = endpoints.add_endpoint(ALL)

    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM webhook_endpoint")
        row = str(cursor.fetchone())
    assert "the runner" in row
    assert endpoint.secret not in row
    assert "of-the-runner" not in row


# --- Secrets ---------------------------------------------------------------------------------


def signing(endpoint):
    """The secrets that sign for it, the newest first."""
    retired = endpoint.retired_secrets.filter(expires_at__gt=timezone.now()).order_by("-id")
    current = WebhookEndpoint.objects.get(id=endpoint.id).secret
    return [current, *(each.secret for each in retired)]


def test_a_rotated_secret_signs_on_for_the_overlap(settings):
    settings.PORTAL_WEBHOOK_SECRET_OVERLAP_HOURS = 5
    endpoint = make_endpoint()

    rotated = endpoints.rotate_secret(endpoint_id=endpoint.id)

    assert rotated.secret.startswith("whsec_")
    assert signing(endpoint) == [rotated.secret, endpoint.secret]
    remaining = RetiredSecret.objects.get().expires_at - timezone.now()
    assert timedelta(hours=4, minutes=59) < remaining <= timedelta(hours=5)


def test_rotating_again_within_the_overlap_keeps_all_of_them():
    endpoint = make_endpoint()

    known = [endpoint.secret]
    for _ in range(3):
        known.insert(0, endpoints.rotate_secret(endpoint_id=endpoint.id).secret)

    assert signing(endpoint) == known
    assert len(set(known)) == 4


@pytest.mark.django_db(transaction=True)
def test_eight_rotations_at_once_keep_every_secret_that_was_shown():
    endpoint = make_endpoint()

    rotated = at_once([partial(endpoints.rotate_secret, endpoint_id=endpoint.id)] * 8)

    assert set(signing(endpoint)) == {endpoint.secret, *(each.secret for each in rotated)}


def test_without_an_overlap_the_old_secret_ends_at_once(settings):
    settings.PORTAL_WEBHOOK_SECRET_OVERLAP_HOURS = 0
    endpoint = make_endpoint()

    rotated = endpoints.rotate_secret(endpoint_id=endpoint.id)

    assert signing(endpoint) == [rotated.secret]


def test_the_overlap_can_be_ended_now_for_one_endpoint():
    endpoint, other = make_endpoint(), make_endpoint()
    for each in (endpoint, endpoint, other):
        endpoints.rotate_secret(endpoint_id=each.id)

    assert endpoints.revoke_old_secrets(endpoint_id=endpoint.id) == 2
    assert endpoints.revoke_old_secrets(endpoint_id=endpoint.id) == 0

    assert len(signing(endpoint)) == 1
    assert len(signing(other)) == 2


def test_a_replaced_secret_signs_alone_at_once():
    endpoint = make_endpoint()
    endpoints.rotate_secret(endpoint_id=endpoint.id)

    replaced = endpoints.replace_secret(endpoint_id=endpoint.id)

    assert replaced.secret != endpoint.secret
    assert signing(endpoint) == [replaced.secret]


def test_an_unreadable_secret_cannot_be_rotated_but_replaced(settings):
    endpoint = make_endpoint()
    settings.SECRET_KEY = "another"

    with pytest.raises(DooritoError) as refused:
        endpoints.rotate_secret(endpoint_id=endpoint.id)
    replaced = endpoints.replace_secret(endpoint_id=endpoint.id)

    assert refused.value.code == "secret_unreadable"
    assert signing(endpoint) == [replaced.secret]


def test_secrets_whose_overlap_is_over_are_forgotten(settings):
    endpoint = make_endpoint()
    endpoints.rotate_secret(endpoint_id=endpoint.id)
    settings.PORTAL_WEBHOOK_SECRET_OVERLAP_HOURS = 0
    middle = endpoints.rotate_secret(endpoint_id=endpoint.id)

    endpoints.purge_secrets()

    assert RetiredSecret.objects.count() == 1
    assert signing(endpoint) == [middle.secret, endpoint.secret]


# --- On and off ------------------------------------------------------------------------------


def test_endpoints_are_listed_newest_first():
    made = [make_endpoint() for _ in range(3)]

    assert list(endpoints.list_endpoints()) == made[::-1]


def test_disabling_fails_what_waits_and_leaves_what_is_being_sent(monkeypatch):
    monkeypatch.setattr(endpoints, "BATCH", 2)
    endpoint = make_endpoint()
    waiting = [make_delivery(endpoint=endpoint) for _ in range(5)]
    sending = make_delivery(endpoint=endpoint, status=DeliveryStatus.SENDING, lease_id=uuid7())
    other = make_delivery()

    endpoints.disable(endpoint_id=endpoint.id)

    statuses = dict(WebhookDelivery.objects.values_list("id", "status"))
    assert {statuses[delivery.id] for delivery in waiting} == {"failed"}
    assert statuses[sending.id] == "sending"
    assert statuses[other.id] == "pending"
    assert OutboxEvent.objects.get(id=waiting[0].event_id).status == "failed"


def test_disabling_notes_when_and_why_and_tells_the_others_once(monkeypatch):
    endpoint, other = make_endpoint(url="http://127.0.0.1:9/secret-path"), make_endpoint()
    make_endpoint(event_types=["file.*"])

    endpoints.disable(endpoint_id=endpoint.id, reason=DisabledReason.GONE)
    endpoints.disable(endpoint_id=endpoint.id, reason=DisabledReason.MANUAL)

    disabled = WebhookEndpoint.objects.get(id=endpoint.id)
    assert (disabled.is_active, disabled.disabled_reason) == (False, DisabledReason.GONE)
    event = OutboxEvent.objects.get()
    assert [delivery.endpoint for delivery in event.deliveries.all()] == [other]
    told = event.payload["webhook"]
    assert (told["id"], told["reason"], told["host"]) == (str(endpoint.id), "gone", "127.0.0.1:9")
    assert "secret-path" not in str(event.payload)
    assert (event.event_type, event.aggregate_id) == ("webhook.disabled", endpoint.id)


@pytest.mark.django_db(transaction=True)
def test_eight_that_disable_an_endpoint_at_once_tell_it_once(sent_kicks):
    endpoint, other = make_endpoint(), make_endpoint()
    waiting = [make_delivery(endpoint=endpoint) for _ in range(10)]

    at_once([partial(endpoints.disable, endpoint_id=endpoint.id)] * 8)

    assert OutboxEvent.objects.filter(event_type="webhook.disabled").count() == 1
    assert WebhookDelivery.objects.filter(endpoint=other).count() == 1
    failed = WebhookDelivery.objects.filter(endpoint=endpoint, status=DeliveryStatus.FAILED)
    assert failed.count() == len(waiting)


def test_disabling_again_after_enabling_is_another_fact():
    endpoint = make_endpoint()
    make_endpoint()

    for _ in range(2):
        endpoints.disable(endpoint_id=endpoint.id)
        endpoints.enable(endpoint_id=endpoint.id)

    assert OutboxEvent.objects.filter(event_type="webhook.disabled").count() == 2


def test_enabling_starts_with_a_clean_record():
    now = timezone.now()
    endpoint = make_endpoint(
        is_active=False,
        disabled_reason=DisabledReason.FAILING,
        disabled_at=now,
        consecutive_failures=1000,
        failing_since=now,
        notice="disabled",
    )

    endpoints.enable(endpoint_id=endpoint.id)

    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.disabled_reason, endpoint.notice) == (True, "", "")
    assert (endpoint.disabled_at, endpoint.failing_since) == (None, None)
    assert endpoint.consecutive_failures == 0


def test_an_enabled_endpoint_gets_new_events_again():
    endpoint = make_endpoint()
    endpoints.disable(endpoint_id=endpoint.id)
    assert not make_event().deliveries.exists()

    endpoints.enable(endpoint_id=endpoint.id)

    assert make_event().deliveries.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sent_kicks")
def test_what_waits_for_an_endpoint_that_was_enabled_again_is_not_failed_by_disabling_it():
    """Disabling fails what waits in transactions of its own, after the endpoint is off."""
    delivery = make_delivery()
    endpoint_id = delivery.endpoint_id

    with transaction.atomic():
        outbox.lock([delivery.event_id])
        disabling = blocked_by_us(partial(endpoints.disable, endpoint_id=endpoint_id))
        assert not WebhookEndpoint.objects.get(id=endpoint_id).is_active
        endpoints.enable(endpoint_id=endpoint_id)
    disabling.result(timeout=20)

    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.PENDING


def test_removing_takes_the_deliveries_along_and_ends_their_events(monkeypatch):
    monkeypatch.setattr(endpoints, "BATCH", 2)
    endpoint, other = make_endpoint(), make_endpoint()
    events = [make_event() for _ in range(5)]
    alone = make_delivery(endpoint=endpoint, due_at=timezone.now() + timedelta(hours=1))

    endpoints.remove_endpoint(endpoint_id=endpoint.id)

    assert list(WebhookEndpoint.objects.all()) == [other]
    assert {delivery.endpoint for delivery in WebhookDelivery.objects.all()} == {other}
    assert {OutboxEvent.objects.get(id=event.id).status for event in events} == {"pending"}
    assert OutboxEvent.objects.get(id=alone.event_id).status == "delivered"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", [endpoints.disable, endpoints.remove_endpoint])
@pytest.mark.usefixtures("sent_kicks")
def test_dispatchers_and_the_endpoints_end_do_not_lock_each_other_out(end):
    """A claim gives up what waits for a disabled endpoint: it locks deliveries, then events."""
    for _ in range(5):
        endpoint = make_endpoint(is_active=False)
        waiting = [make_delivery(endpoint=endpoint) for _ in range(60)]

        at_once([dispatch.run] * 3 + [partial(end, endpoint_id=endpoint.id)])

        dispatch.run()  # what each left to another in the crowd
        ids = [delivery.event_id for delivery in waiting]
        statuses = OutboxEvent.objects.filter(id__in=ids).values_list("status", flat=True)
        assert set(statuses) <= {"failed", "delivered"}


# --- Temporary endpoints ---------------------------------------------------------------------


def test_a_temporary_endpoint_lives_as_long_as_it_is_kept_alive():
    now = timezone.now()
    kept, left, lasting = (
        make_endpoint(expires_at=now - timedelta(seconds=1)),
        make_endpoint(expires_at=now - timedelta(seconds=1)),
        make_endpoint(),
    )
    make_delivery(endpoint=left)

    endpoints.keep_alive(endpoint_id=kept.id, lifetime=timedelta(minutes=1))
    endpoints.remove_expired()

    assert set(WebhookEndpoint.objects.all()) == {kept, lasting}
    assert not WebhookDelivery.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_temporary_endpoint_that_comes_back_at_its_end_is_not_removed():
    endpoint = make_endpoint(expires_at=timezone.now() - timedelta(seconds=1))

    with transaction.atomic():
        endpoints.keep_alive(endpoint_id=endpoint.id, lifetime=timedelta(minutes=1))
        removing = blocked_by_us(endpoints.remove_expired)
    removing.result(timeout=20)

    assert WebhookEndpoint.objects.get(id=endpoint.id).is_active


def test_an_endpoint_that_lasts_cannot_be_given_an_end():
    endpoint = make_endpoint()

    with pytest.raises(NotFound):
        endpoints.keep_alive(endpoint_id=endpoint.id, lifetime=timedelta(minutes=1))

    assert WebhookEndpoint.objects.get().expires_at is None


def test_a_temporary_endpoint_comes_and_goes_in_silence():
    make_endpoint()
    endpoint = make_endpoint(expires_at=timezone.now() + timedelta(minutes=1))

    endpoints.disable(endpoint_id=endpoint.id)

    assert not OutboxEvent.objects.exists()


UNKNOWN: dict[str, Callable[..., object]] = {
    "get": endpoints.get,
    "change": partial(endpoints.change_endpoint, chosen=EndpointSettings(url=URL)),
    "rotate": endpoints.rotate_secret,
    "replace": endpoints.replace_secret,
    "revoke": endpoints.revoke_old_secrets,
    "enable": endpoints.enable,
    "disable": endpoints.disable,
    "remove": endpoints.remove_endpoint,
    "keep_alive": partial(endpoints.keep_alive, lifetime=timedelta(minutes=1)),
}


@pytest.mark.parametrize("action", UNKNOWN)
def test_an_unknown_endpoint_is_not_found(action):
    with pytest.raises(NotFound) as missing:
        UNKNOWN[action](endpoint_id=uuid7())
    assert missing.value.code == "webhook_not_found"
