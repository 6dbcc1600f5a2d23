"""The protocol without any input or output: generators that say what they need.

A flow yields effects and gets what came of them; `Client` fulfils them with threads, `AsyncClient`
in an event loop. So there is one implementation of everything, and it can be tested step by step.
"""

import json
import random
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlencode

from doorito_client.errors import NoAnswer, PortalError, problem
from doorito_client.results import from_json

API = "/api/v1"
FIRST_DELAY = 0.5  # seconds
LONGEST_DELAY = 30.0
FAULT_RETRIES = 3  # of what the portal itself calls its own mistake
ANSWER_SECONDS = 60.0
FINALIZE_SECONDS = 300.0  # what arrived out of order is read again first

type Flow[T] = Generator[Effect, Any, T]


@dataclass(frozen=True)
class Request:
    """`path` may be a whole URL of the same portal. `is_repeatable`: sent twice, it counts once."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | memoryview = b""
    is_repeatable: bool = True
    timeout: float = ANSWER_SECONDS  # seconds without a byte in either direction
    on_sent: Callable[[int], None] | None = None  # bytes of the body so far


@dataclass(frozen=True)
class Response:
    """`headers` by their names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    def error(self) -> PortalError:
        return problem(self.status, self.body, retry_after=self.headers.get("retry-after"))


class Sink(Protocol):
    """Where the body of a download goes."""

    def begin(self, response: Response) -> None: ...

    def write(self, block: bytes) -> None: ...


@dataclass(frozen=True)
class Send:
    """Gives the Response. Raises NoAnswer."""

    request: Request


@dataclass(frozen=True)
class Receive:
    """As Send, with the body of a success written to `sink` as it comes."""

    request: Request
    sink: Sink


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Do:
    """Gives what `work` does: reading a file, which may take its time."""

    work: Callable[[], Any]


@dataclass(frozen=True)
class Together:
    """Runs flows at the same time and gives their values, in their order.

    At the first failure, `stop` is called, which has the others end soon; then it is raised.
    """

    flows: Sequence[Generator[Any, Any, Any]]
    stop: Callable[[], None] = lambda: None


type Effect = Send | Receive | Pause | Do | Together


@dataclass
class Limits:
    """What was learned on the way. A proxy may let no body through that is as large as a part."""

    part_bytes: int | None = None  # None: the portal's choice


@dataclass(frozen=True)
class Core:
    """What all flows of a client share. `states` is where unfinished uploads are remembered."""

    server: str
    states: Path | None
    connections: int
    patience: float  # seconds that an outage may take
    limits: Limits = field(default_factory=Limits)


def call(core: Core, request: Request) -> Flow[Response]:
    """The answer of success to a request, repeated while that may help.

    Raises PortalError, NoAnswer.
    """
    return (yield from persist(core, request, lambda: Send(request)))


def persist(core: Core, request: Request, effect: Callable[[], Send | Receive]) -> Flow[Response]:
    """`effect` again and again until it succeeds, or no longer promises to."""
    began = time.monotonic()
    attempt = 0
    while True:
        failure: PortalError | NoAnswer
        try:
            response = cast(Response, (yield effect()))
        except NoAnswer as error:
            if not request.is_repeatable and error.was_sent:
                raise
            failure = error
        else:
            if response.status < 300:
                return response
            failure = response.error()
            if not _may_repeat(failure, request):
                raise failure
        if isinstance(failure, PortalError) and failure.status == 500 and attempt >= FAULT_RETRIES:
            raise failure
        seconds = _delay(attempt, failure)
        if time.monotonic() + seconds > began + core.patience:
            raise failure
        yield Pause(seconds)
        attempt += 1


def _may_repeat(error: PortalError, request: Request) -> bool:
    return error.is_transient and (request.is_repeatable or error.status == 429)


def _delay(attempt: int, failure: PortalError | NoAnswer) -> float:
    """Exponential with jitter above a floor; never sooner than the portal asked for."""
    ceiling = min(LONGEST_DELAY, FIRST_DELAY * 2**attempt)
    asked = getattr(failure, "retry_after", None) or 0.0
    return max(asked, ceiling / 2 + random.random() * ceiling / 2)  # noqa: S311  (no secret)


def ask[T](
    core: Core,
    kind: type[T],
    method: str,
    path: str,
    *,
    body: dict[str, Any] | None = None,
    query: dict[str, Any] | None = None,
    is_repeatable: bool = True,
    timeout: float = ANSWER_SECONDS,
) -> Flow[T]:
    """A call whose question and answer are JSON."""
    request = Request(
        method,
        address(path, query),
        headers={} if body is None else {"Content-Type": "application/json"},
        body=b"" if body is None else json.dumps(body).encode(),
        is_repeatable=is_repeatable,
        timeout=timeout,
    )
    response = yield from call(core, request)
    return cast(T, from_json(kind, json.loads(response.body)))


def order(core: Core, method: str, path: str, query: dict[str, Any] | None = None) -> Flow[None]:
    """A call without anything in its answer."""
    yield from call(core, Request(method, address(path, query)))


def address(path: str, query: dict[str, Any] | None = None) -> str:
    """A path of the API; what is None in `query` is left out."""
    given = {name: str(value) for name, value in (query or {}).items() if value is not None}
    base = path if "://" in path or path.startswith("/") else f"{API}/{path}"
    return f"{base}?{urlencode(given)}" if given else base
