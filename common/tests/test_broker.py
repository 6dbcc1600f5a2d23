from datetime import timedelta

import pytest

from common.services import broker

pytestmark = pytest.mark.django_db(transaction=True)


def test_consumed_messages_are_deleted_in_batches(broker_table):
    for _ in range(3):
        broker_table(visible=False, age=timedelta(hours=2))

    assert [broker.purge_consumed(2) for _ in range(3)] == [2, 1, 0]


def test_messages_that_wait_or_were_consumed_just_now_stay(broker_table):
    broker_table(visible=True, age=None)
    broker_table(visible=True, age=timedelta(days=2))
    broker_table(visible=False, age=timedelta(minutes=1))

    assert broker.purge_consumed(10) == 0
    assert broker_table.count() == 3


def test_there_is_nothing_to_purge_with_another_transport():
    assert broker.purge_consumed(10) == 0
