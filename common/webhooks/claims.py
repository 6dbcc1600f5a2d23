"""Claims: due deliveries are leased to a worker, many in one statement.

`due_at` of a claimed delivery is the end of its lease. If the worker dies, the delivery is due
again at that time.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now
from psycopg import AsyncConnection

from common.db import database_now
from common.errors import DooritoError
from common.ids import uuid7
from common.journal import NOWHERE, Origin
from common.models import (
    DeliveryStatus,
    OutboxEvent,
    TimeStampedQuerySet,
    WebhookDelivery,
    WebhookEndpoint,
)
from common.outbox import envelopes, events
from common.webhooks import endpoints, sending
from common.webhooks.event_loop_db import Statement, in_thread

FIRST_SHARE = 8  # concurrent attempts at an endpoint that is new to the run
FAILING_SHARE = 4  # ... and at an endpoint whose last attempt failed
LEASE_MARGIN = timedelta(seconds=30)  # added to the attempt's timeout, for busy machines
EXHAUSTED = "No attempt of the retry schedule is left."


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that this worker has leased, with everything an attempt needs.

    `message` is None when the endpoint's secret cannot be decrypted; `fault` then says so.
    `attempt` is the number of the attempt; `next_wait` the seconds that the schedule sets after it,
    None for the last.
    """

    delivery_id: UUID
    lease_id: UUID
    event_id: UUID
    endpoint_id: UUID
    message: sending.Message | None
    fault: str
    attempt: int
    next_wait: int | None
    is_failing: bool  # the endpoint's last recorded attempt failed
    is_test: bool = False  # sent once, whatever comes of it

    @property
    def url(self) -> str:
        """The URL that the attempt is sent to."""
        return self.message.url if self.message else ""

    @property
    def origin(self) -> Origin:
        """The request that the event comes from."""
        return self.message.origin if self.message else NOWHERE


def open_deliveries() -> TimeStampedQuerySet:
    """Deliveries that have not ended: the rows of the partial index `webhook_delivery_due`."""
    return WebhookDelivery.objects.filter(status__in=events.OPEN)


@dataclass(frozen=True, slots=True)
class _Receiver:
    """An endpoint with its decrypted secrets: the current one, and retired ones with their end."""

    endpoint: WebhookEndpoint
    secret: str
    retired: Sequence[tuple[str, datetime]]
    headers: Mapping[str, str]
    fault: str

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> Self:
        try:
            retired = [(old.secret, old.expires_at) for old in endpoint.retired_secrets.all()]
            return cls(endpoint, endpoint.secret, retired, endpoint.headers, fault="")
        except DooritoError as exc:
            return cls(endpoint, "", [], {}, fault=exc.message)

    def message(
        self, event: envelopes.Fact, delivery_id: UUID, *, now: datetime
    ) -> sending.Message | None:
        """`now` is the database's time, as is the end of a retired secret."""
        if self.fault:
            return None
        return sending.Message(
            url=self.endpoint.url,
            secrets=[self.secret, *(old for old, expires_at in self.retired if expires_at > now)],
            event_id=event.id,
            event_type=event.event_type,
            delivery_id=delivery_id,
            body=envelopes.body(event),
            timeout=timeout_of(self.endpoint),
            own_headers=self.headers,
            origin=Origin(event.request_id, event.traceparent),
        )


class Receivers:
    """The endpoints that one run sends to, loaded again when they change."""

    def __init__(self) -> None:
        self._known: dict[UUID, _Receiver] = {}

    async def of(self, changed_at: Mapping[UUID, datetime]) -> Mapping[UUID, _Receiver]:
        """Receivers by endpoint. `changed_at` is the time of each endpoint's last change."""
        stale = [
            id
            for id, at in changed_at.items()
            if id not in self._known or self._known[id].endpoint.updated_at != at
        ]
        if stale:
            self._known |= await in_thread(_read, stale)
        return self._known


def _read(endpoint_ids: Collection[UUID]) -> dict[UUID, _Receiver]:
    rows = WebhookEndpoint.objects.filter(id__in=endpoint_ids).prefetch_related("retired_secrets")
    return {row.id: _Receiver.of(row) for row in rows}


