"""The task llm_prompt, against servers that speak the API, and servers that do not."""

import json
import logging
import tracemalloc
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from django.utils.http import http_date
from docx import Document
from pydantic import ValidationError

from common.errors import InvalidInput
from common.tests.receiver import Answer, Close, Drip, Hang, Receiver
from uploads.tests.llm_server import MODEL, LlmServer
from uploads.tests.workflow_context import context_for, input_file
from uploads.workflows import TaskFailed, TryAgain, outbound, registry
from uploads.workflows.context import PreviousResult
from uploads.workflows.tasks import llm_prompt
from uploads.workflows.tasks.llm_prompt import LlmPromptConfig

KEY = "sk-test-0123456789abcdefghij"
SOON = 1  # second, for what never comes
PRICES = {"price_per_million_input_tokens": "2.5", "price_per_million_output_tokens": "10"}


@pytest.fixture
def make(tmp_path):
    """Makes a context for a text file; keyword arguments are the configuration's."""

    def make(base_url, *, text="Hello there.", previous=None, key=KEY, seconds=60, **config):
        path = tmp_path / "letter.txt"
        path.write_text(text)
        folder = tmp_path / "work"
        folder.mkdir(exist_ok=True)
        defaults = {"base_url": base_url, "model": MODEL, "prompt": "Sum up: {{ text }}"}
        return context_for(
            "llm_prompt",
            path,
            "text/plain",
            folder=folder,
            config={**defaults, "api_key": "openai", **PRICES, **config},
            secrets={"openai": key},
            previous=previous,
            seconds=seconds,
        )

    return make


def fails(context, kind=TaskFailed):
    """The error that the task ends with; it never holds the key."""
    with pytest.raises(TaskFailed) as failed:
        llm_prompt.llm_prompt(context)
    assert type(failed.value) is kind, failed.value
    assert KEY not in failed.value.message
    return failed.value


# --- Answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_the_answer_is_the_output_and_the_result_file(make, stream):
    with LlmServer(key=KEY) as server:
        context = make(server.base_url, stream=stream, system_prompt="Be brief.", temperature=0.5)

        result = llm_prompt.llm_prompt(context)

        (request,) = server.requests
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert result.output_text == "The file says hello."
    assert result.file.read_text() == "The file says hello."
    assert result.filename == "letter.test.md"
    assert request["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Sum up: Hello there."},
    ]
    assert (request["max_tokens"], request["temperature"]) == (2048, 0.5)
    assert request["stream"] is stream


def test_a_server_without_a_key_gets_none(make):
    with LlmServer() as server:
        llm_prompt.llm_prompt(make(f"{server.base_url}/", api_key=""))

        assert "authorization" not in server.headers[0]


@pytest.mark.parametrize(
    ("end", "path"),
    [
        ("", "/hook/chat/completions"),
        ("/", "/hook/chat/completions"),
        ("/a%20b?version=2&x=%2F", "/hook/a%20b/chat/completions?version=2&x=%2F"),
    ],
)
def test_the_path_is_that_of_the_base_url_and_its_query_stays(make, end, path):
    with Receiver(Answer(status=400)) as receiver:
        fails(make(f"{receiver.url}{end}"))

        assert receiver.received[0].path == path


def test_the_prompt_knows_the_file(make):
    with LlmServer(echo=True) as server:
        prompt = (
            "{{ filename }} {{ content_type }} {{ size_bytes }} {{ metadata|length }} {{ text }}"
        )

        result = llm_prompt.llm_prompt(make(server.base_url, prompt=prompt))

    assert result.output_text == "letter.txt text/plain 12 0 Hello there."


def test_the_text_of_a_document_is_extracted(make, tmp_path):
    document = Document()
    document.add_paragraph("The invoice is due on Friday.")
    path = tmp_path / "invoice.docx"
    document.save(path)
    docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    with LlmServer(echo=True) as server:
        config = {"base_url": server.base_url, "model": MODEL, "prompt": "{{ text }}"}

        result = llm_prompt.llm_prompt(
            context_for("llm_prompt", path, docx, folder=tmp_path, config=config)
        )

    assert "The invoice is due on Friday." in result.output_text


