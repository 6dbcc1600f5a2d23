"""A task that hands a file to an external runner over HTTP."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import httpx
from pydantic import AfterValidator, Field, JsonValue, ValidationError

from common.errors import InvalidInput
from common.net import guarded_httpx
from common.webhooks import endpoint_settings, sending
from uploads.workflows import (
    ADJUSTABLE,
    HandedOver,
    RunContext,
    SecretName,
    TaskConfig,
    TaskFailed,
    TryAgain,
    WorkflowResult,
    answers,
    outbound,
    workflow_task,
)

EVENT_TYPE = "workflow_run.requested"
PARAMETERS_MAX = 16_384  # characters of JSON
_LATER = (408, 409, 425, 429)  # besides 5xx: the same request may succeed later


def _headers(value: dict[str, str]) -> dict[str, str]:
    try:
        endpoint_settings.check_headers(value)
    except InvalidInput as exc:
        raise ValueError(exc.message) from exc
    if any(name.lower() == "authorization" for name in value):
        raise ValueError("Put the value of Authorization into a secret, and name it below.")
    return value


def _parameters(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(json.dumps(value, allow_nan=False)) > PARAMETERS_MAX:
        raise ValueError(f"The parameters have more than {PARAMETERS_MAX:,} characters.")
    return value


class HttpRunnerConfig(TaskConfig):
    url: outbound.Url = Field(title="URL", description="Where the runner takes requests.")
    secret: SecretName = Field(
        min_length=1,
        title="Signing secret",
        description="Name of the secret (whsec_…) that signs requests, as webhooks are signed.",
    )
    authorization: SecretName = Field(
        "",
        title="Authorization",
        description="Name of a secret to send as the header Authorization, if any.",
    )
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default_factory=dict,
        title="Headers",
        description="Further headers, name to value; not for secrets.",
    )
    parameters: Annotated[dict[str, JsonValue], AfterValidator(_parameters)] = Field(
        default_factory=dict,
        title="Parameters",
        description="What the runner gets as `parameters`.",
        json_schema_extra=ADJUSTABLE,
    )
    timeout_seconds: int = Field(
        30,
        ge=1,
        le=600,
        title="Answer within (seconds)",
        description="The longest wait for the answer to the request.",
    )
    deadline_seconds: int = Field(
        3600,
        ge=1,
        le=7 * 86_400,
        title="End within (seconds)",
        description="The longest until a runner that took the request has ended it.",
    )


Context = RunContext[HttpRunnerConfig]


@workflow_task("http_runner", config=HttpRunnerConfig)
def http_runner(context: Context) -> WorkflowResult | HandedOver:
    """Hands the file to an external runner: a signed request, answered at once or later."""
    config = context.config
    now = datetime.now(UTC)
    body = _body(context, deadline=now + timedelta(seconds=config.deadline_seconds))
    headers = _signed(context, body, timestamp=int(now.timestamp()))
    context.progress(None, "Asking the runner")
    total = min(config.timeout_seconds + outbound.MARGIN, context.seconds_left())
    with (
        outbound.requests(silence=config.timeout_seconds, total=total) as client,
        client.stream("POST", config.url, headers=headers, content=body) as response,
    ):
        answer = _answer(context, response)
    return _outcome(context, answer)


def _body(context: Context, *, deadline: datetime) -> bytes:
    file = context.file
    request = {
        "type": EVENT_TYPE,
        "run_id": str(context.run_id),
        "attempt": context.attempt,
        "workflow": context.workflow_slug,
        "file": {
            "id": str(file.id),
            "original_filename": file.filename,
            "content_type": file.content_type,
            "size_bytes": file.size_bytes,
            "sha256": file.sha256,
            "url": file.url,
            "metadata": file.metadata,
        },
        "result_url": context.callback_url,
        "deadline": deadline.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "parameters": context.config.parameters,
    }
    return json.dumps(request, ensure_ascii=False).encode()


def _signed(context: Context, body: bytes, *, timestamp: int) -> dict[str, str]:
    """The signed headers. The message id names the attempt, so that runners see repetitions."""
    config = context.config
    message_id = f"{context.run_id}-{context.attempt}"
    signature = _signature(
        context.secret(config.secret), message_id=message_id, timestamp=timestamp, body=body
    )
    headers = {
        **config.headers,
        "Content-Type": "application/json",
        "User-Agent": sending.USER_AGENT,
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }
    if config.authorization:
        headers["Authorization"] = outbound.header_value(context.secret(config.authorization))
    return headers


def _signature(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    fault = TaskFailed("secret_invalid", "The secret that signs must be whsec_ and base64.")
    secret = secret.strip()
    if not secret.removeprefix(sending.SECRET_PREFIX):
        raise fault
    try:
        return sending.signature(
            secrets=[secret], message_id=message_id, timestamp=timestamp, body=body
        )
    except ValueError as exc:
        raise fault from exc


def _answer(context: Context, response: httpx.Response) -> answers.RunnerAnswer:
    status = response.status_code
    if status == 202:
        return answers.RunnerAnswer(status="accepted")
    if status != 200:
        raise _refusal(context, response)
    content = guarded_httpx.body(response, limit=answers.BODY_MAX)
    try:
        return answers.RunnerAnswer.model_validate_json(content)
    except ValidationError as exc:
        faults = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'body'}: {error['msg']}"
            for error in exc.errors(include_url=False, include_context=False, include_input=False)
        )
        raise TryAgain(
            "answer_malformed", f"The runner's answer is not valid: {_excerpt(context, faults)}"
        ) from exc


def _refusal(context: Context, response: httpx.Response) -> TaskFailed:
    status = response.status_code
    if 300 <= status < 400:
        return TaskFailed("redirect_refused", "The runner redirects; set its final URL.")
    if status < 300:
        return TryAgain(
            "answer_malformed",
            f"The runner answered {status}; 200 with an answer, or 202, is expected.",
        )
    shown = _excerpt(context, outbound.head(response).decode(errors="replace"))
    message = f"The runner answered {status}" + (f": {shown}" if shown else ".")
    if status in _LATER or status >= 500:
        return TryAgain("runner_unavailable", message, retry_after=outbound.retry_after(response))
    return TaskFailed("runner_refused", message)


def _excerpt(context: Context, text: str) -> str:
    config = context.config
    names = filter(None, (config.secret, config.authorization))
    return outbound.excerpt(text, *(context.secret(name).strip() for name in names))


def _outcome(context: Context, answer: answers.RunnerAnswer) -> WorkflowResult | HandedOver:
    match answer.status:
        case "completed":
            return WorkflowResult(output_text=answer.output_text)
        case "failed":
            raise answer.failure()
        case _:
            context.progress(answer.percent, answer.message or "The runner has it")
            return HandedOver(seconds=context.config.deadline_seconds)
