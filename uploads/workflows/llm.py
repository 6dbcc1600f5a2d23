"""A client of the OpenAI chat completions API, which many servers support.

https://platform.openai.com/docs/api-reference/chat
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.net import guarded_httpx
from common.webhooks.sending import USER_AGENT
from uploads.workflows import outbound
from uploads.workflows.errors import TaskFailed, TryAgain

ANSWER_MAX = 16 * 2**20  # bytes of a whole answer, of one event, and of a streamed text
STREAM_MAX = 256 * 2**20  # bytes of a stream, which takes hundreds for each token
BYTES_PER_TOKEN = 4  # for English and most code; other scripts need more bytes for a character
MALFORMED = "answer_malformed"

_OVERLOADED = (408, 409, 425)  # besides 429 and 5xx: the same request may succeed later


class _Lenient(BaseModel):
    """Ignores unknown members and treats null as absent, because servers send both."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}


class Usage(_Lenient):
    """Tokens as counted, and charged, by the server."""

    prompt_tokens: int = Field(ge=0, le=10**9)
    completion_tokens: int = Field(ge=0, le=10**9)


class _Message(_Lenient):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Lenient):
    message: _Message = _Message()  # in a whole answer
    delta: _Message = _Message()  # in one event of a streamed answer
    finish_reason: str | None = None


class _Completion(_Lenient):
    choices: list[_Choice]
    usage: Any = None

    def counted(self) -> Usage | None:
        """The usage; None if it is missing or incomplete, as in most events of a stream."""
        try:
            return Usage.model_validate(self.usage)
        except ValidationError:
            return None


@dataclass
class Answer:
    """The part of an answer received so far. It survives a failure, to compute the cost."""

    parts: list[str] = field(default_factory=list)
    usage: Usage | None = None
    finish_reason: str | None = None
    refusal: str = ""
    is_begun: bool = False  # the server accepted the request and may charge for it
    size: int = 0  # characters of the text

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def add(self, message: _Message, choice: _Choice) -> None:
        self.parts.append(message.content or "")
        self.size += len(self.parts[-1])
        self.refusal += message.refusal or ""
        self.finish_reason = choice.finish_reason or self.finish_reason
        if self.size > ANSWER_MAX:
            raise guarded_httpx.AnswerTooLarge


def estimated_tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def complete(
    client: httpx.Client,
    *,
    base_url: str,
    key: str,
    request: dict[str, Any],
    answer: Answer,
    on_part: Callable[[Answer], None],
) -> None:
    """Send one request and fill `answer`. `on_part` is called after each part of a stream.

    Raises TaskFailed or TryAgain, whose messages do not hold the key, and what the client raises.
    """
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json, text/event-stream"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    base = httpx.URL(base_url)  # its query, if any, is kept: some servers need a version there
    url = base.copy_with(path=f"{base.path.rstrip('/')}/chat/completions")
    with client.stream("POST", url, headers=headers, json=request) as response:
        if response.status_code != httpx.codes.OK:
            raise _refusal(response, key)
        answer.is_begun = True
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.get("stream") and media_type != "application/json":
            _read_stream(response, answer, on_part, key)
        else:
            _read_whole(response, answer, key)


def _read_whole(response: httpx.Response, answer: Answer, key: str) -> None:
    completion = _parsed(guarded_httpx.body(response, limit=ANSWER_MAX), key)
    answer.usage = completion.counted()
    if not completion.choices:
        raise TryAgain(MALFORMED, "The server's answer has no choices.")
    choice = completion.choices[0]
    answer.add(choice.message, choice)


def _read_stream(
    response: httpx.Response, answer: Answer, on_part: Callable[[Answer], None], key: str
) -> None:
    is_done = False
    for data in events(guarded_httpx.blocks(response, limit=STREAM_MAX)):
        if data == b"[DONE]":
            is_done = True
            break
        completion = _parsed(data, key)
        answer.usage = completion.counted() or answer.usage
        for choice in completion.choices[:1]:
            answer.add(choice.delta, choice)
        on_part(answer)
    if not is_done and answer.finish_reason is None:
        raise TryAgain(MALFORMED, "The server's answer ends in the middle.")


def events(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The data of server-sent events. An incomplete event at the end is dropped.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """
    data: list[bytes] = []
    size = 0
    for line in _lines(blocks):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
            size += len(value)
            if size > ANSWER_MAX:
                raise guarded_httpx.AnswerTooLarge
        elif not line and data:
            yield b"\n".join(data)
            data, size = [], 0


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines that end in LF or CRLF. An unfinished last line is dropped."""
    rest = bytearray()
    for block in blocks:
        *whole, last = block.split(b"\n")
        for line in whole:
            yield bytes(rest + line).removesuffix(b"\r")
            rest.clear()
        rest += last
        if len(rest) > ANSWER_MAX:
            raise guarded_httpx.AnswerTooLarge


def _parsed(content: bytes, key: str) -> _Completion:
    try:
        return _Completion.model_validate_json(content)
    except ValidationError as exc:
        # Some servers answer 200 and then send an error in the stream.
        error = _error_message(content)
        message = (
            f"The server says: {outbound.excerpt(error, key)}" if error else "It is not valid."
        )
        raise TryAgain(MALFORMED, f"The server's answer is no completion. {message}") from exc


def _refusal(response: httpx.Response, key: str) -> TaskFailed:
    """The failure for an answer whose status is not 200."""
    status = response.status_code
    message = _error_message(outbound.head(response)) or f"status {status}"
    shown = outbound.excerpt(message, key)
    if 300 <= status < 400:
        return TaskFailed("redirect_refused", "The server redirects; set its final base_url.")
    if status == 429:
        return TryAgain(
            "rate_limited",
            f"The server wants fewer requests: {shown}",
            retry_after=outbound.retry_after(response),
        )
    if status in _OVERLOADED or status >= 500 or status < 300:
        return TryAgain(
            "llm_unavailable",
            f"The server cannot answer now: {shown}",
            retry_after=outbound.retry_after(response),
        )
    if status in (401, 403):
        return TaskFailed("llm_refused_key", f"The server refuses the key: {shown}")
    if status == 404:
        return TaskFailed(
            "llm_not_found", f"There is no such model, or no such API at base_url: {shown}"
        )
    return TaskFailed("llm_refused", f"The server refuses the request: {shown}")


def _error_message(content: bytes) -> str:
    """The message in `{"error": {"message": …}}`, otherwise the beginning of the content."""
    try:
        error = json.loads(content)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, TypeError, LookupError, RecursionError):
        return content[: outbound.HEAD].decode(errors="replace")
