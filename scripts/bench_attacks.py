"""Whether clients that mean harm can stop the portal.

Starts the portal as `make run` does and times short requests, each on a connection of its own:
quietly, while one account sends hundreds of parts a byte at a time, while hundreds of anonymous
connections never finish their request's head, and while hundreds of readers take next to nothing
of a file. Attackers whose connection is ended come back.

    .venv/bin/python scripts/bench_attacks.py            # some four minutes
    .venv/bin/python scripts/bench_attacks.py --quick    # whether it works at all
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import benchlib
from benchlib import MIB, PartSender, Payload, Portal

_PART_BYTES = 256 * 2**10  # the smallest
_SETTLE_SECONDS = 3  # until all attackers are connected
_PROBE_PAUSE = 0.02  # seconds between two timed requests
_PROBE_TIMEOUT = 60
_PROBED = ("/healthz/", "/app/login/", "/api/v1/files")
_COME_BACK_SECONDS = 1  # after its connection was ended
_READ_BYTES = 512  # a slow reader takes, and so small is its receive buffer
_P95_LIMIT_MS = 200

type Attack = Callable[[int], Awaitable[str]]


@dataclass(frozen=True)
class Attackers:
    """Hundreds of clients in one process; each attack that ended is told by its last line."""

    count: int
    attack: Attack

    @contextmanager
    def at_work(self) -> Iterator[None]:
        context = multiprocessing.get_context("fork")
        process = context.Process(target=self._run, daemon=True)
        process.start()
        try:
            time.sleep(_SETTLE_SECONDS)
            yield
        finally:
            process.terminate()
            process.join()

    def _run(self) -> None:
        asyncio.run(self._attack_together())

    async def _attack_together(self) -> None:
        ended: Counter[str] = Counter()
        reported = time.monotonic()

        async def one(number: int) -> None:
            nonlocal reported
            while True:
                try:
                    ended[await self.attack(number)] += 1
                except OSError as exc:
                    ended[type(exc).__name__] += 1
                if time.monotonic() > reported + 20:
                    reported = time.monotonic()
                    print(f"  attacks that were ended: {dict(ended)}", file=sys.stderr, flush=True)
                await asyncio.sleep(_COME_BACK_SECONDS)

        await asyncio.gather(*(one(number) for number in range(self.count)))


# --- Attacks ------------------------------------------------------------------------------------


def dripping_parts(portal: Portal, options: argparse.Namespace) -> Attackers:
    """One account's parts, a byte in ten seconds each."""
    size = options.parts * _PART_BYTES
    payload = Payload(size_bytes=size, chunk_bytes=_PART_BYTES)
    session = portal.create_session(payload, name="dripping.bin")["session_id"]

    async def attack(number: int) -> str:
        reader, writer = await asyncio.open_connection(benchlib.HOST, portal.port)
        writer.write(benchlib.part_head(portal, session, number=number + 1, length=_PART_BYTES))
        return await _drip(reader, writer, pause=10)

    return Attackers(options.parts, attack)


def half_heads(portal: Portal, options: argparse.Namespace) -> Attackers:
    """Requests of nobody whose head goes on for ever."""

    async def attack(_number: int) -> str:
        reader, writer = await asyncio.open_connection(benchlib.HOST, portal.port)
        writer.write(b"GET /healthz/ HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        return await _drip(reader, writer, pause=1)

    return Attackers(options.heads, attack)


def slow_readers(portal: Portal, options: argparse.Namespace) -> Attackers:
    """Readers of a large file who take some bytes every few seconds."""
    payload = Payload(size_bytes=64 * MIB, chunk_bytes=8 * MIB)
    session = portal.create_session(payload, name="read slowly.bin")["session_id"]
    benchlib.send_all(payload, connect=lambda: PartSender(portal, session), connections=2)
    url = portal.finalize(session)["content_url"]
    request = (
        f"GET {url} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {portal.token}\r\n\r\n"
    )

    async def attack(_number: int) -> str:
        reader, writer = await asyncio.open_connection(
            benchlib.HOST, portal.port, limit=_READ_BYTES
        )
        writer.write(request.encode())
        status = await reader.readline()
        try:
            while await reader.read(_READ_BYTES):
                await asyncio.sleep(5)
        finally:
            writer.close()
        return status.decode().strip()

    return Attackers(options.readers, attack)


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, pause: float) -> str:
    """A byte every `pause` seconds until the server answers or closes; the status line, if any."""
    answer = asyncio.ensure_future(reader.readline())
    try:
        while not answer.done():
            writer.write(b"a")
            await asyncio.wait([answer], timeout=pause)
        return answer.result().decode().strip() or "closed"
    finally:
        answer.cancel()
        writer.close()


