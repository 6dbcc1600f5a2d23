"""How fast and how soon the portal announces, beside the least that announcing can cost.

Starts the portal as `make run` does, with one worker process, and a sink that answers 200 to every
POST. Throughput: events that were committed at once, from the first receipt to the last, beside a
bare aiohttp loop that signs and posts as many bodies of the same size with 50 tasks and no
database, in turns; the median of the pairs' ratios counts. Latency: small files, one at a time,
from the event's time (just before the commit) to the receipt. Fairness: the rate at a healthy
endpoint alone and beside one that fails and one that hangs, in turns. Last, the plan of the query
that claims deliveries, with a table full of rows.

    .venv/bin/python scripts/bench_webhooks.py            # the full run, some minutes
    .venv/bin/python scripts/bench_webhooks.py --quick    # whether it works at all
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import multiprocessing
import os
import random
import secrets
import statistics
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import aiohttp
import benchlib
from benchlib import Portal

TASKS = 50
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
FAILURE = b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n"

# Run inside the project: events as files make them, in one transaction.
_EMIT = """
from django.db import transaction
from common.ids import uuid7
from common.outbox.events import emit_event
with transaction.atomic():
    for _ in range({count}):
        id = uuid7()
        emit_event(event_type="file.uploaded", idempotency_key=str(id), aggregate_type="file",
            aggregate_id=id, payload={payload})
"""
_PAYLOAD = {
    "file": {
        "id": str(uuid.UUID(int=0)),
        "original_filename": "scan.pdf",
        "relative_path": "",
        "content_type": "application/pdf",
        "detected_type": "application/pdf",
        "size_bytes": 123456,
        "sha256": "0" * 64,
        "storage": {"backend": "local", "bucket": "", "key": "00/00/" + "0" * 32},
        "url": "http://localhost:8000/f/" + "x" * 90,
        "expires_at": None,
        "batch_id": None,
        "metadata": {},
    },
    "actor": {"user_id": str(uuid.UUID(int=1)), "email": "somebody@example.org"},
}
_PLAN = """
from django.db import connection
from common.ids import uuid7
from common.webhooks import claims
with connection.cursor() as cursor:
    cursor.execute('''
        WITH event AS (INSERT INTO outbox_event (id, created_at, updated_at, event_type,
            schema_version, aggregate_type, aggregate_id, idempotency_key, payload, status,
            content_type) SELECT gen_random_uuid(), now(), now(), 'file.uploaded', 1, 'file',
            gen_random_uuid(), n, '{{}}', 'delivered', '' FROM generate_series(1, {rows}) AS n
            RETURNING id, idempotency_key::int AS n)
        INSERT INTO webhook_delivery (id, created_at, updated_at, event_id, endpoint_id, status,
            due_at, attempt_count, schedule_step, last_error)
        SELECT gen_random_uuid(), now(), now(), event.id, (SELECT id FROM webhook_endpoint LIMIT 1),
            CASE WHEN n % 10 = 0 THEN 'pending' ELSE 'delivered' END,
            now() + (n - {rows} / 2) * interval '1 ms', 0, 0, '' FROM event
    ''')
    cursor.execute("ANALYZE webhook_delivery, outbox_event, webhook_endpoint")
    statement, values = claims.claiming(
        limit=256, flows={{}}, failing_share=claims.FAILING_SHARE, lease_id=uuid7()
    )
    cursor.execute("EXPLAIN (ANALYZE, BUFFERS) " + statement, values)
    print("\\n".join(line for (line,) in cursor.fetchall()))
