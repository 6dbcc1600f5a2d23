"""The task http_runner, against a real runner and against servers that are none."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from django.utils.http import http_date
from pydantic import ValidationError
from standardwebhooks import Webhook

from common.errors import InvalidInput
from common.tests.receiver import Answer, Close, Drip, Hang, Receiver
from common.webhooks import sending
from uploads.tests.runner_server import RunnerServer
from uploads.tests.workflow_context import context_for
from uploads.workflows import HandedOver, TaskFailed, TryAgain, registry
from uploads.workflows.answers import BODY_MAX, OUTPUT_TEXT_MAX, RunnerAnswer
from uploads.workflows.tasks import http_runner

SECRET = sending.new_secret()
TOKEN = "Bearer 0123456789abcdef"
CALLBACK = "https://portal.example/api/v1/runs/callback/once"
SOON = 1  # second, for what never comes


@pytest.fixture
def make(tmp_path):
    """Makes a context for a file; keyword arguments are the configuration's."""

    def make(url, *, secret=SECRET, token=TOKEN, callback_url=CALLBACK, seconds=60, **config):
        path = tmp_path / "scan é.pdf"
        path.write_bytes(b"%PDF-1.7")
        return context_for(
            "http_runner",
            path,
            "application/pdf",
            folder=tmp_path,
            config={"url": url, "secret": "signing", **config},
            secrets={"signing": secret, "token": token},
            callback_url=callback_url,
            seconds=seconds,
        )

    return make


def fails(context, kind=TaskFailed):
    """The error that the task ends with; it never holds a secret."""
    with pytest.raises(TaskFailed) as failed:
        http_runner.http_runner(context)
    assert type(failed.value) is kind, failed.value
    assert SECRET not in failed.value.message
    assert TOKEN not in failed.value.message
    return failed.value


def answering(content, status=200):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Receiver(Answer(status=status, body=body))


# --- The request ---------------------------------------------------------------------------------


def test_the_request_is_signed_and_says_all_that_a_runner_needs(make):
    with RunnerServer(SECRET) as runner:
        context = make(runner.url, deadline_seconds=600, parameters={"language": "pl", "n": [1]})
        before = datetime.now(UTC).replace(microsecond=0)

        http_runner.http_runner(context)

        (job,) = runner.jobs
    deadline = datetime.fromisoformat(job.request.pop("deadline"))
    assert before <= deadline - timedelta(seconds=600) <= datetime.now(UTC)
    file = context.file
    assert job.request == {
        "type": "workflow_run.requested",
        "run_id": str(context.run_id),
        "attempt": 1,
        "workflow": "test",
        "file": {
            "id": str(file.id),
            "original_filename": "scan é.pdf",
            "content_type": "application/pdf",
            "size_bytes": 8,
            "sha256": file.sha256,
            "url": file.url,
            "metadata": {},
        },
        "result_url": CALLBACK,
        "parameters": {"language": "pl", "n": [1]},
    }
    assert job.headers["content-type"] == "application/json"
    assert "authorization" not in job.headers


def test_each_attempt_is_a_message_of_its_own_and_its_body_is_signed(make):
    with Receiver(default=Answer(status=202)) as receiver:
        context = make(receiver.url)
        for attempt in (1, 2):
            http_runner.http_runner(replace(context, attempt=attempt))

        for request in receiver.received:
            assert Webhook(SECRET).verify(request.body, request.headers) == request.json
        ids = [request.headers["webhook-id"] for request in receiver.received]
    assert ids == [f"{context.run_id}-1", f"{context.run_id}-2"]


def test_a_runner_with_another_secret_refuses_the_request(make):
    with RunnerServer(sending.new_secret()) as runner:
        error = fails(make(runner.url))

        assert (error.code, runner.refused, runner.jobs) == ("runner_refused", 1, [])
    assert "The signature is not right." in error.message


def test_headers_and_the_authorization_go_with_the_request(make):
    with RunnerServer(SECRET, authorization=TOKEN) as runner:
        context = make(runner.url, authorization="token", headers={"X-Tenant": "acme"})

        http_runner.http_runner(context)

        assert runner.jobs[0].headers["x-tenant"] == "acme"


@pytest.mark.parametrize("secret", ["", " ", "whsec_", "whsec_not base64!", "whsec_é", "whsec_abc"])
def test_a_secret_that_cannot_sign_is_refused(make, secret):
    with Receiver() as receiver:
        assert fails(make(receiver.url, secret=secret)).code == "secret_invalid"
        assert receiver.received == []


def test_an_authorization_that_is_no_header_is_refused(make):
    with Receiver() as receiver:
        context = make(receiver.url, authorization="token", token="a\r\nX-Evil: 1")

        assert fails(context).code == "secret_invalid"
        assert receiver.received == []