# --- Everybody else -----------------------------------------------------------------------------


def probe(portal: Portal, *, seconds: float) -> dict[str, dict[str, float]]:
    """Time requests, one after the other."""
    until = time.monotonic() + seconds
    times: dict[str, list[float]] = {path: [] for path in _PROBED}
    while time.monotonic() < until:
        for path, taken in times.items():
            taken.append(_time_request(portal, path))
            time.sleep(_PROBE_PAUSE)
    return {path: benchlib.percentiles(taken) for path, taken in times.items()}


def _time_request(portal: Portal, path: str) -> float:
    """Seconds until the answer is read; those of the time limit where none came."""
    connection = http.client.HTTPConnection(benchlib.HOST, portal.port, timeout=_PROBE_TIMEOUT)
    started = time.perf_counter()
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {portal.token}"})
        answer = connection.getresponse()
        answer.read()
    except TimeoutError:
        return _PROBE_TIMEOUT
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"GET {path} was answered {answer.status}")
    return time.perf_counter() - started


# --- The run ------------------------------------------------------------------------------------

_ATTACKS = {
    "one account's dripping parts": dripping_parts,
    "half request heads of nobody": half_heads,
    "slow readers of a file": slow_readers,
}


def _show(title: str, figures: dict[str, Any]) -> None:
    print(title, file=sys.stderr)
    for path, times in figures.items():
        print(
            f"  {path:14} p50 {times['p50_ms']:7.1f} ms   p95 {times['p95_ms']:7.1f} ms   "
            f"max {times['max_ms']:7.1f} ms   ({times['count']} requests)",
            file=sys.stderr,
            flush=True,
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=600, help="dripping parts")
    parser.add_argument("--heads", type=int, default=800, help="half heads")
    parser.add_argument("--readers", type=int, default=600, help="slow readers")
    parser.add_argument("--seconds", type=float, default=75, help="of timing, for each attack")
    parser.add_argument("--folder", help="where to work (default: the system's temporary folder)")
    parser.add_argument("--json", action="store_true", help="results as JSON on standard output")
    parser.add_argument("--quick", action="store_true", help="few attackers, short times")
    options = parser.parse_args()
    if options.quick:
        options.parts, options.heads, options.readers, options.seconds = 60, 80, 60, 5
    return options


def main() -> None:
    options = _options()
    with (
        benchlib.work_folder(options.folder) as folder,
        benchlib.running_portal(folder) as portal,
    ):
        probe(portal, seconds=2)  # warms up
        results = {"quiet": probe(portal, seconds=min(options.seconds, 10))}
        _show("Quiet", results["quiet"])
        for name, attack in _ATTACKS.items():
            attackers = attack(portal, options)
            with attackers.at_work():
                results[name] = probe(portal, seconds=options.seconds)
            _show(f"\nWith {attackers.count} {name}", results[name])
    if options.json:
        print(json.dumps(results, indent=2))
    slow = {
        name: times["p95_ms"]
        for name, figures in results.items()
        for path, times in figures.items()
        if times["p95_ms"] > _P95_LIMIT_MS
    }
    if slow:
        sys.exit(f"p95 over {_P95_LIMIT_MS} ms: {slow}")


if __name__ == "__main__":
    main()