@pytest.mark.parametrize(
    ("content_type", "output", "expected"),
    [
        ("text/markdown", "Short.", "From the file before."),
        ("image/png", "From the output before.", "From the output before."),
        (None, "From the output before.", "From the output before."),
        (None, "", "Hello there."),
    ],
)
def test_the_text_that_the_workflow_before_left_goes_first(
    make, tmp_path, content_type, output, expected
):
    path = tmp_path / "before.md"
    path.write_text("From the file before.")
    file = input_file(path, content_type) if content_type else None
    with LlmServer(echo=True) as server:
        context = make(
            server.base_url,
            prompt="{{ text }}",
            previous=PreviousResult(task_name="extract_text", output_text=output, file=file),
        )

        assert llm_prompt.llm_prompt(context).output_text.strip() == expected


def test_a_long_text_is_cut_and_the_log_says_so(make, caplog):
    with LlmServer(echo=True) as server:
        context = make(
            server.base_url, text="x" * 5000, prompt="{{ text }}", max_input_characters=1000
        )

        assert llm_prompt.llm_prompt(context).output_text == "x" * 1000
    assert "The text is cut after 1,000 characters." in caplog.messages


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_reached_the_limit_is_kept_and_the_log_says_so(make, caplog, stream):
    with LlmServer(finish_reason="length") as server:
        context = make(server.base_url, stream=stream, max_output_tokens=300)

        assert llm_prompt.llm_prompt(context).output_text == "The file says hello."
    assert "The answer is cut after 300 tokens." in caplog.messages


def test_a_stream_tells_its_progress(make):
    with LlmServer(reply="word " * 100) as server:
        context = make(server.base_url, max_output_tokens=200)

        llm_prompt.llm_prompt(context)

    percents = [percent for percent, _ in context.reporter.steps if percent is not None]
    assert percents == sorted(percents)
    assert len(percents) >= 5
    assert percents[-1] > 40


def test_a_stream_without_its_end_mark_is_whole_when_the_model_has_finished(make):
    with LlmServer(says_done=False) as server:
        assert llm_prompt.llm_prompt(make(server.base_url)).output_text == "The file says hello."


def test_a_server_that_does_not_stream_may_answer_in_one_piece(make):
    completion = {"choices": [{"message": {"content": "Whole."}, "finish_reason": "stop"}]}
    answer = Answer(
        headers={"Content-Type": "application/json"}, body=json.dumps(completion).encode()
    )
    with Receiver(answer) as receiver:
        context = make(receiver.url)

        assert llm_prompt.llm_prompt(context).output_text == "Whole."


def test_newer_models_get_the_limit_by_its_newer_name(make):
    with LlmServer() as server:
        llm_prompt.llm_prompt(
            make(server.base_url, max_tokens_parameter="max_completion_tokens", max_output_tokens=7)
        )

        assert server.requests[0]["max_completion_tokens"] == 7
        assert "max_tokens" not in server.requests[0]


# --- JSON ----------------------------------------------------------------------------------------


def test_json_output_is_asked_for_and_becomes_a_json_file(make):
    with LlmServer(reply='{"total": 12.5}') as server:
        result = llm_prompt.llm_prompt(make(server.base_url, json_output=True))

        assert server.requests[0]["response_format"] == {"type": "json_object"}
    assert result.filename == "letter.test.json"
    assert json.loads(result.file.read_text()) == {"total": 12.5}


@pytest.mark.parametrize("reply", ["Here you are: {}", "[1]", '{"a": NaN}', '{"a": ', "[" * 50_000])
def test_an_answer_that_is_no_json_object_is_tried_again_and_paid_for(make, reply):
    with LlmServer(reply=reply) as server:
        context = make(server.base_url, json_output=True)

        assert fails(context, TryAgain).code == "answer_malformed"
    assert context.reporter.spent == Decimal("0.006")


