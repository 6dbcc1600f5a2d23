"""Runs whose work is done elsewhere, through the whole engine: real servers, real answers.

(What the tasks themselves say: `test_task_llm_prompt.py`, `test_task_http_runner.py`.)
"""

import base64
import secrets
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest
from django.conf import settings as original
from django.utils import timezone

from accounts.tests.factories import principal_of
from common.models import OutboxEvent
from common.tests.receiver import Answer, Receiver
from uploads.models import RunStatus, Workflow, WorkflowRun, WorkflowSecret
from uploads.storage import open_object
from uploads.tests.factories import make_stored
from uploads.tests.llm_server import MODEL, LlmServer
from uploads.tests.runner_server import RunnerServer
from uploads.workflows import claims, engine, runs

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_run_kicks"),
    pytest.mark.process,
]

DATA_DIRECTORY = original.DOORITO_DATA_DIR  # as the fork server, another process, has it
SECRET = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
TEXT = b"Dear all,\n\nthe meeting is on Friday.\n"


@pytest.fixture(autouse=True)
def _portal(settings, monkeypatch, tmp_path, live_server):
    """Runners reach the portal at the address that it tells them."""
    settings.DOORITO_DATA_DIR = DATA_DIRECTORY
    settings.PUBLIC_URL = live_server.url
    monkeypatch.setattr(engine, "_folders", lambda: tmp_path / "work")


def start(task_name, config, **values):
    workflow = Workflow.objects.create(
        **{
            "name": "Outside",
            "slug": "outside",
            "task_name": task_name,
            "config": config,
            "accepted_types": ["*/*"],
            "max_attempts": 1,
            "time_limit_seconds": 30,
        }
        | values
    )
    file = make_stored(TEXT, filename="letter.txt")
    return runs.start_run(
        principal=principal_of(file.uploaded_by), file_id=file.id, workflow=workflow
    )


def go(run):
    engine.run_due(must_stop=lambda: False)
    run.refresh_from_db()
    return run


def ask(base_url, **config):
    """A run of llm_prompt at a server."""
    WorkflowSecret.objects.get_or_create(name="key", defaults={"value": "sk-test-0123456789abcdef"})
    values = {"max_attempts": config.pop("max_attempts", 1)}
    return start(
        "llm_prompt",
        {
            "base_url": base_url,
            "model": MODEL,
            "api_key": "key",
            "prompt": "Sum up: {{ text }}",
            "price_per_million_input_tokens": "2",
            "price_per_million_output_tokens": "10",
        }
        | config,
        **values,
    )


def hand_over(url, **config):
    """A run of http_runner at a runner."""
    WorkflowSecret.objects.get_or_create(name="signing", defaults={"value": SECRET})
    values = {"max_attempts": config.pop("max_attempts", 1)}
    return start("http_runner", {"url": url, "secret": "signing"} | config, **values)


# --- A language model ----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_a_models_answer_is_the_output_and_its_price_the_cost(stream):
    with LlmServer(key="sk-test-0123456789abcdef") as server:
        run = go(ask(server.base_url, stream=stream))
    assert (run.status, run.output_text) == (RunStatus.COMPLETED, "The file says hello.")
    assert run.cost == Decimal("0.0054")  # 1,200 tokens at 2 and 300 at 10 a million
    assert "the meeting is on Friday" in server.requests[0]["messages"][-1]["content"]


def test_a_server_that_is_busy_is_asked_again_when_it_says():
    answer = Answer(429, headers={"Retry-After": "120"}, body=b'{"error": {"message": "busy"}}')
    with Receiver(default=answer) as receiver:
        run = go(ask(f"{receiver.url}/v1", max_attempts=3))
    assert (run.status, run.attempts_left) == (RunStatus.PENDING, 2)
    assert timedelta(seconds=90) < run.due_at - timezone.now() <= timedelta(seconds=120)


@pytest.mark.parametrize(
    "answer", [Answer(500), Answer(200, body=b"{not json"), Answer(200, body=b'{"choices": []}')]
)
def test_a_server_that_fails_is_asked_again_until_the_attempts_are_used_up(answer, settings):
    settings.PORTAL_WORKFLOW_RETRY_SCHEDULE = [0]
    with Receiver(default=answer) as receiver:
        run = go(ask(f"{receiver.url}/v1", max_attempts=2, stream=False))
        assert len(receiver.received) == 2
    assert (run.status, run.attempt) == (RunStatus.FAILED, 2)
    event = OutboxEvent.objects.get(event_type="workflow_run.failed")
    assert event.payload["error"]["code"] == run.error_code


