"""Sends due deliveries: claims them, makes the attempts, records the results.

A delivery is claimed in a short transaction, sent without an open transaction, and its result is
written only while the lease is valid. If a worker dies in between, the lease ends and another
worker sends the same event again, with the same id.

One run sends many deliveries at once from one event loop. Claims and results use two database
connections of the loop.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta
from time import monotonic
from uuid import UUID

import psycopg
import uvloop
from django.conf import settings
from django.db import Error, transaction
from django.db.models import Min, OuterRef, Subquery
from django.utils import timezone
from psycopg import AsyncConnection

from common import journal
from common.db import database_now
from common.ids import uuid7
from common.models import KickLane, OutboxEvent, WebhookAttempt, WebhookEndpoint
from common.net import guarded_http
from common.outbox import kicks, payloads
from common.webhooks import endpoints, recovery, results, sending
from common.webhooks.claims import (
    FAILING_SHARE,
    Claim,
    Flow,
    Receivers,
    claim,
    claim_for_test,
    fail_undeliverable,
    open_deliveries,
)
from common.webhooks.endpoint_settings import TIMEOUT_MAX
from common.webhooks.event_loop_db import connected, execute_all, in_thread
from common.webhooks.results import Finished

logger = logging.getLogger(__name__)

RUN_SECONDS = 30.0  # then the run ends, so that a worker can stop; another kick continues
# For so long, what is under way then may keep it; it serves only endpoints that do not fail.
CLOSING_SECONDS = TIMEOUT_MAX
POLL_SECONDS = 0.1  # between two looks for new deliveries while slow receivers are waited for
BATCH_SECONDS = 0.0005  # results of this time are recorded, and new claims made, in one statement
MAINTENANCE_SECONDS = 1.0
SIGNAL_SECONDS = 1.0
GRACE_SECONDS = 2.0
STOP_SECONDS = 8.0  # for attempts under way when the worker stops
STOPPED = "The worker was stopped during the attempt."


def run(*, seconds: float = RUN_SECONDS, must_stop: Callable[[], bool] = lambda: False) -> int:
    """Send due deliveries until none is left or `seconds` are over. Returns how many were recorded.

    Requests another run at the time of the next retry, if that is before the next sweep. When it is
    interrupted (a task's time limit) or stopped by `must_stop`, attempts under way get a moment to
    end; the rest is given up, to be sent again by the next run.
    """
    dispatcher = _Dispatcher(ends_at=monotonic() + seconds)
    # In a thread of its own: a signal's exception must not land inside the event loop.
    with ThreadPoolExecutor(1, thread_name_prefix="dispatcher") as thread:
        running = thread.submit(lambda: uvloop.run(dispatcher.work()))
        try:
            # In short waits, so that a signal's handler gets its turn.
            while not wait([running], timeout=SIGNAL_SECONDS).done:
                if must_stop():
                    dispatcher.give_up(grace=STOP_SECONDS)
        except BaseException:
            dispatcher.give_up(grace=GRACE_SECONDS)
            raise
        recorded = running.result()
    kicks.withdraw(KickLane.NOW)
    _ask_for_next_run()
    return recorded


class _Dispatcher:
    """One run: the attempts under way, and the results that wait to be recorded."""

    def __init__(self, *, ends_at: float) -> None:
        self._ends_at = ends_at
        self._sends: set[asyncio.Task[None]] = set()
        self._flows: defaultdict[UUID, Flow] = defaultdict(Flow)  # by endpoint
        self._probe_at = 0.0  # monotonic; when endpoints that fail are next tried
        self._finished: list[Finished] = []
        self._uncounted: list[Finished] = []  # not counted yet in the health of endpoints
        self._open = 0  # claims whose result is not recorded yet
        self._is_closing = False  # no more results will come
        self._is_given_up = False
        self._maintain_at = 0.0  # monotonic
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()  # a send, or the recording of some
        self._to_record = asyncio.Event()

    async def work(self) -> int:
        self._loop = asyncio.get_running_loop()
        async with guarded_http.client() as client, connected() as one, connected() as other:
            recorder = asyncio.create_task(self._record_results(other))
            recorder.add_done_callback(self._end)  # without the recorder, nothing more may be sent
            try:
                await self._claim_and_send(client, one)
            finally:
                if self._sends:
                    await asyncio.wait(self._sends)
                self._is_closing = True
                self._to_record.set()
                recorded = await recorder
                await self._count_for_health()
        return recorded

    def give_up(self, *, grace: float) -> None:
        """End the attempts under way, from another thread, after `grace` seconds."""
        if self._is_given_up:
            return
        self._is_given_up = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.call_later, grace, self._cancel)

    def _end(self, _: object) -> None:
        self._is_given_up = True
        self._ended.set()

    def _cancel(self) -> None:
        for send in self._sends:
            send.cancel()

    @property
    def _is_over(self) -> bool:
        """Whether to stop claiming.

        Hanging attempts make a run longer than RUN_SECONDS. Until they end, the run continues to
        serve other endpoints: there may be no other worker to do it.
        """
        now = monotonic()
        is_closing = now >= self._ends_at and not self._sends
        return self._is_given_up or is_closing or now >= self._ends_at + CLOSING_SECONDS

    # --- Claiming and sending ----------------------------------------------------------------

    async def _claim_and_send(self, client: guarded_http.Client, database: AsyncConnection) -> None:
        receivers = Receivers()
        while not self._is_over:
            self._ended.clear()
            is_recovering = await self._maintain()
            if self._is_over:
                break
            failing_share = self._failing_share()
            claims = await claim(
                database,
                limit=settings.PORTAL_WEBHOOK_CONCURRENCY - len(self._sends),
                flows=self._flows,
                receivers=receivers,
                failing_share=failing_share,
            )
            for each in claims:
                self._start(each, client)
            if not self._open and failing_share and not is_recovering:
                return
            if not is_recovering:
                await self._until_something_ended()

    def _failing_share(self) -> int:
        """The share of failing endpoints. They are tried ten times a second, not more often."""
        now = monotonic()
        if now < self._probe_at or now >= self._ends_at:
            return 0
        self._probe_at = now + POLL_SECONDS
        return FAILING_SHARE

    async def _maintain(self) -> bool:
        """From time to time: fail undeliverable rows, advance recoveries.

        Whether there is more to do.
        """
        if monotonic() < self._maintain_at:
            return False
        await in_thread(fail_undeliverable)
        if len(self._sends) < settings.PORTAL_WEBHOOK_CONCURRENCY:
            await in_thread(kicks.announce_running)
        await self._count_for_health()
        is_recovering = await in_thread(recovery.advance) is not None
        self._maintain_at = 0.0 if is_recovering else monotonic() + MAINTENANCE_SECONDS
        return is_recovering

    def _remember_for_health(self, batch: list[Finished]) -> None:
        """Keep failures, and successes of endpoints that failed before."""
        failing = {held.endpoint_id for held, _ in self._uncounted}
        for held, result in batch:
            if held.is_failing or not result.is_delivered or held.endpoint_id in failing:
                failing.add(held.endpoint_id)
                self._uncounted.append((held, result))

    async def _count_for_health(self) -> None:
        noted, self._uncounted = self._uncounted, []
        if noted:
            await in_thread(results.note_health, noted)

    async def _until_something_ended(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._ended.wait()
        await asyncio.sleep(BATCH_SECONDS)

    def _start(self, claim: Claim, client: guarded_http.Client) -> None:
        send = asyncio.create_task(self._send(claim, client))
        self._sends.add(send)
        self._flows[claim.endpoint_id].under_way += 1
        self._open += 1
        send.add_done_callback(self._finish_send)

    async def _send(self, claim: Claim, client: guarded_http.Client) -> None:
        started_at = timezone.now()
        try:
            result = await _attempt(claim, client)
        except asyncio.CancelledError:
            result = replace(sending.failure(STOPPED, started_at=started_at), is_interrupted=True)
        _tell(claim, result)
        self._flows[claim.endpoint_id].record(is_delivered=result.is_delivered)
        self._finished.append((claim, result))
        self._to_record.set()

    def _finish_send(self, send: asyncio.Task[None]) -> None:
        self._sends.discard(send)
        self._ended.set()

    # --- Recording ---------------------------------------------------------------------------

    async def _record_results(self, database: AsyncConnection) -> int:
        """Write results as they come, all waiting ones at once. Returns how many."""
        recorded = 0
        while True:
            await self._to_record.wait()
            await asyncio.sleep(BATCH_SECONDS)
            self._to_record.clear()
            batch, self._finished = self._finished, []
            if batch:
                recorded += await _record(database, batch)
                self._remember_for_health(batch)
            self._open -= len(batch)
            self._ended.set()
            if self._is_closing and not self._finished:
                return recorded


async def _record(database: AsyncConnection, batch: list[Finished]) -> int:
    if any(result.is_gone for _, result in batch):
        try:
            await in_thread(results.disable_gone, batch)
        except Error:  # the endpoint will answer 410 again
            logger.exception("An endpoint that answered 410 could not be disabled")
    try:
        counts = await execute_all(database, results.statements(batch))
    except (psycopg.Error, *results.RECORDING_FAULTS):
        # With more care: one by one, when it must be.
        return await in_thread(results.write_each, batch)
    return counts["write"]


def _tell(claim: Claim, result: sending.Result) -> None:
    """Without the error's text, which may name an address that is a secret."""
    with journal.coming_from(claim.origin):
        journal.tell(
            "delivery_attempted",
            delivery_id=claim.delivery_id,
            event_id=claim.event_id,
            event_type=claim.message.event_type if claim.message else "",
            endpoint_id=claim.endpoint_id,
            attempt=claim.attempt,
            outcome="delivered" if result.is_delivered else "failed",
            status=result.status,
            milliseconds=result.duration_ms,
        )


async def _attempt(claim: Claim, client: guarded_http.Client) -> sending.Result:
    if claim.message is None:
        return sending.failure(claim.fault, started_at=timezone.now())
    return await sending.send(claim.message, client)


async def _attempt_alone(claim: Claim) -> sending.Result:
    async with guarded_http.client() as client:
        return await _attempt(claim, client)


def _ask_for_next_run() -> None:
    own = open_deliveries().filter(endpoint=OuterRef("pk")).order_by("due_at").values("due_at")
    next_due = WebhookEndpoint.objects.aggregate(next=Min(Subquery(own[:1])))["next"]
    sweep = database_now() + timedelta(minutes=settings.OUTBOX_SWEEP_INTERVAL_MINUTES)
    if next_due is not None and next_due < sweep:
        kicks.request(next_due)


def send_test(*, endpoint_id: UUID) -> WebhookAttempt:
    """Send `webhook.test` to one endpoint, once and at once. Returns the attempt.

    It appears in lists like any other event, but is not retried. A disabled endpoint can be tested.
    A failed test does not affect the endpoint's health: it may be under repair. Raises NotFound
    `webhook_not_found`.
    """
    endpoint = endpoints.get(endpoint_id=endpoint_id)
    with transaction.atomic():
        event_id = uuid7()
        event = OutboxEvent.objects.create(
            id=event_id,
            event_type="webhook.test",
            idempotency_key=str(event_id),
            aggregate_type="webhook",
            aggregate_id=endpoint.id,
            payload=payloads.webhook_test(endpoint).to_json(),
            **asdict(journal.origin()),
        )
        held = claim_for_test(event, endpoint)
    result = asyncio.run(_attempt_alone(held))
    _tell(held, result)
    results.disable_gone([(held, result)])
    if not results.write_each([(held, result)]):
        raise endpoints.not_found(endpoint_id)
    if result.is_delivered:
        results.note_health([(held, result)])
    return WebhookAttempt.objects.get(delivery=held.delivery_id)