def test_json_that_the_limit_cut_is_not_tried_again(make):
    with LlmServer(reply='{"a": ', finish_reason="length") as server:
        assert fails(make(server.base_url, json_output=True)).code == "answer_cut"


# --- Money ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_the_cost_is_exact_when_the_server_counts(make, stream):
    with LlmServer() as server:
        context = make(server.base_url, stream=stream)

        llm_prompt.llm_prompt(context)

    # 1,200 tokens in, 300 out.
    assert context.reporter.spent == Decimal("0.003") + Decimal("0.003")


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": -1, "completion_tokens": 5}, {"a": 1}])
@pytest.mark.parametrize("stream", [True, False])
def test_the_cost_is_estimated_when_the_server_does_not_count(make, caplog, stream, usage):
    caplog.set_level(logging.INFO)
    with LlmServer(usage=usage, reply="x" * 4000) as server:
        context = make(
            server.base_url, stream=stream, text="y" * 392, prompt="{{ text }}{{ 12345678 }}"
        )

        llm_prompt.llm_prompt(context)

    # 400 bytes in, 4,000 out; 4 bytes each token.
    assert context.reporter.spent == Decimal("0.00025") + Decimal("0.01")
    assert "estimated: the server did not tell" in caplog.text


def test_a_stream_that_was_cut_is_paid_for_as_far_as_it_came(make):
    with LlmServer(reply="abcd " * 10, cut_after=4) as server:
        context = make(server.base_url, price_per_million_input_tokens="0")

        assert fails(context, TryAgain).code == "answer_malformed"
    # "abcd abcd abcd abcd" has 19 bytes.
    assert context.reporter.spent == 5 * Decimal("0.00001")


def test_a_call_that_could_cost_more_than_the_limit_is_not_made(make):
    with LlmServer() as server:
        # 22 + 4 bytes are 7 tokens, at 2.5; with 1,000 tokens at 10: 0.0100175.
        worst = {"prompt": "{{ text }}", "text": "x" * 26, "max_output_tokens": 1000}

        error = fails(make(server.base_url, **worst, cost_limit="0.010017"))
        assert error.code == "cost_limit"
        assert "0.0100175 USD" in error.message
        assert server.requests == []
        llm_prompt.llm_prompt(make(server.base_url, **worst, cost_limit="0.010018"))
        assert len(server.requests) == 1


def test_a_prompt_with_too_many_tokens_is_not_sent(make):
    with LlmServer() as server:
        context = make(server.base_url, text="é" * 200, prompt="{{ text }}", max_input_tokens=99)

        assert fails(context).code == "input_too_long"
        assert server.requests == []
    assert context.reporter.spent == 0


def test_a_request_that_was_refused_costs_nothing(make):
    with Receiver(Answer(status=400, body=b"no")) as receiver:
        context = make(receiver.url)
        fails(context)

    assert context.reporter.spent == 0


# --- Errors --------------------------------------------------------------------------------------


def error_body(message):
    return json.dumps({"error": {"message": message}}).encode()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, TaskFailed, "llm_refused"),
        (401, TaskFailed, "llm_refused_key"),
        (402, TaskFailed, "llm_refused"),
        (403, TaskFailed, "llm_refused_key"),
        (404, TaskFailed, "llm_not_found"),
        (408, TryAgain, "llm_unavailable"),
        (413, TaskFailed, "llm_refused"),
        (422, TaskFailed, "llm_refused"),
        (429, TryAgain, "rate_limited"),
        (500, TryAgain, "llm_unavailable"),
        (503, TryAgain, "llm_unavailable"),
        (529, TryAgain, "llm_unavailable"),
        (204, TryAgain, "llm_unavailable"),
    ],
)
def test_a_status_decides_whether_to_try_again(make, status, kind, code, stream):
    body = b"" if status == 204 else error_body(f"Because\nof {KEY} " + "so " * 500)
    with Receiver(Answer(status=status, body=body)) as receiver:
        error = fails(make(receiver.url, stream=stream), kind)

        assert len(receiver.received) == 1
    assert error.code == code
    assert len(error.message) < 450
    assert status == 204 or "Because of (hidden) so so" in error.message


