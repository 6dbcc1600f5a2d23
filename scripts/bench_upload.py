"""How fast the portal receives, beside the least that receiving can cost.

Starts the portal as `make run` does and a raw-socket sink that writes the same bytes to the same
file system and hashes them once. Both get the same parts from the same client, in turns; the
median of the pairs' ratios counts, since single figures drift with the machine.

    .venv/bin/python scripts/bench_upload.py              # the full run, some minutes
    .venv/bin/python scripts/bench_upload.py --quick      # whether it works at all
    .venv/bin/python scripts/bench_upload.py --peer tus   # beside the reference tus server
    .venv/bin/python scripts/bench_upload.py --peer tus --streams four
    .venv/bin/python scripts/bench_upload.py --peer tus --door tus   # both speak tus

With `--peer tus` the same client sends the same pieces in order, over one connection to one
upload (`--streams one`) or to four at once, to the portal and to the reference tus server in turns.
Memory that was handed back to the host makes the first write of each page some ten times slower: so
each run gets as much page cache as it needs while it goes on, and nothing of it goes cold before.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import benchlib
import benchpeer
from benchlib import GIB, MIB, PartSender, Payload, Portal
from benchpeer import PatchSender, Peer, TusServer

_HEADER = struct.Struct("!QQ")  # offset and length of the part that follows, in bytes
_BLOCK_BYTES = MIB
_STREAMS = {"one": 1, "four": 4}


# --- The sink: nothing but receive, hash, write ----------------------------------------------


@dataclass(frozen=True)
class Sink:
    port: int
    path: Path
    process_id: int


@contextmanager
def running_sink(folder: Path) -> Iterator[Sink]:
    path = folder / "sink.bin"
    path.touch()
    listener = socket.create_server((benchlib.HOST, 0))
    process = multiprocessing.get_context("fork").Process(
        target=_serve, args=(listener, path), daemon=True
    )
    process.start()
    assert process.pid is not None
    try:
        yield Sink(port=listener.getsockname()[1], path=path, process_id=process.pid)
    finally:
        listener.close()
        process.terminate()
        process.join()


def _serve(listener: socket.socket, path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_receive, args=(connection, descriptor), daemon=True).start()


def _receive(connection: socket.socket, descriptor: int) -> None:
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    header = memoryview(bytearray(_HEADER.size))
    with connection:
        while connection.recv_into(header, flags=socket.MSG_WAITALL) == _HEADER.size:
            offset, left = _HEADER.unpack(header)
            digest = hashlib.sha256()
            while left:
                count = connection.recv_into(buffer[: min(left, _BLOCK_BYTES)])
                if count == 0:
                    return
                digest.update(buffer[:count])
                os.pwrite(descriptor, buffer[:count], offset)
                offset += count
                left -= count
            connection.sendall(digest.digest())


class SinkSender:
    def __init__(self, port: int) -> None:
        self._socket = benchlib.open_socket(port)

    def send(self, _number: int, offset: int, view: memoryview) -> None:
        self._socket.sendall(_HEADER.pack(offset, len(view)))
        self._socket.sendall(view)
        if len(self._socket.recv(32, socket.MSG_WAITALL)) != 32:
            raise RuntimeError("the sink ended the connection")

    def close(self) -> None:
        self._socket.close()


# --- Memory that is as fast for all ----------------------------------------------------------


class WarmMemory:
    """Page cache for one run, so that every run has the same memory to write to.

    The host of a virtual machine takes freed memory back, within a second or two, and a page that
    it has to give anew costs several times what receiving costs. So as much page cache as the run
    needs is filled before it, by a file of which just so much is cut off before each piece is sent
    as that piece will take. No byte of it needs to reach the disk.
    """

    def __init__(self, folder: Path, payload: Payload) -> None:
        self._path = folder / "scratch.bin"
        self._left = payload.size_bytes
        self._lock = threading.Lock()
        with self._path.open("wb", buffering=0) as file:
            for number in range(1, payload.count + 1):
                file.write(payload.part(number))

    def before_each(self, sender: Any) -> "WarmSender":
        return WarmSender(self, sender)

    def free(self, size_bytes: int) -> None:
        with self._lock:
            self._left -= size_bytes
            if self._left > 0:
                os.truncate(self._path, self._left)
            else:
                self._path.unlink(missing_ok=True)


class WarmSender:
    """Frees as much memory as it sends."""

    def __init__(self, memory: WarmMemory, sender: Any) -> None:
        self._memory = memory
        self._sender = sender

    def send(self, number: int, offset: int, view: memoryview) -> None:
        self._memory.free(len(view))
        self._sender.send(number, offset, view)

    def close(self) -> None:
        self._sender.close()


# --- One upload to each ----------------------------------------------------------------------


@dataclass(frozen=True)
class Upload:
    """`finalize_seconds` is what it took, when all was received, to have it safely on disk."""

    mib_per_second: float
    durable_mib_per_second: float
    cpu_seconds_per_gib: float
    finalize_seconds: float


def upload_to_sink(sink: Sink, payload: Payload, *, connections: int) -> Upload:
    memory = WarmMemory(sink.path.parent, payload)
    cpu = benchlib.cpu_seconds([sink.process_id])
    seconds = benchlib.send_all(
        payload,
        connect=lambda: memory.before_each(SinkSender(sink.port)),
        connections=connections,
    )
    cpu = benchlib.cpu_seconds([sink.process_id]) - cpu
    if sink.path.stat().st_size != payload.size_bytes:
        raise RuntimeError("the sink's file has another size")
    started = time.perf_counter()
    with sink.path.open("r+b") as file:
        os.fsync(file)
    finalize = time.perf_counter() - started
    os.truncate(sink.path, 0)
    return _upload(payload, seconds=seconds, cpu=cpu, finalize=finalize)


def upload_to_portal(
    portal: Portal,
    payload: Payload,
    *,
    connections: int,
    sha256: str,
    order: list[int] | None = None,
) -> Upload:
    """Upload, finalize, check the hash, delete."""
    web = portal.web_processes()
    session = portal.create_session(payload, name="bench.bin")
    memory = WarmMemory(portal.data_folder, payload)
    cpu = benchlib.cpu_seconds(web)
    seconds = benchlib.send_all(
        payload,
        connect=lambda: memory.before_each(PartSender(portal, session["session_id"])),
        connections=connections,
        order=order,
    )
    cpu = benchlib.cpu_seconds(web) - cpu
    started = time.perf_counter()
    file = portal.finalize(session["session_id"])
    finalize = time.perf_counter() - started
    if file["sha256"] != sha256:
        raise RuntimeError(f"the portal's SHA-256 is {file['sha256']}, not {sha256}")
    portal.delete_file(file["id"])
    return _upload(payload, seconds=seconds, cpu=cpu, finalize=finalize)


def _upload(payload: Payload, *, seconds: float, cpu: float, finalize: float) -> Upload:
    return Upload(
        mib_per_second=payload.size_bytes / MIB / seconds,
        durable_mib_per_second=payload.size_bytes / MIB / (seconds + finalize),
        cpu_seconds_per_gib=cpu / (payload.size_bytes / GIB),
        finalize_seconds=finalize,
    )


# --- Beside the peer -------------------------------------------------------------------------


def streams_to_portal(portal: Portal, payload: Payload, *, streams: int, sha256: str) -> float:
    """MiB a second of so many uploads at once, each over a connection of its own."""
    sessions = [portal.create_session(payload, name="bench.bin") for _ in range(streams)]
    senders = [PartSender(portal, session["session_id"]) for session in sessions]
    rate = _send_streams(payload, senders, folder=portal.data_folder)
    for session in sessions:
        file = portal.finalize(session["session_id"])
        if file["sha256"] != sha256:
            raise RuntimeError(f"the portal's SHA-256 is {file['sha256']}, not {sha256}")
        portal.delete_file(file["id"])
    return rate


def streams_by_tus(portal: Portal, payload: Payload, *, streams: int, sha256: str) -> float:
    """As `streams_to_portal`, by the portal's own tus: the last piece is answered once stored."""
    server = TusServer(portal.port, "/api/tus/", portal.token)
    paths = [server.create(payload.size_bytes) for _ in range(streams)]
    senders = [PatchSender(server, path) for path in paths]
    rate = _send_streams(payload, senders, folder=portal.data_folder)
    for path in paths:
        session = portal.call("GET", f"/api/v1/uploads/sessions/{path.rsplit('/', 1)[-1]}")
        file = portal.call("GET", f"/api/v1/files/{session['file_id']}")
        if file["sha256"] != sha256:
            raise RuntimeError(f"the portal's SHA-256 is {file['sha256']}, not {sha256}")
        portal.delete_file(file["id"])
    return rate


