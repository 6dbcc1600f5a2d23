"""While somebody holds them, no stored bytes are removed."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from uploads.files import holds, retention
from uploads.models import BytesHold
from uploads.tests.factories import make_expired

pytestmark = pytest.mark.django_db


def test_bytes_stay_while_they_are_held_and_go_afterwards():
    with holds.hold_bytes("backup"):
        make_expired()
        assert retention.expire_files() == 1
        assert retention.purge_files() == 0
    assert retention.purge_files() == 1
    assert not BytesHold.objects.exists()


def test_what_a_killed_holder_left_holds_until_it_expires():
    left = BytesHold.objects.create(reason="backup", expires_at=Now() + holds.LEASE)
    make_expired()
    retention.expire_files()
    assert retention.purge_files() == 0
    BytesHold.objects.filter(id=left.id).update(expires_at=Now() - timedelta(seconds=1))
    assert retention.purge_files() == 1
    with holds.hold_bytes("backup"):
        assert BytesHold.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_hold_is_renewed_as_long_as_it_lasts(monkeypatch):
    monkeypatch.setattr(holds, "_RENEW_SECONDS", 0.01)
    with holds.hold_bytes("backup"):
        begun = BytesHold.objects.get().expires_at
        while BytesHold.objects.get().expires_at == begun:
            pass