# --- Answers -------------------------------------------------------------------------------------


def test_a_runner_may_answer_at_once(make):
    with RunnerServer(SECRET, {"status": "completed", "output_text": "Żółw\x00"}) as runner:
        result = http_runner.http_runner(make(runner.url))

    assert result.output_text == "Żółw\ufffd"
    assert result.file is None


@pytest.mark.parametrize(
    ("retry", "kind"), [(True, TryAgain), (False, TaskFailed), (None, TaskFailed)]
)
def test_a_runner_says_why_it_failed_and_whether_to_try_again(make, retry, kind):
    answer = {"status": "failed", "error": {"code": "no_faces", "message": "There is nobody."}}
    if retry is not None:
        answer["retry"] = retry
    with RunnerServer(SECRET, answer) as runner:
        error = fails(make(runner.url), kind)

    assert (error.code, error.message) == ("no_faces", "There is nobody.")


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (202, b""),
        (202, b"<html>queued</html>"),
        (202, {"status": "completed"}),
        (200, {"status": "accepted"}),
        (200, {"status": "progress", "percent": 5, "message": "Queued"}),
    ],
)
def test_a_runner_may_take_its_time(make, status, content):
    with answering(content, status) as receiver:
        context = make(receiver.url, deadline_seconds=77)

        assert http_runner.http_runner(context) == HandedOver(seconds=77)

    expected = (5, "Queued") if b"Queued" in json.dumps(str(content)).encode() else None
    assert context.reporter.steps[-1] == (expected or (None, "The runner has it"))


def test_a_runner_reports_to_the_result_url(make):
    with Receiver() as portal, RunnerServer(SECRET) as runner:
        http_runner.http_runner(make(runner.url, callback_url=f"{portal.url}/once"))
        (job,) = runner.wait_for(1)
        job.report(status="progress", percent=50, message="Half")
        job.put_result("faces.json", b"{}")
        job.report(status="completed", output_text="Two faces")

        progress, file, end = portal.received
    assert RunnerAnswer.model_validate_json(progress.body).percent == 50
    assert (file.method, file.path, file.body) == ("PUT", "/hook/once?filename=faces.json", b"{}")
    assert RunnerAnswer.model_validate_json(end.body).output_text == "Two faces"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, TaskFailed, "runner_refused"),
        (401, TaskFailed, "runner_refused"),
        (404, TaskFailed, "runner_refused"),
        (410, TaskFailed, "runner_refused"),
        (422, TaskFailed, "runner_refused"),
        (408, TryAgain, "runner_unavailable"),
        (429, TryAgain, "runner_unavailable"),
        (500, TryAgain, "runner_unavailable"),
        (503, TryAgain, "runner_unavailable"),
        (201, TryAgain, "answer_malformed"),
        (204, TryAgain, "answer_malformed"),
    ],
)
def test_a_status_decides_whether_to_try_again(make, status, kind, code):
    body = b"" if status == 204 else f"No: {SECRET} {TOKEN}\n".encode() + b"so " * 500
    with answering(body, status) as receiver:
        error = fails(make(receiver.url, authorization="token"), kind)

        assert len(receiver.received) == 1
    assert error.code == code
    assert len(error.message) < 450
    assert status < 300 or "No: (hidden) (hidden) so so" in error.message


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_runners_wait_is_honoured(make, status):
    with Receiver(Answer(status=status, headers={"Retry-After": "17"})) as receiver:
        assert fails(make(receiver.url), TryAgain).retry_after == 17
    moment = http_date((timezone.now() + timedelta(seconds=600)).timestamp())
    with Receiver(Answer(status=status, headers={"Retry-After": moment})) as receiver:
        assert 400 < fails(make(receiver.url), TryAgain).retry_after <= 601


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"ok",
        b"\xff",
        b"[" * 100_000,
        b'{"status": "completed", "output_text": "cut',
        b'{"status": "completed", "output_text": "\\ud800"}',
        [],
        {},
        {"status": "done"},
        {"status": "completed", "text": "in another member"},
        {"status": "completed", "output_text": 5},
        {"status": "completed", "output_text": "x" * (OUTPUT_TEXT_MAX + 1)},
        {"status": "completed", "error": {"code": "a", "message": "b"}},
        {"status": "completed", "retry": True},
        {"status": "accepted", "output_text": "not yet"},
        {"status": "progress", "percent": 101},
        {"status": "progress", "percent": "5"},
        {"status": "progress", "message": "x" * 1001},
        {"status": "failed"},
        {"status": "failed", "error": "because"},
        {"status": "failed", "error": {"code": "Not a code", "message": "b"}},
        {"status": "failed", "error": {"code": "a" * 65, "message": "b"}},
    ],
    ids=lambda content: str(content)[:40],
)
def test_an_answer_of_the_wrong_shape_is_tried_again(make, content):
    with answering(content) as receiver:
        error = fails(make(receiver.url), TryAgain)

    assert error.code == "answer_malformed"
    assert len(error.message) < 450


