"""What pages tell of webhooks: their links in the menu, and endpoints in trouble."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from common.models import DisabledReason
from common.tests.factories import make_endpoint

LABEL = "data-trouble"


@pytest.fixture
def failing(db):
    return make_endpoint(
        description="Deaf runner",
        consecutive_failures=10,
        failing_since=timezone.now() - timedelta(hours=100),
    )


def test_the_menu_leads_only_those_who_may_go_there(ada: Client, viewer: Client, grace: Client):
    for client, shown in ((ada, False), (viewer, True), (grace, True)):
        content = client.get("/app/").content.decode()
        for link in ('href="/app/webhooks/"', 'href="/app/events/"'):
            assert (link in content) is shown


def test_an_endpoint_in_trouble_is_the_first_thing_on_the_dashboard(
    grace: Client, viewer: Client, failing
):
    for client in (grace, viewer):
        content = client.get("/app/").content.decode()
        assert content.index("Needs attention") < content.index(LABEL) < content.index(">Stored<")
        told = content.split(LABEL)[1].split("</li>")[0]
        assert "Deaf runner" in told
        assert "4 days ago" in told
        assert f'href="/app/webhooks/{failing.id}/"' in told
        assert LABEL not in client.get("/app/uploads/").content.decode()


def test_others_hear_nothing_of_it_and_it_costs_them_nothing(ada: Client, failing, count_queries):
    with count_queries() as queries:
        assert LABEL not in ada.get("/app/").content.decode()
    assert not [query for query in queries.captured_queries if "webhook" in query["sql"]]


def test_it_is_one_query_for_those_who_can_help(grace: Client, failing, count_queries):
    with count_queries() as queries:
        grace.get("/app/")
    found = [query for query in queries.captured_queries if "webhook_endpoint" in query["sql"]]
    assert len(found) == 1
    assert "LIMIT" in found[0]["sql"]


def test_why_it_was_disabled_is_told_and_many_are_summed_up(grace: Client):
    make_endpoint(is_active=False, disabled_reason=DisabledReason.GONE, disabled_at=timezone.now())
    assert "it answered 410 Gone" in grace.get("/app/").content.decode()
    for _ in range(3):
        make_endpoint(
            is_active=False, disabled_reason=DisabledReason.FAILING, disabled_at=timezone.now()
        )
    banner = grace.get("/app/").content.decode()
    assert banner.count("was disabled") == 3
    assert "More webhooks are in trouble" in banner


def test_a_healthy_or_hand_disabled_endpoint_is_no_trouble(grace: Client):
    make_endpoint()
    make_endpoint(is_active=False, disabled_reason=DisabledReason.MANUAL)
    assert LABEL not in grace.get("/app/").content.decode()