def test_a_server_that_hangs_ends_the_attempt_not_the_worker():
    with Receiver(default=Answer(delay=20)) as receiver:
        run = go(ask(f"{receiver.url}/v1", timeout_seconds=1, stream=False))
    assert (run.status, run.error_code) == (RunStatus.FAILED, "no_answer")


def test_a_refused_key_is_not_shown():
    with LlmServer(key="another") as server:
        run = go(ask(server.base_url))
    assert (run.status, run.error_code) == (RunStatus.FAILED, "llm_refused_key")
    seen = run.error_message + "".join(line.message for line in run.log_lines.all())
    assert "sk-test" not in seen


# --- An external runner --------------------------------------------------------------------------


def test_a_runner_answers_at_once():
    with RunnerServer(SECRET, answer={"status": "completed", "output_text": "two faces"}) as runner:
        run = go(hand_over(runner.url))
        assert runner.refused == 0
    assert (run.status, run.output_text) == (RunStatus.COMPLETED, "two faces")


def test_a_runner_answers_later_with_progress_and_a_result_file():
    with RunnerServer(SECRET) as runner:
        run = go(hand_over(runner.url))
        assert (run.status, run.is_handed_over) == (RunStatus.RUNNING, True)
        (job,) = runner.wait_for(1)
        assert job.content() == TEXT
        reported = job.report(status="progress", percent=40, message="half way")
        assert reported.status_code == 204, reported.text
        run.refresh_from_db()
        assert (run.progress_percent, run.progress_message) == (40, "half way")
        put = job.put_result("faces.json", b'{"faces": 2}')
        assert put.status_code == 201, put.text
        late = job.report(status="completed", output_text="again")
    run.refresh_from_db()
    assert run.status == RunStatus.COMPLETED
    with open_object(run.result_file) as content:
        assert content.read() == b'{"faces": 2}'
    assert (late.status_code, late.json()["code"]) == (410, "attempt_over")


def test_a_runner_says_that_it_failed():
    with RunnerServer(SECRET) as runner:
        run = go(hand_over(runner.url))
        (job,) = runner.wait_for(1)
        error = {"code": "no_faces", "message": "There is nobody in the picture."}
        job.report(status="failed", error=error)
    run.refresh_from_db()
    assert (run.status, run.error_code) == (RunStatus.FAILED, "no_faces")


def test_silence_fails_the_attempt_and_a_late_answer_is_refused():
    with RunnerServer(SECRET) as runner:
        run = go(hand_over(runner.url, max_attempts=2, deadline_seconds=60))
        WorkflowRun.objects.filter(id=run.id).update(lease_expires_at=timezone.now())
        (job,) = runner.wait_for(1)
        before_the_sweep = job.report(status="completed", output_text="late")
        assert claims.sweep() == 1
        WorkflowRun.objects.filter(id=run.id).update(due_at=timezone.now())
        go(run)
        _, again = runner.wait_for(2)
        after_the_retry = job.report(status="completed", output_text="late")
        in_time = again.report(status="completed", output_text="in time")
    run.refresh_from_db()
    assert [before_the_sweep.status_code, after_the_retry.status_code] == [410, 410]
    assert in_time.status_code == 204
    assert (run.status, run.attempt, run.output_text) == (RunStatus.COMPLETED, 2, "in time")


def test_a_forged_result_url_is_refused():
    with RunnerServer(SECRET) as runner:
        run = go(hand_over(runner.url))
        (job,) = runner.wait_for(1)
    url = job.request["result_url"]
    forged = url[:-1] + ("A" if url[-1] != "A" else "B")
    reply = httpx.post(forged, json={"status": "completed", "output_text": "mine"})
    assert (reply.status_code, reply.json()["code"]) == (404, "link_invalid")
    run.refresh_from_db()
    assert run.status == RunStatus.RUNNING


@pytest.mark.parametrize("status", [500, 503])
def test_a_runner_that_fails_is_asked_again(status, settings):
    settings.PORTAL_WORKFLOW_RETRY_SCHEDULE = [0]
    with Receiver(default=Answer(status)) as receiver:
        run = go(hand_over(receiver.url, max_attempts=2))
        assert len(receiver.received) == 2
    assert run.status == RunStatus.FAILED
