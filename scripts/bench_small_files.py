"""How many small files a second the portal stores, beside the reference tus server.

Both get the same files from the same client, over the same number of connections, in turns; the
median of the pairs' ratios counts, since single figures drift with the machine. The portal answers
when a file is on the disk and its row and event are committed; the peer syncs nothing and asks no
database.

    .venv/bin/python scripts/bench_small_files.py            # five pairs
    .venv/bin/python scripts/bench_small_files.py --quick    # whether it works at all
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import benchlib
import benchpeer
from benchlib import HOST, Portal


def portal_request(portal: Portal, name: str, data: bytes) -> bytes:
    return (
        f"POST /api/v1/files?filename={name} HTTP/1.1\r\nHost: {HOST}:{portal.port}\r\n"
        f"Authorization: Bearer {portal.token}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    ).encode() + data


def files_per_second(
    port: int, requests: Callable[[str, bytes], bytes], options: argparse.Namespace
) -> float:
    """Send every file over so many kept-alive connections at once."""

    def send(numbers: range) -> None:
        connection = benchlib.open_socket(port)
        try:
            for number in numbers:
                data = os.urandom(options.size)
                connection.sendall(requests(f"small-{number}.bin", data))
                status, head = benchpeer.read_head(connection)
                if status != 201:
                    raise RuntimeError(f"file {number} was answered {status}: {head!r}")
        finally:
            connection.close()

    shares = [range(at, options.files, options.connections) for at in range(options.connections)]
    with ThreadPoolExecutor(options.connections) as pool:
        started = time.perf_counter()
        for outcome in [pool.submit(send, share) for share in shares]:
            outcome.result()
        return options.files / (time.perf_counter() - started)


def measure(portal: Portal, peer: benchpeer.Peer, options: argparse.Namespace) -> dict[str, Any]:
    """Portal and peer in turns, after one of each that does not count."""
    pairs = []
    for number in range(options.pairs + 1):
        ours = files_per_second(
            portal.port, lambda name, data: portal_request(portal, name, data), options
        )
        theirs = files_per_second(
            peer.port, lambda name, data: benchpeer.small_file_request(peer, name, data), options
        )
        peer.remove_all()
        if number:
            pairs.append((ours, theirs))
            print(
                f"pair {number}: portal {ours:.0f} files/s, peer {theirs:.0f} files/s, "
                f"ratio {ours / theirs:.2f}",
                file=sys.stderr,
            )
    result = {
        "portal_files_per_second": statistics.median(ours for ours, _ in pairs),
        "peer_files_per_second": statistics.median(theirs for _, theirs in pairs),
        "median_ratio": statistics.median(ours / theirs for ours, theirs in pairs),
    }
    print(
        f"median: portal {result['portal_files_per_second']:.0f} files/s, "
        f"ratio to the peer {result['median_ratio']:.2f}",
        file=sys.stderr,
    )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=benchlib.size, default=4096, help="of a file")
    parser.add_argument("--files", type=int, default=2000, help="in one run")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--folder", help="where to work (default: the system's temporary folder)")
    parser.add_argument("--json", action="store_true", help="results as JSON on standard output")
    parser.add_argument("--quick", action="store_true", help="few files, one pair")
    options = parser.parse_args()
    if options.quick:
        options.files, options.pairs = 200, 1
    with (
        benchlib.work_folder(options.folder) as folder,
        benchpeer.running_peer(folder) as peer,
        benchlib.running_portal(folder) as portal,
    ):
        result = measure(portal, peer, options)
    if options.json:
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
