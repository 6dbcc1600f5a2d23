"""What receivers get is verified by two packages that others wrote, through a rotation.

The deliveries are those of the dispatcher, to a server, from the database to the wire.
"""

import json
import time
from datetime import timedelta
from uuid import uuid4

import pytest
import standardwebhooks
import svix.webhooks
from django.utils import timezone

from common.models import RetiredSecret
from common.tests.factories import make_endpoint, make_event
from common.tests.receiver import Answer, Receiver
from common.webhooks import dispatch, endpoints, sending

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent_kicks")]

TOLERANCE = 5 * 60  # seconds, of either package, to both sides


class StandardWebhooks:
    Refused = standardwebhooks.WebhookVerificationError

    @staticmethod
    def verify(secret, body, headers):
        standardwebhooks.Webhook(secret).verify(body, headers)


class Svix:
    """Its own names of the headers are what all of its versions read."""

    Refused = svix.webhooks.WebhookVerificationError

    @staticmethod
    def verify(secret, body, headers):
        own = {name.replace("webhook-", "svix-"): value for name, value in headers.items()}
        svix.webhooks.Webhook(secret).verify(body, own)


PACKAGES = [StandardWebhooks, Svix]


def is_verified(secret, body, headers):
    """What both packages say of a request; they must say the same."""
    verdicts = [_is_verified(package, secret, body, headers) for package in PACKAGES]
    assert len(set(verdicts)) == 1, verdicts
    return verdicts[0]


def _is_verified(package, secret, body, headers):
    try:
        package.verify(secret, body, headers)
    except package.Refused:
        return False
    return True


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def endpoint(receiver):
    return make_endpoint(url=receiver.url)


def deliver(receiver):
    """One event by the dispatcher; what came of it at the receiver."""
    count = len(receiver.received) + 1
    event = make_event()
    dispatch.run()
    received = receiver.wait_for(count)[-1]
    assert received.headers["webhook-id"] == str(event.id)
    return received


def secrets_that_verify(request, *secrets):
    return [secret for secret in secrets if is_verified(secret, request.body, request.headers)]


# --- Through a rotation --------------------------------------------------------------------------


def test_a_delivery_is_verified_with_the_secret_of_its_endpoint_alone(receiver, endpoint):
    request = deliver(receiver)

    assert secrets_that_verify(request, endpoint.secret, sending.new_secret()) == [endpoint.secret]


def test_both_secrets_verify_during_the_overlap_of_a_rotation(receiver, endpoint):
    old = endpoint.secret
    new = endpoints.rotate_secret(endpoint_id=endpoint.id).secret

    request = deliver(receiver)

    assert new != old
    assert secrets_that_verify(request, new, old, sending.new_secret()) == [new, old]
    assert len(request.headers["webhook-signature"].split(" ")) == 2


def test_only_the_new_secret_verifies_after_the_overlap(receiver, endpoint):
    old = endpoint.secret
    new = endpoints.rotate_secret(endpoint_id=endpoint.id).secret
    RetiredSecret.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    request = deliver(receiver)

    assert secrets_that_verify(request, new, old) == [new]


def test_all_secrets_of_several_rotations_verify_until_their_own_ends(receiver, endpoint):
    first = endpoint.secret
    second = endpoints.rotate_secret(endpoint_id=endpoint.id).secret
    third = endpoints.rotate_secret(endpoint_id=endpoint.id).secret
    assert secrets_that_verify(deliver(receiver), first, second, third) == [first, second, third]

    oldest = RetiredSecret.objects.order_by("expires_at")[:1].values("id")
    RetiredSecret.objects.filter(id__in=oldest).update(expires_at=timezone.now())

    assert secrets_that_verify(deliver(receiver), first, second, third) == [second, third]


def test_only_the_new_secret_verifies_once_the_old_ones_are_revoked(receiver, endpoint):
    old = endpoint.secret
    new = endpoints.rotate_secret(endpoint_id=endpoint.id).secret
    assert secrets_that_verify(deliver(receiver), new, old) == [new, old]

    endpoints.revoke_old_secrets(endpoint_id=endpoint.id)

    assert secrets_that_verify(deliver(receiver), new, old) == [new]


