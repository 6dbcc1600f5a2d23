"""Writes the results of attempts, many at once, while their leases are valid."""

import logging
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from time import sleep
from typing import Any
from uuid import UUID

import orjson
from django.db import Error, connection, transaction
from django.db.models import Q
from django.utils import timezone

from common.db import DATABASE_GONE
from common.errors import NotFound
from common.ids import uuid7
from common.models import DeliveryStatus, DisabledReason
from common.outbox import events
from common.webhooks import endpoints, health, sending
from common.webhooks.claims import Claim
from common.webhooks.event_loop_db import Statement

logger = logging.getLogger(__name__)

RETRY_AFTER_MAX = timedelta(hours=24)
JITTER = 0.2
# What recording can raise; a stop from outside, such as a task's time limit, is none of these.
RECORDING_FAULTS = (Error, ArithmeticError, TypeError, ValueError)

RETRY_SECONDS = 0.5

Finished = tuple[Claim, sending.Result]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The next state of a delivery after an attempt."""

    status: DeliveryStatus
    wait: float | None = None  # seconds until the next attempt; None if there is none
    step_back: int = 0  # of the schedule


def write_each(finished: Sequence[Finished]) -> int:
    """Write attempts and their consequences.

    Returns how many. Those whose lease is lost are skipped.

    All at once if the database accepts them, otherwise one by one. A result that the database
    refuses is recorded as a failure. If the database itself fails, the leases will expire.
    """
    try:
        return _write(finished)
    except RECORDING_FAULTS as fault:
        if len(finished) > 1:
            return sum(write_each([one]) for one in finished)
        return _write_with_care(finished[0], fault)


def _write_with_care(finished: Finished, fault: Exception) -> int:
    claim, _ = finished
    if isinstance(fault, DATABASE_GONE):
        sleep(RETRY_SECONDS)
    else:
        logger.error("Delivery %s has no usable result", claim.delivery_id, exc_info=fault)
        error = sending.internal_error(fault)
        finished = (claim, sending.failure(error, started_at=timezone.now()))
    try:
        return _write([finished])
    except RECORDING_FAULTS:
        logger.exception("Delivery %s is left to the end of its lease", claim.delivery_id)
        return 0


def _write(finished: Sequence[Finished]) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        for name, (sql, values) in statements(finished).items():
            cursor.execute(sql, values)
            if name == "write":
                recorded = cursor.rowcount
    return recorded


def disable_gone(finished: Sequence[Finished]) -> None:
    """Disable endpoints that answered 410.

    This happens before the delivery ends, so that after a crash in between it is sent again and
    answered 410 again. An endpoint whose URL has changed meanwhile is not disabled.
    """
    gone = {(claim.endpoint_id, claim.url) for claim, result in finished if result.is_gone}
    for endpoint_id, url in gone:
        with suppress(NotFound):
            endpoints.disable(
                endpoint_id=endpoint_id, reason=DisabledReason.GONE, condition=Q(url=url)
            )


# Ends the leases that still stand, each with its attempt. An address that is gone says nothing of
# the one that the endpoint got meanwhile: there the delivery is tried at once, as if this attempt
# had not been one of the schedule's. Rows come as one JSON value, which costs the client a tenth of
# what arrays of each column do.
_WRITE = """
    WITH new AS MATERIALIZED (
        SELECT * FROM json_to_recordset(%s::json) AS row(id uuid, delivery_id uuid, lease_id uuid,
            status text, wait float8, step_back int, gone_url text, number int,
            started_at timestamptz, duration_ms int, request_headers jsonb, response_status int,
            response_headers jsonb, response_body text, error text)
    ), held AS (
        UPDATE webhook_delivery AS delivery SET
            status = CASE WHEN new.gone_url <> endpoint.url THEN 'pending' ELSE new.status END,
            lease_id = NULL,
            delivered_at = CASE WHEN new.status = 'delivered' THEN statement_timestamp() END,
            -- One that was disabled meanwhile gets no other attempt: what waits is failed soon.
            due_at = CASE WHEN NOT endpoint.is_active OR new.gone_url <> endpoint.url
                    THEN statement_timestamp()
                WHEN new.wait IS NULL THEN delivery.due_at
                ELSE statement_timestamp() + make_interval(secs => new.wait) END,
            schedule_step = schedule_step
                - CASE WHEN new.gone_url <> endpoint.url THEN 1 ELSE new.step_back END,
            last_error = new.error, updated_at = now()
        FROM new, webhook_endpoint AS endpoint
        WHERE delivery.id = new.delivery_id AND delivery.lease_id = new.lease_id
            AND endpoint.id = delivery.endpoint_id AND delivery.status = 'sending'
        RETURNING new.id AS attempt_id, delivery.endpoint_id
    )
    INSERT INTO webhook_attempt (id, created_at, updated_at, delivery_id, endpoint_id, number,
        started_at, duration_ms, request_headers, response_status, response_headers, response_body,
        error)
    SELECT new.id, now(), now(), delivery_id, endpoint_id, number, started_at, duration_ms,
        request_headers, response_status, response_headers, response_body, error
    FROM held JOIN new ON new.id = held.attempt_id