def test_a_wrong_key_and_an_unknown_model_are_named(make):
    with LlmServer(key="another") as server:
        assert fails(make(server.base_url)).code == "llm_refused_key"
    with LlmServer() as server:
        error = fails(make(server.base_url, model="gone"))
        assert error.code == "llm_not_found"
        assert "`gone` does not exist" in error.message
        assert fails(make(f"{server.base_url}/v2")).code == "llm_not_found"


@pytest.mark.parametrize(
    "body", [b"<html>Bad gateway</html>", b"\xff\xfe", b"[" * 9999, b"null", b""]
)
def test_an_error_page_of_any_form_is_told(make, body):
    with Receiver(Answer(status=502, body=body)) as receiver:
        assert fails(make(receiver.url), TryAgain).code == "llm_unavailable"


def test_an_error_page_that_never_ends_is_cut(make):
    with Receiver(Answer(status=500, body=b"x" * 10**7)) as receiver:
        assert len(fails(make(receiver.url), TryAgain).message) < 450


@pytest.mark.parametrize("status", [429, 503])
def test_the_servers_wait_is_honoured_in_seconds(make, status):
    with Receiver(Answer(status=status, headers={"Retry-After": "17"})) as receiver:
        assert fails(make(receiver.url), TryAgain).retry_after == 17


def test_the_servers_wait_is_honoured_as_a_date(make):
    moment = http_date((timezone.now() + timedelta(seconds=600)).timestamp())
    with Receiver(Answer(status=429, headers={"Retry-After": moment})) as receiver:
        assert 400 < fails(make(receiver.url), TryAgain).retry_after <= 601


def test_a_wait_that_is_none_leaves_the_usual_one(make):
    with Receiver(Answer(status=429, headers={"Retry-After-Ms": "1500"})) as receiver:
        assert fails(make(receiver.url), TryAgain).retry_after is None


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        b"not JSON",
        b"{}",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": ["parts"]}, "delta": {"content": 5}}]}',
        b'{"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}',
        b'{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}',
        b'{"choices": [{"message"',
        b'{"error": {"message": "The model crashed."}}',
        b"",
    ],
)
def test_an_answer_of_the_wrong_shape_is_tried_again(make, content, stream):
    body = b"data: " + content + b"\n\ndata: [DONE]\n\n" if stream else content
    media_type = "text/event-stream" if stream else "application/json"
    with Receiver(Answer(headers={"Content-Type": media_type}, body=body)) as receiver:
        error = fails(make(receiver.url, stream=stream), TryAgain)

    assert error.code == "answer_malformed"
    assert b"crashed" not in content or "The model crashed." in error.message


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"choices": [{"delta": {"content": "Hel"}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "Hel"}}]}\n\ndata: {"choi',
        b'data: {"choices": [{"delta": {"content": "Hel"}}]}\n\ndata: {"choi\n\n',
        b"event: ping\n\n: nothing\n\n",
    ],
)
def test_a_stream_that_ends_in_the_middle_is_tried_again(make, body):
    with Receiver(Answer(headers={"Content-Type": "text/event-stream"}, body=body)) as receiver:
        assert fails(make(receiver.url), TryAgain).code == "answer_malformed"


def test_events_come_in_any_lines(make):
    body = (
        b"\r\n: hi\r\nid: 1\r\nevent: x\r\n"
        b'data:{"choices":\r\ndata: [{"delta": {"content": "H\xc3\xa9"}}]}\r\n\r\n'
        b'data: {"choices": [{"delta": {"content": "llo"}, "message": null}]}\n\n'
        b'data: {"choices": [{"delta": null, "finish_reason": "stop"}], "usage": null}\n\n'
        b"data: [DONE]\n\n"
    )
    with Receiver(Answer(headers={"Content-Type": "text/event-stream"}, body=body)) as receiver:
        assert llm_prompt.llm_prompt(make(receiver.url)).output_text == "Héllo"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "fields", [{"finish_reason": "content_filter"}, {"refusal": "I will not."}]
)
def test_an_answer_that_was_filtered_fails_the_run(make, fields, stream):
    with LlmServer(**fields) as server:
        assert fails(make(server.base_url, stream=stream)).code == "content_filtered"