def streams_to_peer(peer: Peer, payload: Payload, *, streams: int) -> float:
    paths = [peer.create(payload.size_bytes) for _ in range(streams)]
    senders = [PatchSender(peer, path) for path in paths]
    rate = _send_streams(payload, senders, folder=peer.files.parent)
    peer.remove_all()
    return rate


def _send_streams(payload: Payload, senders: list[Any], *, folder: Path) -> float:
    whole = Payload(size_bytes=len(senders) * payload.size_bytes, chunk_bytes=payload.chunk_bytes)
    memory = WarmMemory(folder, whole)
    senders = [memory.before_each(sender) for sender in senders]

    def send(sender: Any) -> None:
        for number in range(1, payload.count + 1):
            sender.send(number, payload.offset(number), payload.part(number))

    with ThreadPoolExecutor(len(senders)) as pool:
        started = time.perf_counter()
        for outcome in [pool.submit(send, sender) for sender in senders]:
            outcome.result()
        seconds = time.perf_counter() - started
    for sender in senders:
        sender.close()
    return len(senders) * payload.size_bytes / MIB / seconds


def measure_peer(
    portal: Portal, peer: Peer, payload: Payload, options: argparse.Namespace, *, sha256: str
) -> dict[str, Any]:
    """Peer and portal in turns, after one of each that does not count."""
    streams = _STREAMS[options.streams]
    send_to_portal = streams_by_tus if options.door == "tus" else streams_to_portal
    ways: dict[str, Callable[[], float]] = {
        "peer": lambda: streams_to_peer(peer, payload, streams=streams),
        "portal": lambda: send_to_portal(portal, payload, streams=streams, sha256=sha256),
    }
    pairs = []
    for number in range(options.pairs + 1):
        rates = {}
        for name, send in ways.items():
            rates[name] = send()
        if number:
            pairs.append(rates)
            _say(
                f"pair {number}: peer {rates['peer']:.0f} MiB/s, portal {rates['portal']:.0f} "
                f"MiB/s, ratio {rates['portal'] / rates['peer']:.2f}"
            )
    ratio = statistics.median(rates["portal"] / rates["peer"] for rates in pairs)
    _say(f"door: {options.door}; streams: {options.streams}; median ratio to the peer {ratio:.2f}")
    return {"door": options.door, "streams": options.streams, "pairs": pairs, "median_ratio": ratio}


