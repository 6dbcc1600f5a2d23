"""The client for programs with an event loop; files are read in threads beside it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import update_wrapper
from pathlib import Path
from typing import Any, Concatenate, Self

import httpx

from doorito_client import downloading, operations, transport, uploading
from doorito_client.client import CONNECTIONS, PATIENCE
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


def _awaited[**P, T](
    operation: Callable[Concatenate[Core, P], Flow[T]],
) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]:
    """A coroutine method that runs the operation to its end."""

    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run_flow(operation(self.core, *args, **kwargs))

    return update_wrapper(method, operation)


def _iterating[**P, T](
    listing: Callable[P, Listing[T]],
) -> Callable[Concatenate["AsyncClient", P], AsyncIterator[T]]:
    """A method that gives a list's items, page by page."""

    def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._items(listing(*args, **kwargs))

    return update_wrapper(method, listing)


class AsyncClient:
    """As `Client`, whose methods are awaited and whose lists are iterated with `async for`."""

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
        self._http = httpx.AsyncClient(**transport.options(connections=connections) | http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    check_login = _awaited(operations.check_login)
    usage = _awaited(operations.usage)

    files = _iterating(operations.files)
    file = _awaited(operations.file)
    delete = _awaited(operations.delete)
    consume = _awaited(operations.consume)
    extend = _awaited(operations.extend)

    upload = _awaited(uploading.upload)
    upload_stream = _awaited(uploading.upload_stream)
    upload_all = _awaited(uploading.upload_all)
    download = _awaited(downloading.download)
    download_to = _awaited(downloading.download_to)

    create_batch = _awaited(operations.create_batch)
    batches = _iterating(operations.batches)
    batch = _awaited(operations.batch)
    batch_files = _iterating(operations.batch_files)
    close_batch = _awaited(operations.close_batch)

    events = _iterating(operations.events)
    event = _awaited(operations.event)
    redeliver = _awaited(operations.redeliver)
    webhooks = _iterating(operations.webhooks)
    webhook = _awaited(operations.webhook)
    add_webhook = _awaited(operations.add_webhook)
    change_webhook = _awaited(operations.change_webhook)
    remove_webhook = _awaited(operations.remove_webhook)
    test_webhook = _awaited(operations.test_webhook)

    workflows = _awaited(operations.workflows)
    start_run = _awaited(operations.start_run)
    runs = _iterating(operations.runs)
    run = _awaited(operations.run)
    wait_for_run = _awaited(operations.wait_for_run)
    cancel_run = _awaited(operations.cancel_run)
    retry_run = _awaited(operations.retry_run)
    run_output = _awaited(operations.run_output)

    async def follow_events(
        self, *, type: str | None = None, since: datetime | None = None
    ) -> AsyncIterator[Event]:
        """Each event once as it happens, from `since` or now on; for ever."""
        following = Following(type=type, since=since)
        while True:
            for event in await self.run_flow(following.new(self.core)):
                yield event
            await asyncio.sleep(following.interval)

    async def run_flow[T](self, flow: Flow[T]) -> T:
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
                value = await self._fulfil(effect)
            except BaseException as exc:
                error = exc

    async def _fulfil(self, effect: Effect) -> Any:
        match effect:
            case Send(request):
                return await self._send(request)
            case Receive(request, sink):
                return await self._receive(request, sink)
            case Do(work):
                return await asyncio.to_thread(work)
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case Together(flows, stop):
                return await self._together(flows, stop)

    async def _send(self, request: Request) -> Response:
        content = _blocks(request) if request.on_sent else bytes(request.body)
        try:
            answer = await self._http.send(self._request(request, content=content))
        except httpx.HTTPError as exc:
            raise transport.no_answer(self.core.server, exc) from exc
        return transport.head_of(answer, answer.content)

    async def _receive(self, request: Request, sink: Sink) -> Response:
        try:
            answer = await self._http.send(
                self._request(request), stream=True, follow_redirects=True
            )
            async with aclosing(answer):
                if answer.status_code >= 300:
                    return transport.head_of(answer, await answer.aread())
                head = transport.head_of(answer)
                sink.begin(head)
                async for block in answer.aiter_raw(transport.BLOCK):
                    await asyncio.to_thread(sink.write, block)
                return head
        except httpx.HTTPError as exc:
            raise transport.no_answer(self.core.server, exc) from exc

    def _request(self, request: Request, **content: Any) -> httpx.Request:
        arguments = transport.arguments(self.core.server, self._token, request)
        return self._http.build_request(**arguments, **content)

    async def _together(
        self, flows: Sequence[Generator[Any, Any, Any]], stop: Callable[[], None]
    ) -> list[Any]:
        tasks = [asyncio.create_task(self.run_flow(flow)) for flow in flows]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _items[T](self, listing: Listing[T]) -> AsyncIterator[T]:
        cursor: str | None = None
        while True:
            page = await self.run_flow(listing.page(self.core, cursor))
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    for block in transport.blocks(request):
        yield block