def test_a_mistake_in_an_answer_is_named(make):
    with answering({"status": "failed", "error": {"code": "a"}}) as receiver:
        assert "error.message: Field required" in fails(make(receiver.url), TryAgain).message


def test_a_huge_answer_is_not_taken(make):
    with answering(b" " * (BODY_MAX + 1)) as receiver:
        assert fails(make(receiver.url)).code == "answer_too_large"


def test_a_redirect_is_not_followed(make):
    with Receiver() as target:
        with Receiver(Answer(status=307, headers={"Location": target.url})) as receiver:
            assert fails(make(receiver.url)).code == "redirect_refused"

        assert target.received == []


@pytest.mark.parametrize("reaction", [Hang(), Drip(interval=0.02)])
def test_a_runner_that_does_not_answer_in_time_is_tried_again(make, reaction):
    with Receiver(reaction) as receiver:
        assert fails(make(receiver.url, timeout_seconds=SOON), TryAgain).code == "no_answer"


def test_a_runner_that_is_not_there_is_tried_again(make):
    with Receiver(Close()) as receiver:
        url = receiver.url
        assert fails(make(url), TryAgain).code == "unreachable"

    assert fails(make(url), TryAgain).code == "unreachable"


def test_an_answer_that_is_cut_is_tried_again(make):
    answer = Answer(headers={"Content-Length": "1000"}, body=b'{"status": "completed"}')
    with Receiver(answer) as receiver:
        assert fails(make(receiver.url), TryAgain).code == "answer_malformed"


# --- The configuration ---------------------------------------------------------------------------


def test_an_address_inside_the_network_is_refused_when_it_is_saved_and_when_it_is_asked(
    make, settings
):
    with Receiver() as receiver:
        context = make(receiver.url)
        settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK = False

        with pytest.raises(ValidationError, match="PORTAL_WEBHOOK_ALLOWED_CIDRS"):
            make(receiver.url)
        refused = fails(context)
        assert refused.code == "address_refused"
        assert "PORTAL_WEBHOOK_ALLOWED_CIDRS" in str(refused)
        assert "127.0.0.1" not in str(refused)
        assert receiver.received == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"url": "ftp://runner.example/"}, "http:// or https://"),
        ({"url": "http://127.0.0.1/" + "x" * 2048}, "at most 2048"),
        ({"secret": ""}, "at least 1"),
        ({"headers": {"Authorization": "Bearer x"}}, "into a secret"),
        ({"headers": {"webhook-id": "1"}}, "set by Doorito"),
        ({"headers": {"Host": "x"}}, "set by Doorito"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "one line"),
        ({"headers": {"X A": "1"}}, "not the name"),
        ({"parameters": {"a": "x" * 20_000}}, "more than 16,384"),
        ({"parameters": {"a": float("nan")}}, "JSON"),
        ({"parameters": []}, "dictionary"),
        ({"deadline_seconds": 0}, "greater than"),
        ({"timeout_seconds": 601}, "less than"),
        ({"unknown": 1}, "not permitted"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_configuration_that_cannot_work_is_not_saved(config, message):
    values = {"url": "http://127.0.0.1:9/", "secret": "signing", **config}

    with pytest.raises(InvalidInput, match=message) as refused:
        registry.check_config(registry.get("http_runner"), values)

    assert refused.value.code == "config_invalid"
    assert refused.value.extra["errors"][0]["field"].partition(".")[0] == next(iter(config))


def test_only_the_parameters_may_be_set_anew_by_who_starts_a_run():
    task = registry.get("http_runner")
    adjustable = [
        name
        for name, field in task.config.model_fields.items()
        if registry.is_marked(field, registry.ADJUSTABLE)
    ]
    values = {"url": "http://127.0.0.1:9/", "secret": "a", "authorization": "b"}
    config = task.config.model_validate(values)

    assert adjustable == ["parameters"]
    assert task.secret_names(config.model_dump()) == ["a", "b"]


def test_a_secret_is_taken_with_or_without_its_prefix(make):
    plain = base64.b64encode(b"0123456789abcdef01234567").decode()
    with RunnerServer(f"whsec_{plain}") as runner:
        for secret in (plain, f" whsec_{plain}\n"):
            http_runner.http_runner(make(runner.url, secret=secret))

        assert len(runner.jobs) == 2