# --- The measurements ------------------------------------------------------------------------


def measure_memory(portal: Portal, options: argparse.Namespace) -> dict[str, float]:
    """Peak resident size of all web processes together, small file and big file, in MiB."""
    web = portal.web_processes()
    peaks = []
    for size in (options.small, options.small, options.big):  # the first one warms up
        payload = Payload(size_bytes=size, chunk_bytes=options.chunk)
        benchlib.forget_peak_memory(web)
        upload_to_portal(portal, payload, connections=options.connections, sha256=payload.sha256())
        peaks.append(benchlib.peak_memory(web) / MIB)
    _say(
        f"peak memory of {len(web)} web processes: {peaks[1]:.0f} MiB for "
        f"{options.small // MIB} MiB, {peaks[2]:.0f} MiB for {options.big // MIB} MiB: "
        f"growth {peaks[2] - peaks[1]:+.0f} MiB"
    )
    return {"small_mib": peaks[1], "big_mib": peaks[2], "growth_mib": peaks[2] - peaks[1]}


def measure_pairs(
    portal: Portal, sink: Sink, payload: Payload, options: argparse.Namespace, *, sha256: str
) -> dict[str, Any]:
    """Sink and portal in turns, after one of each that does not count."""
    pairs = []
    for number in range(options.pairs + 1):
        raw = upload_to_sink(sink, payload, connections=options.connections)
        full = upload_to_portal(portal, payload, connections=options.connections, sha256=sha256)
        if number:
            pairs.append((raw, full))
            _say(
                f"pair {number}: sink {raw.mib_per_second:.0f} MiB/s, "
                f"portal {full.mib_per_second:.0f} MiB/s, "
                f"ratio {full.mib_per_second / raw.mib_per_second:.2f}"
            )
    ratio = statistics.median(full.mib_per_second / raw.mib_per_second for raw, full in pairs)
    durable = statistics.median(
        full.durable_mib_per_second / raw.durable_mib_per_second for raw, full in pairs
    )
    cpu = {
        "sink": statistics.median(raw.cpu_seconds_per_gib for raw, _ in pairs),
        "portal": statistics.median(full.cpu_seconds_per_gib for _, full in pairs),
    }
    _say(
        f"median ratio {ratio:.2f}, until safely on disk (sink: fsync, portal: finalize) "
        f"{durable:.2f}; server CPU seconds per GiB: "
        f"sink {cpu['sink']:.2f}, portal {cpu['portal']:.2f}"
    )
    return {
        "sink_mib_per_second": [raw.mib_per_second for raw, _ in pairs],
        "portal_mib_per_second": [full.mib_per_second for _, full in pairs],
        "median_ratio": ratio,
        "median_ratio_durable": durable,
        "cpu_seconds_per_gib": cpu,
    }


