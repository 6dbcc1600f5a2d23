"""Secrets in the database: encrypted, and read only by who needs them."""

import pytest
from django.db import connection

from common.errors import DooritoError
from common.models import WebhookEndpoint
from common.tests.factories import make_endpoint

pytestmark = pytest.mark.django_db


def stored(column="secret"):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM webhook_endpoint")  # noqa: S608
        return cursor.fetchone()[0]


def test_a_secret_is_plain_in_python_and_not_in_the_database():
    made = make_endpoint()

    assert made.secret not in stored()
    assert WebhookEndpoint.objects.get().secret == made.secret
    assert WebhookEndpoint.objects.defer("secret").get().secret == made.secret


def test_a_secret_is_read_with_a_former_key(settings):
    made = make_endpoint()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "new"

    assert WebhookEndpoint.objects.get().secret == made.secret


def test_without_its_key_only_the_secret_is_unreadable(settings):
    make_endpoint(description="runner")
    before = stored()
    settings.SECRET_KEY = "another"

    endpoint = WebhookEndpoint.objects.get()
    with pytest.raises(DooritoError, match="DJANGO_SECRET_KEY") as refused:
        endpoint.secret  # noqa: B018
    endpoint.description = "renamed"
    endpoint.save()

    assert refused.value.code == "secret_unreadable"
    assert WebhookEndpoint.objects.get().description == "renamed"
    assert stored() == before


def test_a_new_secret_takes_the_place_of_one_that_is_unreadable(settings):
    make_endpoint()
    settings.SECRET_KEY = "another"

    endpoint = WebhookEndpoint.objects.get()
    endpoint.secret = "whsec_new"
    endpoint.save()

    assert WebhookEndpoint.objects.get().secret == "whsec_new"


HEADERS = {"Authorization": "Bearer of-the-runner", "X-Größe": ["1", None]}


def test_a_value_that_json_can_hold_is_the_same_in_python_and_unreadable_in_the_database():
    make_endpoint(headers=HEADERS)

    assert WebhookEndpoint.objects.get().headers == HEADERS
    assert "of-the-runner" not in stored("headers")
    assert "Authorization" not in stored("headers")


def test_what_is_assigned_is_what_is_read_before_and_after_it_is_saved():
    endpoint = make_endpoint()
    assert endpoint.headers == {}

    endpoint.headers = HEADERS
    assert endpoint.headers == HEADERS
    endpoint.save()
    assert endpoint.headers == HEADERS
    WebhookEndpoint.objects.update(headers={"a": "b"})
    endpoint.refresh_from_db()
    assert endpoint.headers == {"a": "b"}


def test_equal_values_are_not_equal_in_the_database():
    make_endpoint(headers=HEADERS)
    before = stored("headers")
    WebhookEndpoint.objects.update(headers=HEADERS)

    assert stored("headers") != before


def test_headers_without_their_key_are_unreadable_and_stay_as_they_are(settings):
    make_endpoint(headers=HEADERS)
    before = stored("headers")
    key, settings.SECRET_KEY = settings.SECRET_KEY, "another"

    endpoint = WebhookEndpoint.objects.get()
    with pytest.raises(DooritoError, match="DJANGO_SECRET_KEY"):
        endpoint.headers  # noqa: B018
    endpoint.save()
    assert stored("headers") == before
    settings.SECRET_KEY = key
    assert WebhookEndpoint.objects.get().headers == HEADERS
