"""Whether many slow clients get in the way of others.

Starts the portal as `make run` does. Two hundred clients send a part each at 32 KiB/s; meanwhile a
fast client uploads, and the health check and the file list are timed. The same figures without
slow clients stand beside.

    .venv/bin/python scripts/bench_slow_clients.py            # five minutes: slow parts end too
    .venv/bin/python scripts/bench_slow_clients.py --quick    # whether it works at all
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import queue
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import Queue
from typing import Any

import benchlib
from benchlib import MIB, PartSender, Payload, Portal

KIB = 2**10
_BLOCK_BYTES = 8 * KIB
_START_TIMEOUT = 60  # seconds until every slow client is sending
_PROBE_PAUSE = 0.02  # seconds between two timed requests
_PROBE_TIMEOUT = 60
_LIST_BYTES = KIB  # of the files that fill the list
_LIST_FILES = 60


# --- Slow clients: one process for all --------------------------------------------------------


@dataclass(frozen=True)
class SlowClients:
    """`reports` carries "sending" from each as it begins, and in the end what became of it."""

    count: int
    reports: "Queue[str]"

    def wait_until_sending(self) -> None:
        self._collect(_START_TIMEOUT)

    def outcomes(self, *, timeout: float) -> Counter[str]:
        return self._collect(timeout)

    def _collect(self, timeout: float) -> Counter[str]:
        """One report of each client; those that say nothing in time count as "no answer"."""
        deadline = time.monotonic() + timeout
        found: Counter[str] = Counter()
        try:
            while found.total() < self.count:
                found[self.reports.get(timeout=max(0.0, deadline - time.monotonic()))] += 1
        except queue.Empty:
            found["no answer"] = self.count - found.total()
        return found


@contextmanager
def running_slow_clients(portal: Portal, options: argparse.Namespace) -> Iterator[SlowClients]:
    payload = Payload(size_bytes=options.slow_part, chunk_bytes=options.slow_part)
    sessions = [
        portal.create_session(payload, name=f"slow-{number}.bin")["session_id"]
        for number in range(options.clients)
    ]
    context = multiprocessing.get_context("fork")
    reports = context.Queue()
    process = context.Process(
        target=_run_slow_clients, args=(portal, sessions, options, reports), daemon=True
    )
    process.start()
    try:
        yield SlowClients(count=len(sessions), reports=reports)
    finally:
        process.terminate()
        process.join()


def _run_slow_clients(
    portal: Portal, sessions: list[str], options: argparse.Namespace, reports: "Queue[str]"
) -> None:
    async def run() -> None:
        await asyncio.gather(*(_send_slowly(portal, each, options, reports) for each in sessions))

    asyncio.run(run())


async def _send_slowly(
    portal: Portal, session_id: str, options: argparse.Namespace, reports: "Queue[str]"
) -> None:
    try:
        reader, writer = await asyncio.open_connection(benchlib.HOST, portal.port)
        writer.write(benchlib.part_head(portal, session_id, number=1, length=options.slow_part))
        block = bytes(_BLOCK_BYTES)
        started = time.monotonic()
        for sent in range(0, options.slow_part, _BLOCK_BYTES):
            await asyncio.sleep(started + sent / options.rate - time.monotonic())
            writer.write(block[: options.slow_part - sent])
            await writer.drain()
            if sent == 0:
                reports.put("sending")
        status = (await reader.readline()).decode()
        writer.close()
        reports.put(status.strip())
    except OSError as exc:
        reports.put(type(exc).__name__)


# --- Others -----------------------------------------------------------------------------------


def measure(portal: Portal, options: argparse.Namespace) -> dict[str, Any]:
    """Answer times while nobody uploads fast, then while one does, and how fast that is."""
    quiet_until = time.monotonic() + options.seconds
    quiet = probe(portal, lambda: time.monotonic() < quiet_until)
    with ThreadPoolExecutor(1) as pool:
        uploads = pool.submit(upload_files, portal, options)
        busy = probe(portal, lambda: not uploads.done())
        speeds = uploads.result()
    return {"quiet": quiet, "during_fast_upload": busy, "fast_upload_mib_per_second": speeds}


def upload_files(portal: Portal, options: argparse.Namespace) -> list[float]:
    """MiB/s of each of some uploads, finalizing included."""
    payload = Payload(size_bytes=options.size, chunk_bytes=options.chunk)
    speeds = []
    for _ in range(options.uploads):
        started = time.perf_counter()
        session = portal.create_session(payload, name="fast.bin")
        benchlib.send_all(
            payload,
            connect=partial(PartSender, portal, session["session_id"]),
            connections=options.connections,
        )
        file = portal.finalize(session["session_id"])
        speeds.append(round(payload.size_bytes / MIB / (time.perf_counter() - started), 1))
        portal.delete_file(file["id"])
    return speeds


def probe(portal: Portal, is_wanted: Any) -> dict[str, dict[str, float]]:
    """Time requests, one after the other, each on a connection of its own."""
    seconds: dict[str, list[float]] = {"/healthz/": [], "/api/v1/files": []}
    while is_wanted():
        for path, times in seconds.items():
            times.append(_time_request(portal, path))
            time.sleep(_PROBE_PAUSE)
    return {path: benchlib.percentiles(times) for path, times in seconds.items()}


def _time_request(portal: Portal, path: str) -> float:
    connection = http.client.HTTPConnection(benchlib.HOST, portal.port, timeout=_PROBE_TIMEOUT)
    started = time.perf_counter()
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {portal.token}"})
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"GET {path} was answered {answer.status}")
    return time.perf_counter() - started


def fill_list(portal: Portal) -> None:
    """A file list has a full page to show."""
    payload = Payload(size_bytes=_LIST_BYTES, chunk_bytes=256 * KIB)
    for number in range(_LIST_FILES):
        session = portal.create_session(payload, name=f"listed-{number}.bin")["session_id"]
        benchlib.send_all(payload, connect=partial(PartSender, portal, session), connections=1)
        portal.finalize(session)


# --- The run ----------------------------------------------------------------------------------


def _show(title: str, figures: dict[str, Any]) -> None:
    print(f"\n{title}", file=sys.stderr)
    for when in ("quiet", "during_fast_upload"):
        for path, times in figures[when].items():
            print(
                f"  {when.replace('_', ' '):19} {path:14} p50 {times['p50_ms']:7.1f} ms   "
                f"p95 {times['p95_ms']:7.1f} ms   max {times['max_ms']:7.1f} ms   "
                f"({times['count']} requests)",
                file=sys.stderr,
            )
    speeds = ", ".join(str(speed) for speed in figures["fast_upload_mib_per_second"])
    print(f"  fast uploads: {speeds} MiB/s", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=200, help="slow clients")
    parser.add_argument("--rate", type=benchlib.size, default=32 * KIB, help="bytes/s of each")
    parser.add_argument("--slow-part", type=benchlib.size, default=8 * MIB)
    parser.add_argument("--size", type=benchlib.size, default=256 * MIB, help="of the fast file")
    parser.add_argument("--chunk", type=benchlib.size, default=8 * MIB)
    parser.add_argument("--connections", type=int, default=4, help="of the fast client")
    parser.add_argument("--uploads", type=int, default=5, help="fast uploads")
    parser.add_argument("--seconds", type=float, default=10, help="of timing while it is quiet")
    parser.add_argument("--folder", help="where to work (default: the system's temporary folder)")
    parser.add_argument("--json", action="store_true", help="results as JSON on standard output")
    parser.add_argument("--quick", action="store_true", help="small sizes, few clients")
    options = parser.parse_args()
    if options.quick:
        options.clients, options.slow_part, options.size = 20, 256 * KIB, 32 * MIB
        options.seconds, options.uploads = 2, 2
    return options


def main() -> None:
    options = _options()
    with (
        benchlib.work_folder(options.folder) as folder,
        benchlib.running_portal(folder) as portal,
    ):
        fill_list(portal)
        upload_files(portal, options)  # warms up
        results = {"without_slow_clients": measure(portal, options)}
        _show("Without slow clients", results["without_slow_clients"])
        with running_slow_clients(portal, options) as slow:
            slow.wait_until_sending()
            results["with_slow_clients"] = measure(portal, options)
            _show(f"With {options.clients} slow clients", results["with_slow_clients"])
            still = 2 * options.slow_part / options.rate + 60  # seconds: they must end by then
            results["slow_parts"] = slow.outcomes(timeout=still)
    print(f"\nSlow parts: {dict(results['slow_parts'])}", file=sys.stderr)
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