def measure_finalize(
    portal: Portal, payload: Payload, options: argparse.Namespace, *, sha256: str
) -> dict[str, Any]:
    """Seconds to finalize, by the way the parts came; beside one hashlib pass."""
    numbers = list(range(1, payload.count + 1))
    ways = {
        f"in order, {options.connections} connections": (options.connections, numbers),
        "in order, 1 connection": (1, numbers),
        f"in reverse, {options.connections} connections": (options.connections, numbers[::-1]),
    }
    seconds: dict[str, Any] = {}
    for name, (connections, order) in ways.items():
        runs = [
            upload_to_portal(
                portal, payload, connections=connections, sha256=sha256, order=order
            ).finalize_seconds
            for _ in range(options.finalize_runs)
        ]
        seconds[name] = runs
        _say(f"finalize, {name}: {_milliseconds(runs)}")
    passes = []
    for _ in range(options.finalize_runs):
        started = time.perf_counter()
        payload.sha256()
        passes.append(time.perf_counter() - started)
    _say(f"one hashlib SHA-256 pass over the same bytes: {_milliseconds(passes)}")
    return seconds | {"hashlib pass": passes}


def _milliseconds(runs: list[float]) -> str:
    each = ", ".join(f"{run * 1000:.0f}" for run in runs)
    return f"median {statistics.median(runs) * 1000:.0f} ms ({each})"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=benchlib.size, default=GIB, help="of the timed file")
    parser.add_argument("--chunk", type=benchlib.size, default=8 * MIB, help="size of a part")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--finalize-runs", type=int, default=3)
    parser.add_argument("--small", type=benchlib.size, default=64 * MIB, help="memory: small file")
    parser.add_argument("--big", type=benchlib.size, default=4 * GIB, help="memory: big file")
    parser.add_argument("--folder", help="where to work (default: the system's temporary folder)")
    parser.add_argument("--json", action="store_true", help="results as JSON on standard output")
    parser.add_argument("--peer", choices=["tus"], help="measure beside this server alone")
    parser.add_argument("--door", choices=["api", "tus"], default="api", help="with --peer")
    parser.add_argument("--streams", choices=list(_STREAMS), default="one", help="with --peer")
    parser.add_argument("--quick", action="store_true", help="small sizes, one pair")
    options = parser.parse_args()
    if options.quick:
        options.size, options.big = 64 * MIB, 128 * MIB
        options.pairs = options.finalize_runs = 1
    return options


def main() -> None:
    options = _options()
    payload = Payload(size_bytes=options.size, chunk_bytes=options.chunk)
    sha256 = payload.sha256()
    with ExitStack() as stack:
        folder = stack.enter_context(benchlib.work_folder(options.folder))
        portal = stack.enter_context(benchlib.running_portal(folder))
        if options.peer:
            peer = stack.enter_context(benchpeer.running_peer(folder))
            results = {"peer": measure_peer(portal, peer, payload, options, sha256=sha256)}
        else:
            results = _beside_the_sink(portal, folder, payload, options, sha256=sha256)
    if options.json:
        print(json.dumps(results, indent=2))


def _beside_the_sink(
    portal: Portal, folder: Path, payload: Payload, options: argparse.Namespace, *, sha256: str
) -> dict[str, Any]:
    with running_sink(folder) as sink:
        return {
            "memory": measure_memory(portal, options),
            "throughput": measure_pairs(portal, sink, payload, options, sha256=sha256),
            "finalize_seconds": measure_finalize(portal, payload, options, sha256=sha256),
        }


if __name__ == "__main__":
    main()