"""


def statements(finished: Sequence[Finished]) -> dict[str, Statement]:
    """The statements that write results, to be executed in this order in one transaction.

    `write` returns as many rows as there were valid leases. Events are locked before deliveries, as
    everywhere.
    """
    event_ids = list({claim.event_id for claim, _ in finished})
    rows = [_row(claim, result) for claim, result in finished]
    return {
        "lock": (events.LOCK, [event_ids]),
        "write": (_WRITE, [orjson.dumps(rows).decode()]),
        "roll up": (events.ROLL_UP, [event_ids]),
    }


def _row(claim: Claim, result: sending.Result) -> dict[str, Any]:
    outcome = _outcome(claim, result)
    return {
        "id": uuid7(),
        "delivery_id": claim.delivery_id,
        "lease_id": claim.lease_id,
        "status": outcome.status,
        "wait": outcome.wait,
        "step_back": outcome.step_back,
        "gone_url": claim.url if result.is_gone and not claim.is_test else None,
        "number": claim.attempt,
        "started_at": result.started_at,
        "duration_ms": result.duration_ms,
        "request_headers": result.request_headers,
        "response_status": result.status,
        "response_headers": result.headers,
        "response_body": result.body,
        "error": result.error,
    }


def _outcome(claim: Claim, result: sending.Result) -> _Outcome:
    if result.is_delivered:
        return _Outcome(DeliveryStatus.DELIVERED)
    if result.is_interrupted:
        return _Outcome(DeliveryStatus.PENDING, wait=0, step_back=1)
    if result.is_gone or claim.next_wait is None:
        return _Outcome(DeliveryStatus.FAILED)
    pause = retry_pause(claim.next_wait, result)
    return _Outcome(DeliveryStatus.PENDING, wait=pause.total_seconds())


def retry_pause(scheduled: float, result: sending.Result) -> timedelta:
    """The wait before the next attempt: `scheduled` seconds with jitter, or what was asked for.

    `Retry-After` counts with 429 and 503 only, never shortens a wait, and is limited to a day.
    """
    jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, keeps no secret
    pause = timedelta(seconds=scheduled * jitter)
    if result.status in (429, 503) and result.retry_after is not None:
        return max(pause, min(timedelta(seconds=result.retry_after), RETRY_AFTER_MAX))
    return pause


def note_health(finished: Sequence[Finished]) -> None:
    """Count failures in a row by endpoint. If this fails, no result is lost."""
    succeeded: set[UUID] = set()
    failures: Counter[UUID] = Counter()
    for claim, result in finished:
        if result.is_interrupted:
            continue
        if result.is_delivered:
            succeeded.add(claim.endpoint_id)
            failures.pop(claim.endpoint_id, None)
        else:
            failures[claim.endpoint_id] += 1
    try:
        health.count(succeeded=succeeded, failures=failures)
    except Error:
        logger.exception("The health of endpoints was not noted")