def test_a_model_that_used_its_tokens_before_it_answered_fails_the_run(make):
    with LlmServer(reply="", finish_reason="length") as server:
        assert fails(make(server.base_url)).code == "answer_cut"


@pytest.mark.parametrize("stream", [True, False])
def test_a_huge_answer_is_not_taken(make, stream):
    body = b"x" * (17 * 2**20)
    media_type = "text/event-stream" if stream else "application/json"
    with Receiver(Answer(headers={"Content-Type": media_type}, body=body)) as receiver:
        assert fails(make(receiver.url, stream=stream)).code == "answer_too_large"


def test_a_redirect_is_not_followed(make):
    with LlmServer() as target:
        redirect = Answer(status=308, headers={"Location": f"{target.base_url}/chat/completions"})
        with Receiver(redirect) as receiver:
            assert fails(make(receiver.url)).code == "redirect_refused"

        assert target.requests == []


@pytest.mark.parametrize("reaction", [Hang(), Drip(interval=5)])
def test_a_server_that_says_nothing_is_tried_again(make, reaction):
    with Receiver(reaction) as receiver:
        assert fails(make(receiver.url, timeout_seconds=SOON), TryAgain).code == "no_answer"


def test_a_server_that_drips_ends_with_the_run(make):
    with Receiver(Drip(interval=0.02)) as receiver:
        assert fails(make(receiver.url, seconds=1), TryAgain).code == "no_answer"


def test_a_stream_that_stalls_is_tried_again(make):
    with LlmServer(pause_after=2) as server:
        assert fails(make(server.base_url, timeout_seconds=SOON), TryAgain).code == "no_answer"


def test_a_server_that_is_not_there_is_tried_again(make):
    with Receiver() as receiver:
        url = receiver.url

    assert fails(make(url), TryAgain).code == "unreachable"
    with Receiver(Close()) as receiver:
        assert fails(make(receiver.url), TryAgain).code == "unreachable"


def test_a_run_that_is_cancelled_ends_in_the_middle_of_the_answer(make, monkeypatch):
    with LlmServer(pause_after=2) as server:
        context = make(server.base_url)

        def cancelled_after_a_word():
            if any(percent is not None for percent, _ in context.reporter.steps):
                server.released.set()
                return True
            return False

        monkeypatch.setattr(context.reporter, "cancelled", cancelled_after_a_word)
        # The second word finds the run cancelled; the others wait until then.
        assert fails(context).code == "cancelled"
    assert context.reporter.spent > 0


# --- Keys and addresses --------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_a_server_that_tells_the_key_does_not_tell_the_user(make, caplog, stream):
    caplog.set_level(logging.DEBUG)
    with LlmServer(reply=f"Your key is {KEY}.") as server:
        result = llm_prompt.llm_prompt(make(server.base_url, stream=stream))

    assert result.output_text == result.file.read_text() == "Your key is (hidden)."
    assert KEY not in caplog.text


@pytest.mark.parametrize("key", ["", " ", "sk-a\r\nX-Evil: 1", "sk-é"])
def test_a_key_that_is_no_header_is_refused_without_showing_it(make, key):
    with LlmServer() as server:
        error = fails(make(server.base_url, key=key))

        assert error.code == "secret_invalid"
        assert not key.strip() or key not in error.message
        assert server.requests == []


def test_an_address_inside_the_network_is_refused_when_it_is_saved_and_when_it_is_asked(
    make, settings
):
    with LlmServer() as server:
        context = make(server.base_url)
        settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK = False

        with pytest.raises(ValidationError, match="PORTAL_WEBHOOK_ALLOWED_CIDRS"):
            make(server.base_url)
        assert fails(context).code == "address_refused"
        assert server.requests == []


def test_a_name_that_does_not_resolve_is_tried_again(make):
    context = make(f"http://{'a' * 64}.example/v1")  # a label too long for any name server

    assert fails(context, TryAgain).code == "unreachable"


