import asyncio
import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta

import pytest
import standardwebhooks
from django.utils import timezone
from django.utils.http import http_date

from common.ids import uuid7
from common.net import guarded_http
from common.tests.attempts import make_message
from common.tests.receiver import Answer, Close, Drip, Hang, Receiver
from common.version import VERSION
from common.webhooks import sending


def send(*messages):
    """What comes of attempts made one after the other by one client; one alone if it is one."""

    async def attempts():
        async with guarded_http.client() as client:
            return [await sending.send(message, client) for message in messages]

    results = asyncio.run(attempts())
    return results[0] if len(messages) == 1 else results


def answer_of(*answers, **fields):
    """What comes of one attempt at a receiver that answers so, and what it got."""
    with Receiver(*answers) as receiver:
        result = send(make_message(receiver.url, **fields))
        return result, receiver.received


def test_the_vector_of_the_specification():
    signature = sending.signature(
        secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_is_the_prefix_and_32_random_bytes():
    one, other = sending.new_secret(), sending.new_secret()

    assert one != other
    assert one.startswith("whsec_")
    assert len(base64.b64decode(one.removeprefix("whsec_"))) == 32


def test_a_real_delivery_is_verified_by_the_standard_package():
    secret = sending.new_secret()
    _, (received,) = answer_of(secrets=[secret], body='{"name":"słońce"}'.encode())

    verified = standardwebhooks.Webhook(secret).verify(received.body, received.headers)

    assert verified == {"name": "słońce"}


def test_each_of_several_secrets_verifies_the_same_delivery():
    secrets = [sending.new_secret(), sending.new_secret()]
    _, (received,) = answer_of(secrets=secrets)

    for secret in secrets:
        assert standardwebhooks.Webhook(secret).verify(received.body, received.headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(sending.new_secret()).verify(received.body, received.headers)


def test_the_headers_of_an_attempt():
    secret, event_id, delivery_id = sending.new_secret(), uuid7(), uuid7()
    before = int(time.time())
    _, (received,) = answer_of(secrets=[secret], event_id=event_id, delivery_id=delivery_id)

    headers = received.headers
    assert (received.method, received.path) == ("POST", "/hook")
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == f"Doorito/{VERSION}"
    assert headers["webhook-id"] == str(event_id)
    assert before <= int(headers["webhook-timestamp"]) <= time.time()
    assert headers["x-webhook-event"] == "file.uploaded"
    assert headers["x-webhook-delivery"] == str(delivery_id)
    expected = hmac.new(secret.encode(), received.body, hashlib.sha256).hexdigest()
    assert headers["x-webhook-signature"] == expected


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(status):
    result, _ = answer_of(Answer(status=status, body=b""))

    assert result.is_delivered
    assert result.status == status
    assert result.error == ""


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 410, 429, 500, 503, 599])
def test_any_other_status_is_a_failure_that_says_so(status):
    result, _ = answer_of(Answer(status=status, body=b""))

    assert not result.is_delivered
    assert result.is_gone is (status == 410)
    assert str(status) in result.error


def test_only_the_first_4_kib_of_the_answer_are_kept_as_storable_text():
    body = b"\x00\xff" + b"a" * 100_000
    result, _ = answer_of(Answer(body=body))

    assert result.is_delivered
    assert result.body == "\ufffd\ufffd" + "a" * (guarded_http.BODY_HEAD - 2)


@pytest.mark.parametrize("reaction", [Hang(), Drip(interval=0.2)], ids=["hangs", "drips its head"])
def test_a_receiver_that_takes_too_long_is_a_failure(reaction):
    result, _ = answer_of(reaction, timeout=1)

    assert result.status is None
    assert result.error.startswith("No answer within 1 s.")
    assert result.duration_ms >= 900


def test_a_body_that_drips_is_cut_at_the_timeout_but_its_status_counts():
    result, _ = answer_of(Drip(interval=0.2, head_at_once=True), timeout=1)

    assert result.is_delivered
    assert set(result.body) == {"x"}
    assert len(result.body) < 50
    assert result.duration_ms >= 900


def test_a_connection_that_is_reset_is_a_failure():
    result, _ = answer_of(Close())

    assert result.status is None
    assert result.error


def test_a_port_where_nobody_listens_is_a_failure():
    with Receiver() as receiver:
        port = receiver.port
    result = send(make_message(f"http://localhost:{port}/hook"))

    assert result.status is None
    assert result.error.startswith(f"Cannot connect to localhost:{port}: nothing listens there.")


def test_an_answer_whose_headers_are_odd_counts_by_its_status():
    result, _ = answer_of(Answer(headers={"Bad header": "x"}))

    assert (result.status, result.error) == (200, "")


def test_the_guard_stands_at_every_send(settings):
    settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK = False

    result, received = answer_of()

    assert result.status is None
    assert "not public" in result.error
    assert received == []


def test_the_next_address_is_tried_when_one_refuses(names):
    names["runner.example"] = ["127.0.0.2", "127.0.0.1"]
    with Receiver() as receiver:
        result = send(make_message(f"http://runner.example:{receiver.port}/hook"))

        assert result.is_delivered
        assert receiver.received[0].headers["host"] == f"runner.example:{receiver.port}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("120", 120),
        ("0", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 5000, 999_999_999),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Mon, 99999999999999999999 Jan 2020 00:00:00 GMT", None),
        ("Mon, 01 Jan 2020 00:00:00 +99999999", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value, expected):
    assert sending.retry_after_seconds(value) == expected


def test_a_retry_after_that_is_no_date_leaves_the_answer_as_it_is():
    header = {"Retry-After": "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT"}

    result, _ = answer_of(Answer(status=429, headers=header))

    assert (result.status, result.retry_after) == (429, None)


def test_retry_after_may_name_a_moment():
    moment = timezone.now() + timedelta(seconds=90)

    result, _ = answer_of(
        Answer(status=503, headers={"Retry-After": http_date(moment.timestamp())})
    )

    assert 80 <= result.retry_after <= 91


def test_a_fault_of_ours_is_a_failed_attempt_and_is_logged(caplog):
    result = send(make_message("http://127.0.0.1:9/", secrets=["whsec_not base64!"]))

    assert result.status is None
    assert result.error.startswith("Internal error")
    assert "Traceback" in caplog.text


def test_the_body_is_sent_byte_for_byte():
    body = json.dumps({"text": "ä" * 100_000}, ensure_ascii=False).encode()

    _, (received,) = answer_of(body=body)

    assert received.body == body