"""


# --- The sink --------------------------------------------------------------------------------


class _Sink(asyncio.Protocol):
    """Answers as the path says; `GET` tells what was received and forgets it."""

    received: list[tuple[float, str]] = []  # time.time(), webhook-id; at /hook only

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            length = int(_header(head, b"content-length") or 0)
            if len(self._data) < end + 4 + length:
                return
            self._data = self._data[end + 4 + length :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"post /hang"):
            return
        if head.startswith(b"post /fail"):
            self._transport.write(FAILURE)
            return
        if head.startswith(b"post"):
            self.received.append((time.time(), _header(head, b"webhook-id").decode()))
            self._transport.write(ANSWER)
            return
        body = json.dumps(self.received).encode()
        self.received.clear()
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def _header(head: bytes, name: bytes) -> bytes:
    _, found, rest = head.partition(b"\r\n" + name + b":")
    return rest.partition(b"\r\n")[0].strip() if found else b""


def _serve(port: int) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Sink, benchlib.HOST, port)
        await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def running_sink() -> Iterator[int]:
    """Its port."""
    port = benchlib.free_port()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_serve, args=(port,), daemon=True)
    process.start()
    try:
        yield port
    finally:
        process.terminate()
        process.join()


def taken(port: int) -> list[tuple[float, str]]:
    """What the sink received since it was last asked."""
    connection = http.client.HTTPConnection(benchlib.HOST, port, timeout=60)
    try:
        connection.request("GET", "/")
        return [tuple(each) for each in json.load(connection.getresponse())]
    finally:
        connection.close()


def wait_for(port: int, count: int, *, timeout: float = 300) -> list[tuple[float, str]]:
    received: list[tuple[float, str]] = []
    deadline = time.monotonic() + timeout
    while len(received) < count:
        if time.monotonic() > deadline:
            sys.exit(f"Only {len(received)} of {count} deliveries came.")
        time.sleep(0.2)
        received += taken(port)
    return received


def rate(received: list[tuple[float, str]]) -> float:
    """Receipts per second between the first and the last."""
    moments = sorted(moment for moment, _ in received)
    return (len(moments) - 1) / (moments[-1] - moments[0])


# --- Both sides ------------------------------------------------------------------------------


def bare_rate(port: int, count: int) -> float:
    asyncio.run(_bare(port, count))
    return rate(wait_for(port, count))


async def _bare(port: int, count: int) -> None:
    """Sign and post, as little as it takes: an envelope of the same size, the same headers."""
    key = secrets.token_bytes(32)
    numbers = iter(range(count))
    url = f"http://{benchlib.HOST}:{port}/hook"

    async def work(session: aiohttp.ClientSession) -> None:
        for _ in numbers:
            id = str(uuid.uuid4())
            envelope = {
                "id": id,
                "type": "file.uploaded",
                "timestamp": "2026-01-01T00:00:00.000000Z",
            }
            body = json.dumps(envelope | {"schema_version": 1, "data": _PAYLOAD}).encode()
            timestamp = str(int(time.time()))
            signed = f"{id}.{timestamp}.".encode() + body
            signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
            headers = {
                "Content-Type": "application/json",
                "webhook-id": id,
                "webhook-timestamp": timestamp,
                "webhook-signature": f"v1,{signature}",
                "X-Webhook-Signature": hmac.new(key, body, hashlib.sha256).hexdigest(),
                "X-Webhook-Event": "file.uploaded",
                "X-Webhook-Delivery": id,
            }
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=TASKS)) as session:
        await asyncio.gather(*(work(session) for _ in range(TASKS)))


def portal_rate(portal: Portal, port: int, count: int) -> float:
    portal.manage(_EMIT.format(count=count, payload=_PAYLOAD))
    received = wait_for(port, count)
    ids = [id for _, id in received]
    if len(set(ids)) != count or len(ids) != count:
        sys.exit(f"{count} events, {len(ids)} receipts, {len(set(ids))} ids")
    return rate(received)


def latencies(portal: Portal, port: int, count: int) -> list[float]:
    """Seconds from an event's time to its receipt, for files that come one at a time."""
    taken(port)
    spans = []
    for number in range(count):
        time.sleep(random.uniform(0.3, 1.3))  # noqa: S311 - no secret
        store_file(portal, f"{number}.txt")
        ((received_at, event_id),) = wait_for_one(port)
        event = portal.call("GET", f"/api/v1/events/{event_id}")
        made_at = datetime.fromisoformat(event["created_at"]).timestamp()
        spans.append(received_at - made_at)
    return spans


