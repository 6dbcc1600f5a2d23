"""The example runner does what it shows: with the product, and with whoever would cheat it."""

import json
import queue
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from boot.tests.portal import ROOT, clean_environment, free_port
from common.ids import uuid7
from common.outbox import schemas as event_schemas
from common.tests.receiver import Answer, Receiver
from common.webhooks.sending import new_secret
from uploads.tests.factories import sha256, some_bytes

pytestmark = pytest.mark.process

WAIT = 60  # seconds, on a busy machine
DATA = some_bytes(3_000_000)
TOKEN = "drt_of-the-test"


class Running:
    """The script as a process: what it prints, and a way to send it events."""

    def __init__(self, process, url, secret):
        self.process, self.url, self.webhook = process, url, Webhook(secret)
        self.lines = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def line(self):
        """The next that it prints."""
        return self.lines.get(timeout=WAIT)

    def send(self, event, *, secret=None, **headers):
        body = json.dumps(event)
        now = datetime.now(UTC)
        signer = Webhook(secret) if secret else self.webhook
        signed = {
            "webhook-id": event["id"],
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signer.sign(event["id"], now, body),
        }
        return httpx.post(
            self.url, content=body, headers=signed | headers, timeout=WAIT, trust_env=False
        ).status_code


@contextmanager
def running(*, secret, portal, token=TOKEN, port=None):
    port = port or free_port()
    command = [sys.executable, str(ROOT / "scripts" / "example_runner.py"), "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--portal", portal],
        env=clean_environment()
        | {"WEBHOOK_SECRET": secret, "DOORITO_TOKEN": token, "no_proxy": "*"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    runner = Running(process, f"http://127.0.0.1:{port}/", secret)
    try:
        assert runner.line() == f"listening on {runner.url}"
        yield runner
    finally:
        process.kill()
        process.wait(timeout=WAIT)
        runner.reader.join(timeout=WAIT)
        process.stdout.close()


def output_of(made):
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def test_a_file_is_announced_fetched_checked_and_consumed(portal):
    port = free_port()
    email = ("--email", portal.admin_email)
    token = output_of(portal.run("token", "create", *email, "--name", "runner"))
    address = f"http://127.0.0.1:{port}/"
    secret = output_of(portal.run("webhook", "add", address, "--event", "file.uploaded"))

    with (
        running(secret=secret, portal=portal.url, token=token, port=port) as runner,
        httpx.Client(
            base_url=portal.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=WAIT,
            trust_env=False,
        ) as api,
    ):
        made = api.post("/api/v1/files", params={"filename": "report.bin"}, content=DATA)
        assert made.status_code == 201, made.text
        file_id = made.json()["id"]
        assert runner.line() == f"worked: report.bin, {len(DATA)} bytes, {sha256(DATA)}"
        assert runner.line() == f"consumed: {file_id}"
        deadline = time.monotonic() + WAIT
        while api.get(f"/api/v1/files/{file_id}").json()["status"] != "processed":
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture
def portal_double():
    """It serves the bytes of every file, and takes every consumption."""
    with Receiver(default=Answer(body=DATA)) as receiver:
        yield receiver


@pytest.fixture
def runner(portal_double):
    with running(secret=new_secret(), portal=f"http://127.0.0.1:{portal_double.port}") as runner:
        yield runner


def event_of(portal_double, event_type="file.uploaded", **values):
    event = event_schemas.example(event_type) | {"id": str(uuid7())}
    event["data"]["file"] |= {
        "url": f"http://127.0.0.1:{portal_double.port}/f/link",
        "size_bytes": len(DATA),
        "sha256": sha256(DATA),
    } | values
    return event


def consumed(file_id="1"):
    return Answer(body=json.dumps({"id": file_id}).encode())


def test_a_repeated_event_is_worked_on_once(runner, portal_double):
    portal_double.answers.extend([Answer(body=DATA), consumed()] * 2)
    first, second = event_of(portal_double), event_of(portal_double)

    assert [runner.send(event) for event in (first, first, second, first)] == [204] * 4

    lines = [runner.line() for _ in range(4)]
    assert [line.split(":")[0] for line in lines] == ["worked", "consumed"] * 2
    consumption = portal_double.received[1]
    assert (consumption.method, consumption.path) == (
        "POST",
        f"/api/v1/files/{first['data']['file']['id']}/consume",
    )
    assert consumption.headers["authorization"] == f"Bearer {TOKEN}"
    assert len(portal_double.received) == 4


def test_an_event_that_was_not_signed_with_its_secret_is_refused(runner, portal_double):
    event = event_of(portal_double)

    assert runner.send(event, secret=new_secret()) == 401
    assert runner.send(event, **{"webhook-timestamp": "1614265330"}) == 401
    assert runner.send(event, **{"webhook-signature": "nonsense"}) == 401
    assert runner.send(event, **{"webhook-id": str(uuid7())}) == 401

    assert all(runner.line().startswith("refused") for _ in range(4))
    assert portal_double.received == []


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size_bytes": 1}])
def test_a_file_that_is_not_what_was_announced_is_not_consumed(runner, portal_double, wrong):
    runner.send(event_of(portal_double, **wrong))

    assert runner.line().startswith("failed: report.pdf")
    assert [request.method for request in portal_double.received] == ["GET"]


def test_what_failed_is_worked_on_when_it_is_sent_again(runner, portal_double):
    portal_double.answers.extend([Answer(status=500), Answer(body=DATA), consumed()])
    event = event_of(portal_double)

    runner.send(event)
    assert runner.line().startswith("failed: report.pdf")
    runner.send(event)

    assert runner.line().startswith("worked: report.pdf")


def test_other_events_are_taken_and_left_alone(runner, portal_double):
    assert runner.send(event_of(portal_double, "file.deleted")) == 204
    runner.send(event_of(portal_double))

    assert runner.line().startswith("worked")
    assert portal_double.wait_for(2)[0].method == "GET"


def test_a_body_that_is_too_large_is_refused_unread(runner):
    address = urlsplit(runner.url)
    with closing(HTTPConnection(address.hostname, address.port, timeout=WAIT)) as connection:
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", str(2**20 + 1))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_it_says_what_it_needs():
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "example_runner.py"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT,
    )

    assert run.returncode == 2
    assert "--secret" in run.stderr