@pytest.mark.parametrize("url", ["ftp://a.example/v1", "https://u:p@a.example/", "a.example", ""])
def test_a_base_url_of_another_form_is_not_saved(make, url):
    with pytest.raises(ValidationError):
        make(url)


# --- Templates -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{{ text", "not valid"),
        ("{% for %}", "not valid"),
        ("{{ text|nofilter }}", "nofilter"),
        ("{{ password }} {{ settings }}", "no variable password, settings"),
        ("", "at least 1 character"),
        ("x" * 20_001, "at most 20000"),
    ],
)
def test_a_template_that_cannot_work_is_not_saved(make, prompt, message):
    with pytest.raises(ValidationError, match=message):
        make("http://127.0.0.1:9/", prompt=prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ 'a' * 30000000 }}",
        "{{ 'a'|center(30000000) }}",
        "{% if 'a' * 30000000 %}{% endif %}",
        "{% for x in '%30000000d' % 1 %}{% endfor %}",
    ],
)
def test_nothing_of_a_template_is_computed_when_it_is_saved(make, prompt):
    tracemalloc.start()
    try:
        make("http://127.0.0.1:9/", prompt=prompt)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{% autoescape 'a' * 30000000 %}{% endautoescape %}", "no HTML"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply"),
        ("{% if 1 %}" * 900 + "{% endif %}" * 900, "nested too deeply"),
        ("{% for i in '1' %}" * 30 + "{% endfor %}" * 30, "nested blocks"),
        ("{{ " + "9" * 6000 + " }}", "4300 digits"),
    ],
)
def test_a_template_that_is_too_much_for_python_is_refused(make, prompt, message):
    with pytest.raises(ValidationError, match=message):
        make("http://127.0.0.1:9/", prompt=prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ lipsum.__globals__['os'].environ }}",
        "{{ '{0.__class__}'.format(text) }}",
        "{{ '%s'.__mod__(1) }}",
        "{{ metadata.update({'a': 1}) }}",
        "{{ metadata.unknown }}",
        "{{ range(10**9)|list }}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{{ 1 / 0 }}",
        "{{ 'a' + 1 }}",
        "{{ text.nothing() }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
def test_a_template_neither_leaves_its_sandbox_nor_breaks_the_task(make, prompt):
    with LlmServer() as server:
        assert fails(make(server.base_url, prompt=prompt)).code == "prompt_failed"
        assert server.requests == []


def test_a_template_that_multiplies_the_text_is_stopped(make):
    prompt = "{% for i in range(90000) %}{{ text }}{% endfor %}"
    with LlmServer() as server:
        assert fails(make(server.base_url, text="x" * 10_000, prompt=prompt)).code == (
            "prompt_too_long"
        )
        assert server.requests == []


def test_only_harmless_settings_may_be_set_anew_by_who_starts_a_run():
    adjustable = [
        name
        for name, field in LlmPromptConfig.model_fields.items()
        if registry.is_marked(field, registry.ADJUSTABLE)
    ]

    assert adjustable == ["prompt", "temperature"]
    values = {"base_url": "http://127.0.0.1:9/", "model": "m", "prompt": "p", "api_key": "k"}
    config = LlmPromptConfig.model_validate(values)
    assert registry.get("llm_prompt").secret_names(config.model_dump()) == ["k"]


def test_a_configuration_is_kept_as_json_with_exact_prices():
    values = {"base_url": "http://127.0.0.1:9/", "model": "m", "prompt": "p", "cost_limit": "0.1"}

    kept = registry.check_config(registry.get("llm_prompt"), values)

    assert kept == values
    with pytest.raises(InvalidInput, match="cost_limit"):
        registry.check_config(registry.get("llm_prompt"), {**values, "cost_limit": "-1"})


def test_what_others_say_is_shown_on_one_line_without_secrets():
    assert outbound.excerpt("a\x00b\n c sk-1 d", "sk-1", "") == "a b c (hidden) d"