def wait_for_one(port: int) -> list[tuple[float, str]]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if received := taken(port):
            return received
        time.sleep(0.01)
    sys.exit("A delivery did not come.")


def store_file(portal: Portal, name: str) -> None:
    connection = http.client.HTTPConnection(benchlib.HOST, portal.port, timeout=60)
    try:
        connection.request(
            "POST",
            f"/api/v1/files?filename={name}",
            b"hello",
            {"Authorization": f"Bearer {portal.token}", "Content-Type": "text/plain"},
        )
        answer = connection.getresponse()
        if answer.status != 201:
            sys.exit(f"A file was answered {answer.status}: {answer.read()!r}")
        answer.read()
    finally:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small numbers: does it work?")
    parser.add_argument("--events", type=int, default=5000, help="events of a run")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each side, in turns")
    parser.add_argument("--fair-events", type=int, default=1000, help="events of a fairness run")
    parser.add_argument("--files", type=int, default=100, help="files whose latency is measured")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="deliveries in the table at last"
    )
    parser.add_argument("--folder", help="where to work (default: the system's temporary folder)")
    options = parser.parse_args()
    if options.quick:
        options.events, options.pairs, options.files, options.rows = 300, 1, 5, 10_000
        options.fair_events = 100
    os.environ["WORKER_CONCURRENCY"] = "1"
    with (
        benchlib.work_folder(options.folder) as folder,
        running_sink() as port,
        benchlib.running_portal(folder) as portal,
    ):
        run(portal, port, options)


def add_endpoint(portal: Portal, port: int, path: str) -> str:
    url = f"http://{benchlib.HOST}:{port}{path}"
    chosen = {"url": url, "event_types": ["file.uploaded"]}
    return portal.call("POST", "/api/v1/webhooks", chosen, expect=201)["id"]


def fairness(portal: Portal, port: int, options: Any) -> None:
    """The healthy endpoint's rate alone, and while one answers 500 and one never answers."""
    others = [add_endpoint(portal, port, path) for path in ("/fail", "/hang")]
    ratios = []
    for pair in range(options.pairs):
        rates = []
        for action in ("disable", "enable"):
            for other in others:
                portal.call("POST", f"/api/v1/webhooks/{other}/{action}")
            rates.append(portal_rate(portal, port, options.fair_events))
        ratios.append(rates[1] / rates[0])
        print(
            f"pair {pair + 1}: healthy alone {rates[0]:,.0f}/s, beside a failing and a hanging "
            f"endpoint {rates[1]:,.0f}/s, {ratios[-1]:.2f}"
        )
    print(f"fairness: median ratio {statistics.median(ratios):.2f}")
    for other in others:
        portal.call("DELETE", f"/api/v1/webhooks/{other}", expect=204)


def run(portal: Portal, port: int, options: Any) -> None:
    add_endpoint(portal, port, "/hook")
    ratios = []
    for pair in range(options.pairs):
        bare, own = bare_rate(port, options.events), portal_rate(portal, port, options.events)
        ratios.append(own / bare)
        print(f"pair {pair + 1}: bare loop {bare:,.0f}/s, portal {own:,.0f}/s, {own / bare:.2f}")
    print(f"throughput: median ratio {statistics.median(ratios):.2f}")
    spans = latencies(portal, port, options.files)
    print(f"latency: {benchlib.percentiles(spans)}")
    fairness(portal, port, options)
    print(f"the claim's plan with {options.rows:,} deliveries in the table:")
    print(portal.manage(_PLAN.format(rows=options.rows)))


if __name__ == "__main__":
    main()
