"""The list of events."""

import pytest
from django.test import Client

from common.models import DeliveryStatus
from common.tests.factories import make_delivery, make_endpoint, make_event

PAGE = "/app/events/"
HTMX = {"HX-Request": "true"}


def test_who_may_not_see_events_is_refused(ada: Client, viewer: Client, client: Client, db):
    assert client.get(PAGE).headers["Location"] == f"/app/login/?next={PAGE}"
    assert ada.get(PAGE).status_code == 403
    assert viewer.get(PAGE).status_code == 200


def test_an_empty_list_explains_itself(grace: Client):
    assert b"Nothing has happened yet" in grace.get(PAGE).content
    assert b"No event matches" in grace.get(PAGE, {"status": "failed"}).content


def test_events_are_listed_by_what_they_are_about(grace: Client):
    event = make_event()
    content = grace.get(PAGE).content.decode()
    assert "file.uploaded" in content
    assert event.payload["file"]["original_filename"] in content
    assert f"{PAGE}{event.id}/" in content


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"event_type": "file.failed"}, 1),
        ({"event_type": "file.uploaded"}, 2),
        ({"status": "pending"}, 1),
        ({"status": "pending", "event_type": "file.failed"}, 0),
        ({"status": "x", "event_type": "y"}, 3),
    ],
)
def test_events_are_filtered_by_type_and_status(grace: Client, filters, count: int):
    make_event(event_type="file.failed")  # nobody is subscribed: delivered
    make_event()
    make_delivery(status=DeliveryStatus.PENDING)
    response = grace.get(PAGE, filters, headers=HTMX)
    assert b"<html" not in response.content
    assert len(response.context["page"].items) == count


def test_more_events_are_loaded_page_by_page(grace: Client):
    made = {make_event().id for _ in range(53)}
    first = grace.get(PAGE).context["page"]
    rest = grace.get(PAGE, {"cursor": first.next_cursor}, headers=HTMX)
    assert b"<table" not in rest.content
    assert {event.id for event in first.items + rest.context["page"].items} == made
    assert grace.get(PAGE, {"cursor": "x"}).status_code == 404


def test_the_list_costs_the_same_for_many(grace: Client, count_queries):
    def cost() -> int:
        with count_queries() as queries:
            grace.get(PAGE)
        return len(queries)

    make_endpoint()
    make_event()
    few = cost()
    for _ in range(20):
        make_event()
    assert cost() == few
