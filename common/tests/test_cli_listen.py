"""`doorito listen` and `events tail` beside the running portal, as processes of their own."""

import json
import os
import signal
import subprocess
import threading

import httpx
import pytest
import standardwebhooks
from click.testing import CliRunner
from django.utils import timezone

from boot.tests.portal import ROOT
from common.errors import Gone, InvalidInput
from common.ids import uuid7
from common.models import WebhookEndpoint
from common.tests.factories import make_endpoint
from common.tests.receiver import Answer, Receiver
from common.webhooks import endpoints
from common.webhooks.cli import listen as module
from common.webhooks.cli.listen import listen

WEBHOOKS = "/api/v1/webhooks"
WAIT = 60  # seconds, for a busy machine


class Running:
    """A command beside a portal. What it prints is there to be waited for."""

    def __init__(self, portal, *arguments):
        self._process = subprocess.Popen(
            [ROOT / "doorito", *arguments],
            env=portal.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out, self.err = Lines(self._process.stdout), Lines(self._process.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(WAIT)
        self.out.close()
        self.err.close()

    def end(self, number):
        """Send a signal; the exit code."""
        os.kill(self._process.pid, number)
        return self._process.wait(WAIT)


class Lines:
    """The lines of a pipe, read as they come."""

    def __init__(self, pipe):
        self.lines = []
        self._pipe = pipe
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        for line in self._pipe:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def first_with(self, text):
        """The first line with a text in it, once it is there."""

        def found():
            return next((line for line in self.lines if text in line), None)

        with self._changed:
            assert self._changed.wait_for(found, WAIT), (text, self.lines)
            return found()

    def close(self):
        self._thread.join(WAIT)
        self._pipe.close()


@pytest.fixture(scope="module")
def api(portal):
    """The portal's API as its administrator: quicker than a command for each call."""
    created = portal.run("token", "create", "--email", portal.admin_email, "--name", "listen")
    headers = {"Authorization": f"Bearer {created.stdout.strip()}"}
    with httpx.Client(
        base_url=portal.url, headers=headers, trust_env=False, timeout=WAIT
    ) as client:
        yield client


def webhook(api, own):
    """What the API tells of an endpoint; None when there is none."""
    reply = api.get(f"{WEBHOOKS}/{own}")
    return None if reply.status_code == 404 else reply.raise_for_status().json()


def send_test(api, own):
    return api.post(f"{WEBHOOKS}/{own}/test").raise_for_status().json()


def id_of(listener):
    """Once it listens."""
    listener.err.first_with("Ctrl-C")
    return listener.err.first_with("Listening at").split()[-1].rstrip(".")


def test_events_are_printed_verified_and_sent_on(portal, api):
    answers = Answer(status=202), Answer(status=500, body=b"broken")
    with (
        Receiver(*answers) as receiver,
        Running(portal, "listen", "--forward", receiver.url) as listener,
    ):
        own = id_of(listener)
        passed, failed = send_test(api, own), send_test(api, own)
        told = [listener.out.first_with(f"→ {status} in ") for status in (202, 500)]
        expires_at = webhook(api, own)["expires_at"]
        code = listener.end(signal.SIGINT)

    first, second = receiver.received
    secret = listener.err.first_with("Signed with").split()[-1]
    assert (passed["response_status"], passed["succeeded"]) == (202, True)
    assert (failed["response_status"], failed["response_body"]) == (500, "broken")
    assert standardwebhooks.Webhook(secret).verify(first.body, first.headers)
    for line, received in zip(told, (first, second), strict=True):
        assert f"webhook.test  {received.json['id']}" in line
    assert expires_at is not None
    assert code == 0
    assert webhook(api, own) is None


def test_a_target_that_is_not_there_is_told_to_both_sides(portal, api):
    with Receiver() as receiver:
        gone = receiver.url
    with Running(portal, "listen", "--forward", gone) as listener:
        own = id_of(listener)
        answered = send_test(api, own)
        told = listener.out.first_with("webhook.test")
        code = listener.end(signal.SIGTERM)

    assert answered["response_status"] == 502
    assert f"→ no answer from {gone}" in told
    assert code == 0
    assert webhook(api, own) is None


def test_without_a_target_events_are_only_printed_and_forgeries_refused(portal, api):
    with Running(portal, "listen", "--event", "batch.*") as listener:
        own = id_of(listener)
        shown = webhook(api, own)
        answered = send_test(api, own)
        listener.out.first_with("→ received")
        forged = httpx.post(shown["url"], json={}, trust_env=False)
        listener.err.first_with("Refused a request")
        assert listener.end(signal.SIGTERM) == 0

    assert answered["response_status"] == 200
    assert forged.status_code == 401
    assert shown["event_types"] == ["batch.*"]
    assert len(listener.out.lines) == 1


def test_a_killed_listener_leaves_an_endpoint_that_expires(portal, api):
    with Running(portal, "listen") as listener:
        own = id_of(listener)
        listener.end(signal.SIGKILL)

    assert webhook(api, own)["expires_at"] is not None
    api.delete(f"{WEBHOOKS}/{own}")


def test_events_are_followed_until_ctrl_c(portal, api):
    with (
        Receiver() as receiver,
        Running(portal, "events", "tail", "--type", "webhook.test", "--json") as follower,
    ):
        own = api.post(WEBHOOKS, json={"url": receiver.url}).json()["id"]
        for number in (1, 2):
            send_test(api, own)
            follower.out.first_with(receiver.wait_for(number)[-1].json["id"])
        code = follower.end(signal.SIGINT)
    api.delete(f"{WEBHOOKS}/{own}")

    sent = [received.json for received in receiver.received]
    assert [json.loads(line) for line in follower.out.lines if own in line] == sent
    assert code == 0


# --- Without a portal ------------------------------------------------------------------------


@pytest.mark.django_db
def test_where_loopback_is_refused_it_says_what_to_set(settings):
    settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK = False

    result = CliRunner().invoke(listen, [])

    assert isinstance(result.exception, InvalidInput)
    assert "PORTAL_WEBHOOK_ALLOWED_CIDRS=127.0.0.0/8" in result.exception.message
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.django_db
def test_an_unknown_event_type_is_refused():
    result = CliRunner().invoke(listen, ["--event", "file.upload"])

    assert isinstance(result.exception, InvalidInput)
    assert result.exception.code == "webhook_event_type_unknown"


@pytest.mark.django_db
def test_a_port_that_is_taken_is_an_error_that_names_it():
    with Receiver() as receiver:
        result = CliRunner().invoke(listen, ["--port", str(receiver.port)])

    assert result.exit_code == 1
    assert f"Cannot listen on port {receiver.port}: Address already in use" in result.stderr
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize("url", ["", "localhost:3000", "ftp://x/", "http://", "http://x:y/"])
def test_a_target_that_is_no_url_is_a_usage_error(url):
    result = CliRunner().invoke(listen, ["--forward", url])

    assert result.exit_code == 2
    assert "--forward" in result.stderr


@pytest.mark.django_db
def test_a_sign_of_life_puts_the_end_off():
    endpoint = make_endpoint(expires_at=timezone.now())

    module.give_sign_of_life(endpoint.id)

    endpoint.refresh_from_db()
    assert endpoint.expires_at > timezone.now() + module.LIFETIME / 2


@pytest.mark.django_db(transaction=True)
def test_a_listener_whose_endpoint_ended_ends_too(sent_kicks):
    endpoint = make_endpoint(expires_at=timezone.now())
    endpoints.disable(endpoint_id=endpoint.id)

    with pytest.raises(Gone, match="disabled"):
        module.give_sign_of_life(endpoint.id)
    with pytest.raises(Gone, match="removed"):
        module.give_sign_of_life(uuid7())
