"""A task that sends a prompt with the file's text to a language model."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from io import TextIOWrapper
from pathlib import PurePosixPath
from typing import Annotated, Any, BinaryIO, Literal

from django.conf import settings
from jinja2 import StrictUndefined, Template, TemplateError, meta, nodes, pass_context
from jinja2.runtime import Context as TemplateContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator, Field

from uploads.workflows import (
    ADJUSTABLE,
    MULTILINE,
    RunContext,
    SecretName,
    TaskConfig,
    TaskFailed,
    TryAgain,
    WorkflowResult,
    llm,
    outbound,
    workflow_task,
)
from uploads.workflows.text import TextOptions, pieces

VARIABLES = frozenset({"content_type", "filename", "metadata", "size_bytes", "text"})
PROMPT_LENGTH = 20_000  # characters of a template
RENDERED_ROOM = 50_000  # characters of a prompt, besides twice the text
STEM_LENGTH = 150  # characters of the file's name that are used in the result's name
HIDDEN_LENGTH = 16  # characters; a shorter key may be a word like "ollama" that answers contain
PROGRESS_EVERY = 20  # parts of a streamed answer, each about a token
TEXT_TYPES = ("application/json", "application/x-ndjson", "application/xml")
MILLION = 1_000_000

# Errors that a user's template can raise when it is rendered.
_RENDER_ERRORS = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


@pass_context
def _unchanged(_context: TemplateContext, value: Any) -> Any:
    """Return the value. Taking the context stops Jinja from evaluating it at compile time."""
    return value


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    """Evaluates nothing at compile time, where `{{ 9 ** 9 ** 9 }}` would take hours."""
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, optimized=False, finalize=_unchanged
    )


def _variables(parsed: nodes.Template) -> set[str]:
    """The undeclared variables. `meta.find_undeclared_variables` would evaluate expressions."""
    tracker = meta.TrackingCodeGenerator(_environment())
    tracker.optimizer = None
    tracker.visit(parsed)
    return tracker.undeclared_identifiers


def _template(source: str) -> str:
    """Refuse a template that cannot be rendered, when it is saved."""
    try:
        parsed = _environment().parse(source)
        if parsed.find(nodes.EvalContextModifier):  # would be evaluated at compile time
            raise ValueError("The template is not valid: a prompt is no HTML to be escaped.")
        unknown = _variables(parsed) - VARIABLES
        _environment().from_string(source)
    except (TemplateError, SyntaxError) as exc:  # SyntaxError: blocks nested too deeply for Python
        raise ValueError(f"The template is not valid: {exc}") from exc
    except (RecursionError, MemoryError) as exc:
        raise ValueError("The template is not valid: it is nested too deeply.") from exc
    if unknown:
        raise ValueError(
            f"There is no variable {', '.join(sorted(unknown))}. "
            f"There are: {', '.join(sorted(VARIABLES))}."
        )
    return source


Price = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)]


class LlmPromptConfig(TaskConfig):
    base_url: outbound.Url = Field(
        title="Base URL",
        description="Of any OpenAI-compatible API, such as https://api.openai.com/v1.",
    )
    model: str = Field(
        min_length=1,
        max_length=200,
        title="Model",
        description="As the server calls it, for example gpt-4.1-mini.",
    )
    api_key: SecretName = Field(
        "",
        title="API key",
        description="Name of the secret that holds it. Empty: the server wants none.",
    )
    prompt: Annotated[str, AfterValidator(_template)] = Field(
        min_length=1,
        max_length=PROMPT_LENGTH,
        title="Prompt",
        description="A Jinja template with the variables text, filename, content_type, "
        "size_bytes and metadata.",
        json_schema_extra={**MULTILINE, **ADJUSTABLE},
    )
    system_prompt: str = Field(
        "",
        max_length=PROMPT_LENGTH,
        title="System prompt",
        description="Sent before the prompt, as it is. Empty: none.",
        json_schema_extra=MULTILINE,
    )
    temperature: float | None = Field(
        None,
        ge=0,
        le=2,
        title="Temperature",
        description="Empty: as the model has it. Some models take no other.",
        json_schema_extra=ADJUSTABLE,
    )
    stream: bool = Field(
        True, title="Stream the answer", description="Take the answer as it is written."
    )
    json_output: bool = Field(
        False, title="JSON output", description="The answer must be a JSON object."
    )
    timeout_seconds: int = Field(
        120,
        ge=1,
        le=3600,
        title="Silence at most (seconds)",
        description="The longest that the server may say nothing. The workflow's time limit is "
        "for everything.",
    )
    max_input_characters: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        title="Input at most (characters)",
        description="A longer text is cut there.",
    )
    max_input_tokens: int | None = Field(
        None,
        ge=1,
        title="Input at most (tokens)",
        description="A prompt that is estimated to have more (4 bytes each) is not sent.",
    )
    max_output_tokens: int = Field(
        2048,
        ge=1,
        le=1_000_000,
        title="Output at most (tokens)",
        description="The server ends a longer answer there.",
    )
    max_tokens_parameter: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens",
        title="Parameter of the output's limit",
        description="What the server calls the limit: OpenAI's newer models want "
        "max_completion_tokens.",
    )
    price_per_million_input_tokens: Price = Field(
        Decimal(0),
        title="Price of a million input tokens",
        description="In the portal's currency.",
    )
    price_per_million_output_tokens: Price = Field(
        Decimal(0),
        title="Price of a million output tokens",
        description="In the portal's currency.",
    )
    cost_limit: Price | None = Field(
        None,
        title="Cost at most",
        description="An attempt that could cost more, at worst, is not made.",
    )

    def cost(self, *, input_tokens: int, output_tokens: int) -> Decimal:
        return (
            input_tokens * self.price_per_million_input_tokens
            + output_tokens * self.price_per_million_output_tokens
        ) / MILLION


Context = RunContext[LlmPromptConfig]


@dataclass(frozen=True)
class _Prompt:
    text: str
    estimated_tokens: int  # with the system prompt


@workflow_task("llm_prompt", config=LlmPromptConfig)
def llm_prompt(context: Context) -> WorkflowResult:
    """Asks a language model about the file's text, through any OpenAI-compatible API."""
    config = context.config
    key = outbound.header_value(context.secret(config.api_key)) if config.api_key else ""
    prompt = _prompt(context)
    _check_cost(config, prompt)
    context.progress(None, f"Asking {config.model}")
    answer = llm.Answer()
    try:
        with outbound.requests(
            silence=config.timeout_seconds, total=context.seconds_left()
        ) as client:
            llm.complete(
                client,
                base_url=config.base_url,
                key=key,
                request=_request(config, prompt),
                answer=answer,
                on_part=lambda answer: _on_part(context, answer),
            )
    finally:
        if answer.is_begun:
            _pay(context, answer, prompt)
    return _result(context, answer, key)