def timeout_of(endpoint: WebhookEndpoint) -> int:
    """The timeout of an endpoint's attempts in seconds."""
    return endpoint.timeout_seconds or settings.PORTAL_WEBHOOK_TIMEOUT_SECONDS


# Locks what may be claimed now, oldest first: retries that are due and leases that ended. Each
# endpoint offers no more than its room, so that the cost does not grow with what waits for any.
_CLAIM = """
    WITH due AS (
        SELECT chosen.id, chosen.event_id, endpoint.updated_at AS endpoint_changed_at,
            coalesce(endpoint.timeout_seconds, %(timeout)s) AS timeout_seconds
        FROM webhook_endpoint AS endpoint
        LEFT JOIN unnest(%(flows)s::uuid[], %(under_way)s::int[], %(allowance)s::int[],
            %(is_failing)s::bool[]) AS flow(id, under_way, allowance, is_failing)
            ON flow.id = endpoint.id
        CROSS JOIN LATERAL (
            SELECT id, event_id, due_at FROM webhook_delivery
            WHERE endpoint_id = endpoint.id AND status IN ('pending', 'sending')
                AND due_at <= statement_timestamp()
                AND schedule_step < coalesce(cardinality(endpoint.retry_schedule), %(steps)s)
            ORDER BY due_at
            LIMIT greatest(0, coalesce(-flow.under_way, 0) + CASE
                WHEN coalesce(flow.is_failing, endpoint.consecutive_failures > 0) THEN %(failing)s
                ELSE coalesce(flow.allowance, %(first)s) END)
            FOR UPDATE SKIP LOCKED
        ) AS chosen
        WHERE endpoint.is_active AND coalesce(endpoint.expires_at > statement_timestamp(), true)
        ORDER BY chosen.due_at LIMIT %(limit)s
    )
    UPDATE webhook_delivery AS delivery SET
        status = 'sending',
        lease_id = %(lease)s,
        due_at = statement_timestamp() + make_interval(secs => %(margin)s + due.timeout_seconds),
        attempt_count = attempt_count + 1,
        schedule_step = schedule_step + 1,
        updated_at = statement_timestamp()
    FROM due JOIN outbox_event AS event ON event.id = due.event_id
    WHERE delivery.id = due.id
    RETURNING delivery.id, delivery.attempt_count, delivery.schedule_step, delivery.endpoint_id,
        endpoint_changed_at, event.id, event.event_type, event.schema_version, event.created_at,
        event.payload, event.request_id, event.traceparent, statement_timestamp()
"""


@dataclass(slots=True)
class Flow:
    """What a run knows about an endpoint: the number of attempts under way, and their limit.

    The limit grows with every success, so that endpoints that hang get few attempts, and drops when
    an attempt fails.
    """

    under_way: int = 0
    allowance: int = FIRST_SHARE
    is_failing: bool = False

    def record(self, *, is_delivered: bool) -> None:
        """Record that an attempt has ended."""
        self.under_way -= 1
        self.is_failing = not is_delivered
        if is_delivered:
            most = settings.PORTAL_WEBHOOK_CONCURRENCY_PER_ENDPOINT
            self.allowance = min(self.allowance + 1, most)
        else:
            self.allowance = FIRST_SHARE


async def claim(
    database: AsyncConnection,
    *,
    limit: int,
    flows: Mapping[UUID, Flow],
    receivers: Receivers,
    failing_share: int = FAILING_SHARE,
) -> list[Claim]:
    """Lease up to `limit` due deliveries, at most each endpoint's share of them.

    `failing_share` is the share of failing endpoints; `flows` has the state of known endpoints.
    """
    if limit <= 0:
        return []
    lease_id = uuid7()
    statement = claiming(limit=limit, flows=flows, failing_share=failing_share, lease_id=lease_id)
    cursor = await database.execute(*statement)
    rows = [_Row(*row) for row in await cursor.fetchall()]
    known = await receivers.of({row.endpoint_id: row.endpoint_changed_at for row in rows})
    return [
        _claim_of(row, known[row.endpoint_id], lease_id)
        for row in rows
        if row.endpoint_id in known  # otherwise it was just removed
    ]


