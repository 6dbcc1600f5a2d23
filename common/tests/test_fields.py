"""Secrets in the database: encrypted, and read only by who needs them."""

import pytest
from django.db import connection

from common.errors import DooritoError
from common.models import WebhookEndpoint
from common.tests.factories import make_endpoint

pytestmark = pytest.mark.django_db


def stored():
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM webhook_endpoint")
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
