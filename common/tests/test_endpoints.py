from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from common.errors import InvalidInput, NotFound
from common.ids import uuid7
from common.models import DeliveryStatus, OutboxEvent, WebhookDelivery, WebhookEndpoint
from common.services import endpoints
from common.tests.factories import make_delivery, make_endpoint, make_event

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:8000/hook"


def test_an_endpoint_is_added_with_a_secret_of_its_own():
    one, other = endpoints.add_endpoint(url=URL), endpoints.add_endpoint(url=URL)

    assert one.secret.startswith("whsec_")
    assert one.secret != other.secret
    assert one.is_active
    assert one.event_types == []


def test_a_secret_is_not_readable_in_the_database():
    endpoint = endpoints.add_endpoint(url=URL)

    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM webhook_endpoint")
        assert endpoint.secret not in cursor.fetchone()[0]
    assert WebhookEndpoint.objects.get().secret == endpoint.secret


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.org/", "webhook_url_invalid"),
        ("http://127.0.0.1:8000/" + "x" * 2048, "webhook_url_invalid"),
        ("http://10.0.0.1/", "webhook_url_not_public"),
    ],
)
def test_a_url_that_the_guard_refuses_is_not_added(url, code):
    with pytest.raises(InvalidInput) as refused:
        endpoints.add_endpoint(url=url)

    assert refused.value.code == code
    assert not WebhookEndpoint.objects.exists()


def test_loopback_is_refused_where_the_setting_says_so(settings):
    settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK = False

    with pytest.raises(InvalidInput) as refused:
        endpoints.add_endpoint(url=URL)
    assert refused.value.code == "webhook_url_not_public"


@pytest.mark.parametrize("pattern", ["file.uploaded", "file.*", "batch.*", "*", "webhook.disabled"])
def test_known_event_types_are_taken(pattern):
    assert endpoints.add_endpoint(url=URL, event_types=[pattern]).event_types == [pattern]


@pytest.mark.parametrize("pattern", ["file.upload", "files.*", "file", "file.", "", "File.*", "**"])
def test_a_filter_that_can_never_match_is_refused(pattern):
    with pytest.raises(InvalidInput) as refused:
        endpoints.add_endpoint(url=URL, event_types=["file.*", pattern])
    assert refused.value.code == "webhook_event_type_unknown"


@pytest.mark.parametrize("description", ["x" * 256, "byte \udcff", "nul\x00"])
def test_a_description_that_the_database_cannot_keep_is_refused(description):
    with pytest.raises(InvalidInput) as refused:
        endpoints.add_endpoint(url=URL, description=description)

    assert refused.value.code == "webhook_description_invalid"


def test_the_longest_description_is_kept():
    endpoint = endpoints.add_endpoint(url=URL, description="ä" * 255)

    assert WebhookEndpoint.objects.get().description == endpoint.description


@pytest.mark.parametrize("character", ["\x00", "\udcff"])
def test_a_url_or_type_with_characters_that_are_no_text_is_refused(character):
    with pytest.raises(InvalidInput):
        endpoints.add_endpoint(url=URL + character)
    with pytest.raises(InvalidInput):
        endpoints.add_endpoint(url=URL, event_types=[f"file.{character}"])


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


def test_an_enabled_endpoint_gets_new_events_again():
    endpoint = make_endpoint()
    endpoints.disable(endpoint_id=endpoint.id)
    assert not make_event().deliveries.exists()

    endpoints.enable(endpoint_id=endpoint.id)

    assert make_event().deliveries.exists()


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


@pytest.mark.parametrize("action", ["get", "enable", "disable", "remove_endpoint"])
def test_an_unknown_endpoint_is_not_found(action):
    with pytest.raises(NotFound) as missing:
        getattr(endpoints, action)(endpoint_id=uuid7())
    assert missing.value.code == "webhook_not_found"