def _prompt(context: Context) -> _Prompt:
    config = context.config
    template = _environment().from_string(config.prompt)
    used = _variables(_environment().parse(config.prompt))
    file = context.file
    rendered = _rendered(
        template,
        {
            "text": _text(context) if "text" in used else "",
            "filename": file.filename,
            "content_type": file.content_type,
            "size_bytes": file.size_bytes,
            "metadata": file.metadata,
        },
        limit=2 * config.max_input_characters + RENDERED_ROOM,
    )
    return _Prompt(rendered, llm.estimated_tokens(config.system_prompt + rendered))


def _rendered(template: Template, variables: dict[str, Any], *, limit: int) -> str:
    """Render, at most `limit` characters. A loop without output ends at the time limit."""
    parts, size = [], 0
    try:
        for part in template.generate(variables):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise TaskFailed(
                    "prompt_too_long", f"The prompt has more than {limit:,} characters."
                )
    except _RENDER_ERRORS as exc:
        raise TaskFailed(
            "prompt_failed", f"The prompt cannot be made: {outbound.excerpt(str(exc))}"
        ) from exc
    return "".join(parts)


def _text(context: Context) -> str:
    """The output of the workflow before, otherwise the file's text; cut if it is long."""
    limit = context.config.max_input_characters
    parts, size = [], 0
    for part in _parts(context):
        parts.append(part)
        size += len(part)
        if size > limit:
            context.logger.warning("The text is cut after %s characters.", f"{limit:,}")
            break
    return "".join(parts)[:limit]


def _parts(context: Context) -> Iterator[str]:
    previous = context.previous
    if previous is not None and previous.file is not None and _is_text(previous.file.content_type):
        yield from _written(context.open_previous())
    elif previous is not None and previous.output_text:
        yield previous.output_text
    else:
        yield from _extracted(context)


def _written(source: BinaryIO | None) -> Iterator[str]:
    assert source is not None  # noqa: S101 - the caller checked that there is a file
    with TextIOWrapper(source, encoding="utf-8", errors="replace") as text:
        while part := text.read(65_536):
            yield part


def _extracted(context: Context) -> Iterator[str]:
    context.progress(None, "Reading the file")
    with context.open() as source:
        for piece in pieces(
            source=source,
            filename=context.file.filename,
            content_type=context.file.content_type,
            options=TextOptions(folder=context.folder),
            warn=context.logger.warning,
        ):
            _stop_if_cancelled(context)
            yield piece.text


