from datetime import UTC, datetime, timedelta

import pytest

from common.ids import first_id, uuid7

MOMENT = datetime(2026, 3, 14, 9, 26, 53, 589_000, tzinfo=UTC)


def test_ids_increase_in_the_order_in_which_they_are_made():
    made = [uuid7() for _ in range(10_000)]

    assert made == sorted(set(made))
    assert {each.version for each in made} == {7}


def test_the_first_id_of_a_moment_is_a_uuid7_with_its_milliseconds():
    first = first_id(MOMENT)

    assert (first.version, first.variant) == (7, "specified in RFC 4122")
    assert first.int >> 80 == 1_773_480_413_589


def test_older_ids_are_below_the_first_id_of_a_moment_and_newer_ones_above():
    before = uuid7()
    now = datetime.now(UTC)
    after = uuid7()

    assert before < first_id(now + timedelta(milliseconds=1))
    assert first_id(now) < after
    assert first_id(now - timedelta(hours=1)) < before


@pytest.mark.parametrize("later", [timedelta(milliseconds=1), timedelta(days=36_500)])
def test_first_ids_sort_by_time(later):
    assert first_id(MOMENT) < first_id(MOMENT + later)
