import base64

import pytest

from common.errors import InvalidInput
from common.models import OutboxEvent
from common.pagination import MAX_PAGE, decode_cursor, paginate
from common.tests.factories import make_event

pytestmark = pytest.mark.django_db


def page(*, cursor=None, limit=2):
    return paginate(OutboxEvent.objects.all(), cursor=cursor, limit=limit)


def test_pages_hold_everything_once_newest_first():
    events = [make_event() for _ in range(5)]
    found, cursor, sizes = [], None, []
    while True:
        rows = page(cursor=cursor)
        found += rows.items
        sizes.append(len(rows.items))
        cursor = rows.next_cursor
        if cursor is None:
            break

    assert found == events[::-1]
    assert sizes == [2, 2, 1]


def test_a_page_that_is_just_full_is_the_last():
    make_event()
    make_event()

    assert page().next_cursor is None


def test_an_empty_list_is_one_empty_page():
    assert (page().items, page().next_cursor) == ([], None)


def test_what_comes_between_two_pages_moves_neither():
    events = [make_event() for _ in range(4)]
    first = page()
    make_event()

    assert page(cursor=first.next_cursor).items == events[1::-1]


@pytest.mark.parametrize(("limit", "size"), [(-1, 1), (0, 1), (3, 3), (10**9, 4)])
def test_the_size_of_a_page_stays_within_bounds(limit, size):
    for _ in range(4):
        make_event()

    assert len(page(limit=limit).items) == size


def test_no_page_is_larger_than_the_largest(django_assert_num_queries):
    with django_assert_num_queries(1) as queries:
        page(limit=10**9)

    assert f"LIMIT {MAX_PAGE + 1}" in queries[0]["sql"]


def encoded(key):
    return base64.urlsafe_b64encode(key).decode()


@pytest.mark.parametrize(
    "cursor", ["x", "ä", "\x00", "====", encoded(b"short"), encoded(b"x" * 17), "a" * 10_000]
)
def test_a_cursor_that_is_none_of_ours_is_refused(cursor):
    with pytest.raises(InvalidInput) as refused:
        decode_cursor(cursor)

    assert refused.value.code == "invalid_cursor"
