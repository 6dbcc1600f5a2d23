"""Faults of one thing that must not be paid for by others."""

import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import OperationalError
from django.utils import timezone

from common import tasks
from common.models import DeliveryStatus, OutboxEvent, WebhookDelivery, WebhookEndpoint
from common.net import ssrf
from common.outbox import kicks
from common.tests.factories import make_delivery, make_endpoint, make_event
from common.tests.receiver import Answer, Receiver
from common.webhooks import dispatch, endpoints, health, results

pytestmark = [pytest.mark.django_db(transaction=True)]


def set_payload(delivery, **metadata):
    OutboxEvent.objects.filter(id=delivery.event_id).update(payload={"metadata": metadata})


# --- What an event says ---------------------------------------------------------------------------


def test_an_event_with_a_huge_number_holds_up_no_other(sent_kicks):
    with Receiver() as receiver:
        endpoint = make_endpoint(url=receiver.url)
        set_payload(make_delivery(endpoint=endpoint), n=10**400)
        good = make_delivery(endpoint=endpoint)
        dispatch.run(seconds=5)

    assert WebhookDelivery.objects.get(id=good.id).status == DeliveryStatus.DELIVERED


def test_a_long_number_is_sent_as_it_was_given(sent_kicks):
    with Receiver() as receiver:
        endpoint = make_endpoint(url=receiver.url)
        set_payload(make_delivery(endpoint=endpoint), n=12345678901234567890123)
        dispatch.run(seconds=5)

    assert receiver.received[0].json["data"]["metadata"]["n"] == 12345678901234567890123


# --- Recording ------------------------------------------------------------------------------------


def test_an_endpoint_that_cannot_be_disabled_costs_no_result_of_another(sent_kicks, monkeypatch):
    def fail(_):
        raise OperationalError("deadlock detected")

    monkeypatch.setattr(results, "disable_gone", fail)
    with Receiver(default=Answer(410)) as gone, Receiver(default=Answer(delay=0.1)) as receiver:
        make_delivery(endpoint=make_endpoint(url=gone.url))
        endpoint = make_endpoint(url=receiver.url)
        for _ in range(20):
            make_delivery(endpoint=endpoint)
        with suppress(OperationalError):  # the run may end with it, but what was sent must be known
            dispatch.run(seconds=3)

        sent = len(receiver.received)
    assert endpoint.deliveries.filter(status=DeliveryStatus.DELIVERED).count() == sent


def test_a_lost_connection_does_not_turn_a_success_into_a_failure(sent_kicks, monkeypatch):
    statements, calls = results.statements, []

    def lost_twice(finished):
        calls.append(finished)
        if len(calls) <= 2:
            raise OperationalError("server closed the connection unexpectedly")
        return statements(finished)

    monkeypatch.setattr(results, "statements", lost_twice)
    with Receiver() as receiver:
        delivery = make_delivery(endpoint=make_endpoint(url=receiver.url))
        dispatch.run(seconds=3)

    assert [attempt.error for attempt in delivery.attempts.all()] == [""]


# --- Kicks and sweeps -----------------------------------------------------------------------------


def test_a_worker_that_comes_back_forgets_the_kicks_that_died_with_it(sent_kicks):
    kicks.request(timezone.now())
    tasks.resume_work()
    sent_kicks.clear()

    make_endpoint()
    make_event()

    assert sent_kicks


def test_a_kick_for_what_is_overdue_is_not_taken_for_lost(sent_kicks):
    overdue = timezone.now() - timedelta(minutes=1)
    for at in (overdue, timezone.now(), overdue, timezone.now()):
        kicks.request(at)

    assert len(sent_kicks) == 1


def test_a_sweep_goes_on_when_another_removed_the_endpoint_meanwhile(sent_kicks, monkeypatch):
    remove = endpoints.remove_endpoint

    def second(*, endpoint_id):
        remove(endpoint_id=endpoint_id)
        remove(endpoint_id=endpoint_id)

    monkeypatch.setattr(endpoints, "remove_endpoint", second)
    make_endpoint(expires_at=timezone.now() - timedelta(seconds=5))
    with Receiver() as receiver:
        make_delivery(endpoint=make_endpoint(url=receiver.url))
        tasks.sweep_outbox()

    assert len(receiver.received) == 1


# --- Health ---------------------------------------------------------------------------------------


def test_an_endpoint_is_not_disabled_for_one_test_that_failed(sent_kicks):
    endpoint = make_endpoint(url="http://127.0.0.1:9/")
    dispatch.send_test(endpoint_id=endpoint.id)
    WebhookEndpoint.objects.filter(failing_since__isnull=False).update(
        failing_since=timezone.now() - timedelta(hours=121)
    )
    health.review()

    assert WebhookEndpoint.objects.get().is_active


class OneBadMailbox(EmailBackend):
    def send_messages(self, messages):
        if messages[0].to == ["bad@example.org"]:
            raise ConnectionError("550 no such user")
        return super().send_messages(messages)


def test_one_mailbox_that_refuses_keeps_nobody_else_from_being_told_once(sent_kicks, settings):
    settings.EMAIL_BACKEND = f"{__name__}.OneBadMailbox"
    for name in ("first", "bad", "last"):
        get_user_model().objects.create(email=f"{name}@example.org", is_staff=True)
    make_endpoint(is_active=False, disabled_reason="gone")
    for _ in range(3):
        health.review()

    told = Counter(message.to[0] for message in mail.outbox)
    assert told == {"first@example.org": 1, "last@example.org": 1}


# --- Names ----------------------------------------------------------------------------------------


def test_names_that_are_looked_up_slowly_hold_up_no_other(sent_kicks, monkeypatch):
    def look_up(host, _port):
        if host.startswith("slow"):
            time.sleep(3)
        return ["127.0.0.1"]

    monkeypatch.setattr(ssrf, "vetted_addresses", look_up)
    with Receiver() as receiver:
        for number in range(5):
            slow = make_endpoint(url=f"http://slow{number}.example:{receiver.port}/")
            for _ in range(8):
                make_delivery(endpoint=slow)
        quick = make_endpoint(url=f"http://quick.example:{receiver.port}/")
        delivery = make_delivery(endpoint=quick)
        dispatch.run(seconds=3)

    assert delivery.attempts.get().duration_ms < 2000
