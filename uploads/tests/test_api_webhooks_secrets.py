"""The secrets of webhooks: shown to those who may change them, rotated, replaced, revoked."""

from functools import partial

import pytest
import standardwebhooks

from accounts.tests.factories import make_user
from common.models import RetiredSecret, WebhookEndpoint
from common.tests.factories import make_endpoint
from common.tests.receiver import Receiver
from common.tests.threads import at_once
from uploads.tests.factories import Api


def at(endpoint, action: str) -> str:
    return f"/api/v1/webhooks/{endpoint.id}/{action}"


def test_the_secret_is_shown_on_demand_and_not_stored_on_the_way(staff):
    endpoint = make_endpoint()

    reply = staff.get(at(endpoint, "secret"))

    assert reply.json() == {"secret": endpoint.secret, "old_secrets_expire_at": None}
    assert reply["Cache-Control"] == "no-store"


@pytest.mark.django_db(transaction=True)
def test_both_secrets_sign_after_a_rotation(staff, no_kicks):
    with Receiver() as receiver:
        endpoint = make_endpoint(url=receiver.url)
        rotated = staff.post(at(endpoint, "rotate-secret"))
        staff.post(at(endpoint, "test"))

    new = rotated.json()["secret"]
    assert rotated["Cache-Control"] == "no-store"
    assert rotated.json()["old_secrets_expire_at"] is not None
    assert new != endpoint.secret
    (received,) = receiver.received
    for secret in (new, endpoint.secret):
        assert standardwebhooks.Webhook(secret).verify(received.body, received.headers)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ending", ["revoke-old-secrets", "replace-secret"])
def test_old_secrets_sign_no_more_once_they_are_ended(staff, no_kicks, ending):
    with Receiver() as receiver:
        endpoint = make_endpoint(url=receiver.url)
        staff.post(at(endpoint, "rotate-secret"))
        assert staff.post(at(endpoint, ending)).status_code == 200
        staff.post(at(endpoint, "test"))

    shown = staff.get(at(endpoint, "secret")).json()
    (received,) = receiver.received
    assert standardwebhooks.Webhook(shown["secret"]).verify(received.body, received.headers)
    assert len(received.headers["webhook-signature"].split()) == 1
    assert shown["old_secrets_expire_at"] is None


def test_revoking_says_how_many_it_were_and_is_safe_to_repeat(staff):
    endpoint = make_endpoint()
    for _ in range(2):
        staff.post(at(endpoint, "rotate-secret"))

    assert staff.post(at(endpoint, "revoke-old-secrets")).json() == {"revoked": 2}
    assert staff.post(at(endpoint, "revoke-old-secrets")).json() == {"revoked": 0}


def test_a_secret_that_cannot_be_read_can_be_replaced(staff, settings):
    endpoint = make_endpoint()
    settings.SECRET_KEY = "another"

    replaced = staff.post(at(endpoint, "replace-secret"))

    assert replaced.status_code == 200
    assert WebhookEndpoint.objects.get().secret == replaced.json()["secret"]


@pytest.mark.django_db(transaction=True)
def test_every_secret_given_out_by_rotations_at_once_still_signs():
    endpoint = make_endpoint()
    user = make_user(is_staff=True)

    replies = at_once([partial(Api(user).post, at(endpoint, "rotate-secret")) for _ in range(6)])

    given = {reply.json()["secret"] for reply in replies}
    signing = {retired.secret for retired in RetiredSecret.objects.all()}
    signing.add(WebhookEndpoint.objects.get().secret)
    assert len(given) == 6
    assert signing == given | {endpoint.secret}


@pytest.mark.django_db(transaction=True)
def test_no_rotation_at_the_same_time_brings_a_replaced_secret_back():
    endpoint = make_endpoint()
    user = make_user(is_staff=True)
    actions = ["rotate-secret", "replace-secret"] * 3

    replies = at_once([partial(Api(user).post, at(endpoint, action)) for action in actions])

    assert {reply.status_code for reply in replies} == {200}
    signing = {retired.secret for retired in RetiredSecret.objects.all()}
    assert endpoint.secret not in signing | {WebhookEndpoint.objects.get().secret}
