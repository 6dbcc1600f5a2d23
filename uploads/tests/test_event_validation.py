"""What watches over the events of all tests finds the invalid one."""

import pytest
from django.db.models.signals import post_save
from django.utils import timezone

from common.models import OutboxEvent
from common.outbox.types import event_types
from common.tests.factories import make_event, make_payload
from uploads.tests.event_validation import Observer

pytestmark = pytest.mark.django_db


@pytest.fixture
def observer():
    return Observer()


def emit(observer, event_type, payload):
    event = OutboxEvent(event_type=event_type, payload=payload, created_at=timezone.now())
    observer(instance=event, created=True, sender=OutboxEvent, signal=post_save)


def test_every_test_is_watched():
    watching, _ = post_save._live_receivers(OutboxEvent)

    assert [type(receiver) for receiver in watching] == [Observer]


@pytest.mark.parametrize("event_type", sorted(event_types))
def test_valid_events_are_no_problem(observer, event_type):
    emit(observer, event_type, make_payload(event_type))
    observer(instance=make_event(event_type=event_type), created=True)

    assert observer.problems() == []


@pytest.mark.parametrize("wrong", [{}, {"actor": {"user_id": "me", "email": None}}])
def test_an_invalid_event_is_a_problem(observer, wrong):
    payload = make_payload() | wrong if wrong else {}
    emit(observer, "file.uploaded", payload)

    assert observer.problems()
    assert all(problem.startswith("file.uploaded: $.data") for problem in observer.problems())


def test_later_changes_of_an_event_are_not_its_emission(observer):
    observer(instance=OutboxEvent(event_type="file.uploaded", payload={}), created=False)

    assert observer.problems() == []
