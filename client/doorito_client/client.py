"""The client for programs without an event loop: threads carry parallel parts."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from functools import update_wrapper
from pathlib import Path
from typing import Any, Concatenate, Self

import httpx

from doorito_client import downloading, operations, transport, uploading
from doorito_client.flows import (
    Core,
    Do,
    Effect,
    Flow,
    Pause,
    Receive,
    Request,
    Response,
    Send,
    Sink,
    Together,
)
from doorito_client.following import Following
from doorito_client.operations import Listing
from doorito_client.results import Event
from doorito_client.states import FOLDER

CONNECTIONS = 4
PATIENCE = 300.0  # seconds


def _blocking[**P, T](
    operation: Callable[Concatenate[Core, P], Flow[T]],
) -> Callable[Concatenate["Client", P], T]:
    """A method that runs the operation to its end."""

    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run_flow(operation(self.core, *args, **kwargs))

    return update_wrapper(method, operation)


def _iterating[**P, T](
    listing: Callable[P, Listing[T]],
) -> Callable[Concatenate["Client", P], Iterator[T]]:
    """A method that gives a list's items, page by page."""

    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._items(listing(*args, **kwargs))

    return update_wrapper(method, listing)


class Client:
    """A portal at `server`, with a token. A context manager; threads may share it.

    `patience` is how long an outage may take, in seconds. `states` is where unfinished uploads are
    remembered, None for nowhere. `http` are further arguments of httpx.Client, such as `verify`.
    """

    def __init__(
        self,
        server: str,
        token: str,
        *,
        connections: int = CONNECTIONS,
        patience: float = PATIENCE,
        states: Path | None = FOLDER,
        **http: Any,
    ) -> None:
        self.core = Core(transport.checked_url(server), states, connections, patience)
        self._token = token
        self._http = httpx.Client(**transport.options(connections=connections) | http)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    check_login = _blocking(operations.check_login)
    usage = _blocking(operations.usage)

    files = _iterating(operations.files)
    file = _blocking(operations.file)
    delete = _blocking(operations.delete)
    consume = _blocking(operations.consume)
    extend = _blocking(operations.extend)

    upload = _blocking(uploading.upload)
    upload_stream = _blocking(uploading.upload_stream)
    upload_all = _blocking(uploading.upload_all)
    download = _blocking(downloading.download)
    download_to = _blocking(downloading.download_to)

    create_batch = _blocking(operations.create_batch)
    batches = _iterating(operations.batches)
    batch = _blocking(operations.batch)
    batch_files = _iterating(operations.batch_files)
    close_batch = _blocking(operations.close_batch)

    events = _iterating(operations.events)
    event = _blocking(operations.event)
    redeliver = _blocking(operations.redeliver)
    webhooks = _iterating(operations.webhooks)
    webhook = _blocking(operations.webhook)
    add_webhook = _blocking(operations.add_webhook)
    change_webhook = _blocking(operations.change_webhook)
    remove_webhook = _blocking(operations.remove_webhook)
    test_webhook = _blocking(operations.test_webhook)

    workflows = _blocking(operations.workflows)
    start_run = _blocking(operations.start_run)
    runs = _iterating(operations.runs)
    run = _blocking(operations.run)
    wait_for_run = _blocking(operations.wait_for_run)
    cancel_run = _blocking(operations.cancel_run)
    retry_run = _blocking(operations.retry_run)
    run_output = _blocking(operations.run_output)

    def follow_events(
        self, *, type: str | None = None, since: datetime | None = None
    ) -> Iterator[Event]:
        """Each event once as it happens, from `since` or now on; for ever."""
        following = Following(type=type, since=since)
        while True:
            yield from self.run_flow(following.new(self.core))
            time.sleep(following.interval)

    def run_flow[T](self, flow: Flow[T]) -> T:
        """Fulfil what a flow asks for until it ends."""
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                effect = flow.send(value) if error is None else flow.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            value = error = None
            try:
                value = self._fulfil(effect)
            except BaseException as exc:
                error = exc

    def _fulfil(self, effect: Effect) -> Any:
        match effect:
            case Send(request):
                return self._send(request)
            case Receive(request, sink):
                return self._receive(request, sink)
            case Do(work):
                return work()
            case Pause(seconds):
                return time.sleep(seconds)
            case Together(flows, stop):
                return self._together(flows, stop)

    def _send(self, request: Request) -> Response:
        content = transport.blocks(request) if request.on_sent else bytes(request.body)
        try:
            answer = self._http.send(self._request(request, content=content))
        except httpx.HTTPError as exc:
            raise transport.no_answer(self.core.server, exc) from exc
        return transport.head_of(answer, answer.content)

    def _receive(self, request: Request, sink: Sink) -> Response:
        try:
            answer = self._http.send(self._request(request), stream=True, follow_redirects=True)
            with closing(answer):
                if answer.status_code >= 300:
                    return transport.head_of(answer, answer.read())
                head = transport.head_of(answer)
                sink.begin(head)
                for block in answer.iter_raw(transport.BLOCK):
                    sink.write(block)
                return head
        except httpx.HTTPError as exc:
            raise transport.no_answer(self.core.server, exc) from exc

    def _request(self, request: Request, **content: Any) -> httpx.Request:
        arguments = transport.arguments(self.core.server, self._token, request)
        return self._http.build_request(**arguments, **content)

    def _together(
        self, flows: Sequence[Generator[Any, Any, Any]], stop: Callable[[], None]
    ) -> list[Any]:
        """Daemon threads: whoever interrupts the program need not wait for their parts."""
        values: list[Any] = [None] * len(flows)
        errors: list[BaseException] = []

        def run(number: int) -> None:
            try:
                values[number] = self.run_flow(flows[number])
            except BaseException as exc:
                errors.append(exc)
                stop()

        threads = [
            threading.Thread(target=run, args=(number,), daemon=True)
            for number in range(len(flows))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            stop()
            raise
        if errors:
            raise errors[0]
        return values

    def _items[T](self, listing: Listing[T]) -> Iterator[T]:
        cursor: str | None = None
        while True:
            page = self.run_flow(listing.page(self.core, cursor))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return