def _is_text(content_type: str) -> bool:
    return content_type.startswith("text/") or content_type in TEXT_TYPES


def _check_cost(config: LlmPromptConfig, prompt: _Prompt) -> None:
    """Raise TaskFailed before anything is spent, if the cost limit could be exceeded."""
    tokens, limit = prompt.estimated_tokens, config.max_input_tokens
    if limit is not None and tokens > limit:
        raise TaskFailed(
            "input_too_long", f"The prompt has about {tokens:,} tokens; {limit:,} are allowed."
        )
    worst = config.cost(input_tokens=tokens, output_tokens=config.max_output_tokens)
    if config.cost_limit is not None and worst > config.cost_limit:
        raise TaskFailed(
            "cost_limit",
            f"The answer could cost {worst:f} {settings.PORTAL_CURRENCY}, and the limit is "
            f"{config.cost_limit:f}.",
        )


def _request(config: LlmPromptConfig, prompt: _Prompt) -> dict[str, Any]:
    system = [{"role": "system", "content": config.system_prompt}] if config.system_prompt else []
    request: dict[str, Any] = {
        "model": config.model,
        "messages": [*system, {"role": "user", "content": prompt.text}],
        config.max_tokens_parameter: config.max_output_tokens,
        "stream": config.stream,
    }
    if config.temperature is not None:
        request["temperature"] = config.temperature
    if config.stream:
        request["stream_options"] = {"include_usage": True}
    if config.json_output:
        request["response_format"] = {"type": "json_object"}
    return request


def _on_part(context: Context, answer: llm.Answer) -> None:
    _stop_if_cancelled(context)
    tokens = len(answer.parts)
    if tokens % PROGRESS_EVERY == 1:
        percent = min(99.0, 100 * tokens / context.config.max_output_tokens)
        context.progress(percent, f"About {tokens:,} tokens of the answer")


def _stop_if_cancelled(context: Context) -> None:
    if context.cancelled():
        raise TaskFailed("cancelled", "The run was cancelled.")


def _pay(context: Context, answer: llm.Answer, prompt: _Prompt) -> None:
    """Add the cost, estimated if the server did not report its usage."""
    if answer.usage is not None:
        input_tokens = answer.usage.prompt_tokens
        output_tokens = answer.usage.completion_tokens
        how = ""
    else:
        input_tokens = prompt.estimated_tokens
        output_tokens = llm.estimated_tokens(answer.text)
        how = " (estimated: the server did not tell)"
    cost = context.config.cost(input_tokens=input_tokens, output_tokens=output_tokens)
    context.spend(cost)
    context.logger.info(
        "%s tokens in, %s out: %s %s%s.",
        f"{input_tokens:,}",
        f"{output_tokens:,}",
        f"{cost:f}",
        settings.PORTAL_CURRENCY,
        how,
    )


def _result(context: Context, answer: llm.Answer, key: str) -> WorkflowResult:
    config = context.config
    _check_ending(config, answer)
    text = answer.text.replace("\x00", "\ufffd")  # PostgreSQL cannot store NUL
    if len(key) >= HIDDEN_LENGTH:
        text = text.replace(key, outbound.HIDDEN)
    if answer.finish_reason == "length":
        context.logger.warning(
            "The answer is cut after %s tokens.", f"{config.max_output_tokens:,}"
        )
    suffix = "json" if config.json_output else "md"
    path = context.folder / f"answer.{suffix}"
    path.write_text(text, encoding="utf-8")
    stem = PurePosixPath(context.file.filename).stem[:STEM_LENGTH]
    return WorkflowResult(
        output_text=text,
        file=path,
        filename=f"{stem}.{context.workflow_slug or 'answer'}.{suffix}",
    )


def _check_ending(config: LlmPromptConfig, answer: llm.Answer) -> None:
    is_cut = answer.finish_reason == "length"
    if answer.finish_reason == "content_filter" or answer.refusal:
        raise TaskFailed(
            "content_filtered",
            outbound.excerpt(answer.refusal) or "The server's content filter ended the answer.",
        )
    is_usable = _is_json_object(answer.text) if config.json_output else answer.text.strip()
    if is_cut and not is_usable:
        raise TaskFailed(
            "answer_cut",
            f"{config.max_output_tokens:,} tokens are too few for an answer; "
            "raise max_output_tokens.",
        )
    if not is_usable:
        kind = "not a JSON object" if config.json_output else "empty"
        raise TryAgain(llm.MALFORMED, f"The server's answer is {kind}.")


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=_refuse_constant), dict)
    except (ValueError, RecursionError):
        return False


def _refuse_constant(name: str) -> Any:
    """Refuse NaN and Infinity, which Python accepts but JSON does not."""
    raise ValueError(name)
