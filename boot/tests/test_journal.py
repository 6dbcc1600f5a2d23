"""The lines of requests and transitions, and what they carry along."""

import json
import re
import time

import httpx
import pytest
import structlog

from accounts.tests.factories import make_token
from boot import celery
from common import journal
from common.models import OutboxEvent
from common.tests.factories import make_endpoint
from common.tests.receiver import Receiver
from common.webhooks import dispatch
from uploads.tests.factories import Api, make_stored

pytestmark = pytest.mark.django_db

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def lines(monkeypatch):
    """What is told, with what it carries along."""
    told = []

    def note(event, **facts):
        told.append(structlog.contextvars.get_contextvars() | facts | {"event": event})

    monkeypatch.setattr(journal, "tell", note)
    return told


@pytest.fixture(autouse=True)
def _data_directory(settings, tmp_path):
    settings.DOORITO_DATA_DIR = tmp_path
    settings.PORTAL_CHUNK_SIZE_MIN = 1


def of(lines, event):
    return [line for line in lines if line["event"] == event]


def test_a_request_is_one_line_with_who_and_how_long(client, lines):
    token, text = make_token()
    answer = client.get(
        "/api/v1/files?secret=1",
        headers={"Authorization": f"Bearer {text}", "X-Forwarded-For": "192.0.2.7"},
    )
    (line,) = of(lines, "request")
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/v1/files", 200)
    assert (line["user"], line["actor"]) == (token.user_id, f"token:{token.id}")
    assert line["client"] == "192.0.2.7"
    assert line["milliseconds"] > 0
    assert line["request_id"] == answer["X-Request-ID"]
    assert text not in str(line)


def test_the_clients_request_id_is_taken_and_a_bad_one_replaced(client, lines):
    assert client.get("/", headers={"X-Request-ID": "from-the-client.1"})["X-Request-ID"] == (
        "from-the-client.1"
    )
    for bad in ("two words", "x" * 200, "a;b"):
        given = client.get("/", headers={"X-Request-ID": bad})["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]{32}", given)


def test_probes_and_static_files_are_told_quietly(client, lines):
    client.get("/healthz/")
    client.get("/favicon.ico")
    assert of(lines, "request") == []


@pytest.mark.django_db(transaction=True)
def test_a_file_can_be_followed_from_its_request_to_its_receiver(lines):
    """Every line of the way, and the receiver's headers, name the request."""
    with Receiver() as receiver:
        make_endpoint(url=receiver.url)
        answer = Api().http.post(
            "/api/v1/files?filename=private.txt",
            data=b"the content of it",
            content_type="application/octet-stream",
            headers={"X-Request-ID": "req-1", "traceparent": TRACEPARENT},
        )
        assert answer.status_code == 201, answer.content
        dispatch.run()
        headers = receiver.received[0].headers
    events = [line["event"] for line in lines if line.get("request_id") == "req-1"]
    assert events[:2] == ["file_stored", "event_emitted"]
    assert {"request", "delivery_attempted"} < set(events)
    assert headers["x-request-id"] == "req-1"
    assert headers["traceparent"].startswith(f"00-{TRACE}-")
    assert headers["traceparent"] != TRACEPARENT
    assert "private" not in str(lines)


@pytest.mark.django_db(transaction=True)
def test_each_transition_of_an_upload_is_a_line(lines):
    file = make_stored(b"0123456789ABCDE", chunk=10)
    told = [line["event"] for line in lines]
    assert told == [
        "session_created",
        "part_received",
        "part_received",
        "file_stored",
        "event_emitted",
    ]
    assert of(lines, "file_stored")[0]["file_id"] == file.id
    assert [line["size_bytes"] for line in of(lines, "part_received")] == [10, 5]


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_not_told(lines, monkeypatch):
    def fail(_file):
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr("uploads.files.hooks.on_stored", [fail])
    with pytest.raises(RuntimeError):
        make_stored(b"0123456789")
    assert of(lines, "file_stored") == of(lines, "event_emitted") == []
    assert not OutboxEvent.objects.filter(event_type="file.uploaded").exists()