def test_only_the_new_secret_verifies_after_a_replacement(receiver, endpoint):
    old = endpoint.secret
    middle = endpoints.rotate_secret(endpoint_id=endpoint.id).secret
    new = endpoints.replace_secret(endpoint_id=endpoint.id).secret

    request = deliver(receiver)

    assert secrets_that_verify(request, new, middle, old) == [new]


def test_a_retry_keeps_its_id_and_is_signed_with_what_is_valid_then(receiver, endpoint, settings):
    settings.PORTAL_RETRY_SCHEDULE = [0, 0]
    old = endpoint.secret
    receiver.answers.append(Answer(status=500))
    new = {}

    def rotate_at_the_first(request):
        if not new:
            new["secret"] = endpoints.replace_secret(endpoint_id=endpoint.id).secret
        return take(request)

    take, receiver.take = receiver.take, rotate_at_the_first
    make_event()
    dispatch.run()
    first, second = receiver.wait_for(2)

    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert secrets_that_verify(first, old, new["secret"]) == [old]
    assert secrets_that_verify(second, old, new["secret"]) == [new["secret"]]


def test_a_test_event_is_signed_as_any_other(receiver, endpoint):
    dispatch.send_test(endpoint_id=endpoint.id)

    (request,) = receiver.received
    assert request.headers["x-webhook-event"] == "webhook.test"
    assert secrets_that_verify(request, endpoint.secret) == [endpoint.secret]


# --- What was tampered with ----------------------------------------------------------------------


@pytest.fixture
def request_and_secret(receiver, endpoint):
    request = deliver(receiver)
    assert is_verified(endpoint.secret, request.body, request.headers)
    return request, endpoint.secret


def test_a_changed_body_is_refused(request_and_secret):
    request, secret = request_and_secret
    changed = json.dumps(request.json | {"type": "file.removed"}).encode()

    for body in (changed, request.body + b" ", request.body[:-1], b""):
        assert not is_verified(secret, body, request.headers)


def test_a_body_that_was_written_anew_is_refused_though_it_means_the_same(request_and_secret):
    request, secret = request_and_secret
    written_anew = json.dumps(request.json, indent=1).encode()

    assert json.loads(written_anew) == request.json
    assert not is_verified(secret, written_anew, request.headers)


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": str(uuid4())},
        {"webhook-timestamp": str(int(time.time()) - 7)},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1," + "A" * 43 + "="},
    ],
    ids=["another id", "another time", "no signature", "a guessed signature"],
)
def test_a_changed_header_is_refused(request_and_secret, changes):
    request, secret = request_and_secret

    assert not is_verified(secret, request.body, request.headers | changes)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_refused(request_and_secret, missing):
    request, secret = request_and_secret
    headers = {name: value for name, value in request.headers.items() if name != missing}

    assert not is_verified(secret, request.body, headers)


def test_the_signature_of_another_delivery_is_refused(receiver, endpoint):
    one, other = deliver(receiver), deliver(receiver)

    borrowed = one.headers | {"webhook-signature": other.headers["webhook-signature"]}

    assert not is_verified(endpoint.secret, one.body, borrowed)


@pytest.mark.parametrize(
    ("age", "is_taken"),
    [(0, True), (TOLERANCE - 60, True), (TOLERANCE + 60, False), (-TOLERANCE - 60, False)],
    ids=["now", "four minutes", "six minutes", "six minutes ahead"],
)
def test_a_request_that_is_kept_back_too_long_is_refused(request_and_secret, age, is_taken):
    """Its signature is right: the age alone decides."""
    request, secret = request_and_secret
    sent_at = int(time.time()) - age
    signature = sending.signature(
        secrets=[secret],
        message_id=request.headers["webhook-id"],
        timestamp=sent_at,
        body=request.body,
    )

    aged = {"webhook-timestamp": str(sent_at), "webhook-signature": signature}

    assert is_verified(secret, request.body, request.headers | aged) is is_taken
