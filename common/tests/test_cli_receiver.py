"""The receiver of `doorito listen`, with real requests on loopback."""

import json
import socket
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest
import standardwebhooks

from common.tests.receiver import Answer, Close, Hang, Receiver
from common.webhooks.cli.receiver import BODY_MAX, Incoming, LocalServer, Reply, forward, problem_of
from common.webhooks.sending import new_secret, signature

SECRET = new_secret()
BODY = '{"name": "słońce"}'.encode()


def signed(*, secrets=(SECRET,), timestamp=None, body=BODY, **changes) -> Incoming:
    stamp = int(time.time()) if timestamp is None else timestamp
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": signature(
            secrets=secrets, message_id="msg_1", timestamp=stamp, body=body
        ),
    }
    changed = {name.replace("_", "-"): value for name, value in changes.items()}
    return Incoming("POST", list((headers | changed).items()), body)


def a_client(**options) -> httpx.Client:
    return httpx.Client(trust_env=False, **{"timeout": 20} | options)


@contextmanager
def serving(reply: Reply | None = None):
    """A running server, and what it was given."""
    given = []

    def answer(incoming):
        given.append(incoming)
        return reply or Reply(200, "received")

    with LocalServer(0) as server, server.running(answer):
        yield server, given


# --- Verifying -------------------------------------------------------------------------------


def test_what_is_signed_is_the_portals():
    assert problem_of(signed(), secret=SECRET) == ""


def test_an_independent_sender_is_accepted_as_well():
    stamp = signed().header("webhook-timestamp")
    moment = datetime.fromtimestamp(int(stamp), UTC)
    made = standardwebhooks.Webhook(SECRET).sign("msg_1", moment, BODY.decode())
    assert problem_of(signed(webhook_signature=made), secret=SECRET) == ""


def test_one_right_signature_of_several_is_enough():
    assert problem_of(signed(secrets=(new_secret(), SECRET)), secret=SECRET) == ""


@pytest.mark.parametrize(
    "incoming",
    [
        signed(secrets=(new_secret(),)),
        signed(webhook_id="msg_2"),
        signed(webhook_signature=""),
        signed(webhook_signature="v1,ä"),
        Incoming("POST", signed().headers, BODY + b" "),
    ],
)
def test_a_wrong_signature_is_refused(incoming):
    assert "signature" in problem_of(incoming, secret=SECRET)


@pytest.mark.parametrize("seconds", [-400, 400])
def test_a_message_of_another_time_is_refused(seconds):
    old = signed(timestamp=int(time.time()) + seconds)
    assert "compare the clocks" in problem_of(old, secret=SECRET)


@pytest.mark.parametrize("stamp", ["", "soon", "-1", "1.5", "٣", "9" * 30])
def test_a_timestamp_that_is_none_is_refused(stamp):
    assert "webhook-timestamp" in problem_of(signed(webhook_timestamp=stamp), secret=SECRET)


# --- Forwarding ------------------------------------------------------------------------------


def test_a_request_is_sent_on_as_it_is():
    incoming = signed(Content_Type="application/json", User_Agent="Doorito/1", Host="elsewhere")
    with Receiver() as receiver, a_client() as client:
        forward(incoming, url=receiver.url, client=client)

    (received,) = receiver.received
    assert (received.method, received.path, received.body) == ("POST", "/hook", BODY)
    assert received.headers == {
        **{name.lower(): value for name, value in incoming.headers},
        "host": f"127.0.0.1:{receiver.port}",
        "content-length": str(len(BODY)),
    }
    assert standardwebhooks.Webhook(SECRET).verify(received.body, received.headers)


def test_the_answer_is_passed_back():
    answer = Answer(
        status=503,
        headers={"Retry-After": "7", "Content-Type": "text/plain", "Set-Cookie": "a=b"},
        body=b"later",
    )
    with Receiver(answer) as receiver, a_client() as client:
        reply = forward(signed(), url=receiver.url, client=client)

    assert (reply.status, reply.body) == (503, b"later")
    assert dict(reply.headers) == {"retry-after": "7", "content-type": "text/plain"}
    assert reply.summary.startswith("503 in ")


def test_a_redirect_is_passed_back_and_not_followed():
    answer = Answer(status=302, headers={"Location": "/elsewhere"})
    with Receiver(answer) as receiver, a_client() as client:
        assert forward(signed(), url=receiver.url, client=client).status == 302
    assert len(receiver.received) == 1


def test_an_answer_without_end_is_cut():
    with Receiver(Answer(body=b"x" * 2**20)) as receiver, a_client() as client:
        assert len(forward(signed(), url=receiver.url, client=client).body) == 2**16


@pytest.mark.parametrize("reaction", [Close(), Hang()])
def test_a_target_that_does_not_answer_is_a_502_that_says_why(reaction):
    with Receiver(reaction) as receiver, a_client(timeout=0.5) as client:
        reply = forward(signed(), url=receiver.url, client=client)
    assert reply.status == 502
    assert receiver.url in reply.summary


def test_a_target_that_is_not_there_is_a_502():
    with Receiver() as receiver:
        gone = receiver.url
    with a_client() as client:
        reply = forward(signed(), url=gone, client=client)
    assert reply.status == 502
    assert "refused" in reply.summary


# --- Serving ---------------------------------------------------------------------------------


def test_the_server_gives_requests_as_they_came_and_answers():
    with serving(Reply(201, "made", (("retry-after", "7"),), b"done")) as (server, given):
        reply = httpx.post(server.url, content=BODY, headers={"X-A": "b"}, trust_env=False)

    assert (reply.status_code, reply.content, reply.headers["retry-after"]) == (201, b"done", "7")
    (incoming,) = given
    assert (incoming.method, incoming.body, incoming.header("x-a")) == ("POST", BODY, "b")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_says_nothing_of_its_length(status):
    with serving(Reply(status, "")) as (server, _):
        reply = httpx.post(server.url, trust_env=False)
    assert reply.status_code == status
    assert "content-length" not in reply.headers


@pytest.mark.parametrize("length", ["x", "-1", str(BODY_MAX + 1)])
def test_a_body_that_no_event_has_is_refused(length):
    with serving() as (server, given), socket.create_connection(server.server_address) as wire:
        wire.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        assert wire.makefile("rb").readline().split()[1] == b"413"
    assert given == []


def test_the_server_listens_on_loopback_only():
    with LocalServer(0) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_an_error():
    with LocalServer(0) as server, pytest.raises(OSError, match="in use"):
        LocalServer(server.server_address[1])


def test_a_fault_in_an_answer_is_told_and_ends_nothing(capsys):
    def fail_once(incoming):
        return Reply(200, json.loads(incoming.body)["said"])

    with LocalServer(0) as server, server.running(fail_once):
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(server.url, content=b"{}", trust_env=False)
        assert httpx.post(server.url, json={"said": "x"}, trust_env=False).status_code == 200
    assert "KeyError" in capsys.readouterr().err