def test_a_sweep_that_did_something_is_a_line_and_one_that_found_nothing_is_quiet(lines):
    sweep = "uploads.tasks.expire_files"
    celery._tell_of_task(sweep, 0, state="SUCCESS", milliseconds=3)
    assert lines == []
    celery._tell_of_task(sweep, 7, state="SUCCESS", milliseconds=3)
    celery._tell_of_task(sweep, None, state="FAILURE", milliseconds=3)
    celery._tell_of_task("accounts.tasks.send_reset_link", True, state="SUCCESS", milliseconds=3)
    assert [(line["event"], line["outcome"]) for line in lines] == [
        ("sweep_done", "success"),
        ("sweep_done", "failure"),
        ("task_done", "success"),
    ]


# --- A whole portal ---------------------------------------------------------------------------

_CONTENT = b"The content that nobody but its reader is to see."


def test_the_log_of_a_whole_portal_tells_everything_but_secrets(portal):
    with Receiver() as receiver:
        secrets = _use(portal, receiver)
    log = portal.logs()
    assert set(re.findall(r"INFO doorito: (\w+)", log)) >= {
        *("request", "session_created", "part_received", "file_stored", "event_emitted"),
        *("delivery_attempted", "run_ended", "file_deleted"),
    }
    for secret in secrets:
        assert secret not in log


_EMAIL, _PASSWORD = "reader@example.com", "correct horse of the journal"
_SET_UP = f"""
from accounts import services
from common.models import WebhookEndpoint
from common.webhooks import sending
from uploads.models import Workflow
user = services.create_user(email="{_EMAIL}", password="{_PASSWORD}")
Workflow.objects.create(name="Journal", slug="journal", task_name="extract_text",
    accepted_types=["text/plain"], auto_start=True, auto_start_user_id=user.id)
secret = sending.new_secret()
WebhookEndpoint.objects.create(url="%s?key=of-the-receiver", secret=secret, user_id=user.id)
print(services.create_token(user=user, name="a script")[1], secret)
"""


def _use(portal, receiver):
    """Do something of everything. Returns what must not be in the log."""
    made = portal.manage("shell", "--no-imports", "-c", _SET_UP % receiver.url)
    assert made.returncode == 0, made.stderr
    token, secret = made.stdout.split()
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=portal.url, trust_env=False, headers=headers, timeout=30) as client:
        begun = client.post(
            "/api/v1/uploads/sessions",
            json={"filename": "private-name.txt", "size_bytes": len(_CONTENT)},
        ).json()
        session = f"/api/v1/uploads/sessions/{begun['session_id']}"
        assert client.put(f"{session}/parts/1", content=_CONTENT).status_code == 200
        assert client.post(f"{session}/finalize").status_code == 200
        file = f"/api/v1/files/{begun['file_id']}"
        link = _wait_for(lambda: _link(receiver))
        assert httpx.get(link, trust_env=False).content == _CONTENT
        httpx.get(f"{link}x", trust_env=False)
        _wait_for(lambda: "run_ended" in portal.logs())
        assert client.delete(file).status_code == 204
        client.get("/api/v1/files", params={"cursor": "of-the-query"})
        client.get("/app/password/reset/MQ/of-the-mail/")
        client.get("/api/v1/files", headers={"Authorization": f"Bearer {token[:-1]}x"})
        login = client.get("/app/login/")
        client.post(
            "/app/login/",
            data={
                "username": _EMAIL,
                "password": _PASSWORD,
                "csrfmiddlewaretoken": login.cookies.get("csrftoken", ""),
            },
        )
        cookie = client.cookies.get("sessionid") or "no-cookie-of-a-session"
    return [
        *(token, token[:-1], secret, secret.removeprefix("whsec_"), link.rpartition("/")[2]),
        *("of-the-receiver", "of-the-query", "of-the-mail", "private-name", cookie),
        *(_PASSWORD, _CONTENT.decode()),
    ]


def _link(receiver):
    for request in receiver.received:
        event = json.loads(request.body)
        if event["type"] == "file.uploaded":
            return event["data"]["file"]["url"].replace("localhost", "127.0.0.1")
    return None


def _wait_for(found, seconds=60):
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return result