def fail_undeliverable() -> None:
    """Fail due deliveries that can never be claimed, without an attempt.

    Their endpoint was disabled, or its listener ended, while they were written; or a worker died in
    the last attempt, or the schedule was shortened.
    """
    now, steps = database_now(), len(settings.PORTAL_RETRY_SCHEDULE)
    with connection.cursor() as cursor:
        cursor.execute(_HOPELESS, {"now": now, "steps": steps})
        found = cursor.fetchall()
    due = open_deliveries().filter(due_at__lte=now)  # deliveries restarted meanwhile are due later
    if exhausted := [id for id, is_exhausted in found if is_exhausted]:
        endpoints.give_up(due.filter(id__in=exhausted), error=EXHAUSTED)
    if others := [id for id, is_exhausted in found if not is_exhausted]:
        is_off = Q(endpoint__is_active=False) | Q(endpoint__expires_at__lte=now)
        endpoints.give_up(due.filter(is_off, id__in=others), error=endpoints.DISABLED)


# Looks at the longest due of each endpoint only, where the hopeless end up.
_HOPELESS = """
    SELECT delivery_id, is_exhausted FROM webhook_endpoint AS endpoint CROSS JOIN LATERAL (
        SELECT id, schedule_step >= coalesce(cardinality(endpoint.retry_schedule), %(steps)s)
            AS is_exhausted
        FROM webhook_delivery
        WHERE endpoint_id = endpoint.id AND status IN ('pending', 'sending') AND due_at <= %(now)s
        ORDER BY due_at LIMIT 1000
    ) AS due(delivery_id, is_exhausted)
    WHERE is_exhausted OR NOT endpoint.is_active OR endpoint.expires_at <= %(now)s
"""


class _Row(NamedTuple):
    """A row of the claiming statement, which has the values of a Fact about its event."""

    delivery_id: UUID
    attempt: int
    step: int
    endpoint_id: UUID
    endpoint_changed_at: datetime
    id: UUID
    event_type: str
    schema_version: int
    created_at: datetime
    payload: dict[str, Any]
    request_id: str
    traceparent: str
    claimed_at: datetime


def claiming(
    *, limit: int, flows: Mapping[UUID, Flow], failing_share: int, lease_id: UUID
) -> Statement:
    """The statement that claims deliveries, with its parameters."""
    return _CLAIM, {
        "lease": lease_id,
        "margin": LEASE_MARGIN.total_seconds(),
        "timeout": settings.PORTAL_WEBHOOK_TIMEOUT_SECONDS,
        "steps": len(settings.PORTAL_RETRY_SCHEDULE),
        "flows": list(flows),
        "under_way": [flow.under_way for flow in flows.values()],
        "allowance": [flow.allowance for flow in flows.values()],
        "is_failing": [flow.is_failing for flow in flows.values()],
        "first": FIRST_SHARE,
        "failing": failing_share,
        "limit": limit,
    }


def _claim_of(row: _Row, receiver: _Receiver, lease_id: UUID) -> Claim:
    schedule = events.retry_schedule(receiver.endpoint)
    return Claim(
        delivery_id=row.delivery_id,
        lease_id=lease_id,
        event_id=row.id,
        endpoint_id=row.endpoint_id,
        message=receiver.message(row, row.delivery_id, now=row.claimed_at),
        fault=receiver.fault,
        attempt=row.attempt,
        next_wait=schedule[row.step] if row.step < len(schedule) else None,
        is_failing=receiver.endpoint.consecutive_failures > 0,
    )


def claim_for_test(event: OutboxEvent, endpoint: WebhookEndpoint) -> Claim:
    """Create the delivery of a test event, already leased, with a single attempt."""
    lease_id = uuid7()
    lease = LEASE_MARGIN + timedelta(seconds=timeout_of(endpoint))
    delivery = WebhookDelivery.objects.create(
        event=event,
        endpoint=endpoint,
        status=DeliveryStatus.SENDING,
        due_at=Now() + lease,
        lease_id=lease_id,
        attempt_count=1,
        schedule_step=len(events.retry_schedule(endpoint)),
    )
    receiver = _Receiver.of(endpoint)
    return Claim(
        delivery_id=delivery.id,
        lease_id=lease_id,
        event_id=event.id,
        endpoint_id=endpoint.id,
        message=receiver.message(event, delivery.id, now=delivery.due_at - lease),
        fault=receiver.fault,
        attempt=1,
        next_wait=None,
        is_failing=True,
        is_test=True,
    )
