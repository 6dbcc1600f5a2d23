"""How fast and how soon workflows run, beside the least that their work can cost.

Starts the portal as `make run` does. Throughput: `extract_text` on every file of a batch, from the
start of the first run to the end of the last, beside a loop that does the same work on the same
files with as many processes at once, a fresh one for each file, and no database; in turns, and the
median of the pairs' ratios counts. Latency: files one at a time with an auto-start rule, from the
run's row, which is made with the file's, to the beginning and the end of its attempt.

    .venv/bin/python scripts/bench_workflows.py            # the full run, some minutes
    .venv/bin/python scripts/bench_workflows.py --quick    # whether it works at all
"""

import argparse
import multiprocessing
import random
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import benchlib
from benchlib import Portal

sys.path.insert(0, str(benchlib.ROOT))

AT_ONCE = 2  # WORKFLOW_CONCURRENCY's default
PATIENCE = 600  # seconds
LINES = 40  # of a file
DEFINE = """
from uploads.models import Workflow
from uploads.workflows import registry
for slug, is_rule in (("batch", False), ("rule", True)):
    task = registry.get("extract_text")
    Workflow.objects.create(name=slug, slug=slug, task_name=task.name, auto_start=is_rule,
        is_active=not is_rule, accepted_types=["text/plain"])
"""
SWITCH = """
from uploads.models import Workflow
Workflow.objects.filter(slug="rule").update(is_active=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small numbers: does it work?")
    parser.add_argument("--files", type=int, default=300, help="files of a batch")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each side, in turns")
    parser.add_argument("--single", type=int, default=50, help="files whose latency is measured")
    parser.add_argument("--folder", help="where to work (default: the system's temporary folder)")
    options = parser.parse_args()
    if options.quick:
        options.files, options.pairs, options.single = 20, 1, 3
    with (
        benchlib.work_folder(options.folder) as folder,
        benchlib.running_portal(folder) as portal,
    ):
        portal.manage(DEFINE)
        throughput(portal, folder, options)
        portal.manage(SWITCH)
        begun, ended = latencies(portal, options.single)
        print(f"from the run's row to its attempt: {benchlib.percentiles(begun)}")
        print(f"from the run's row to its end: {benchlib.percentiles(ended)}")


def throughput(portal: Portal, folder: Path, options: Any) -> None:
    text = content(0)
    files = [folder / f"{number}.txt" for number in range(options.files)]
    for path in files:
        path.write_text(text)
    ratios = []
    for pair in range(options.pairs):
        bare, own = bare_rate(files), portal_rate(portal, options.files)
        ratios.append(own / bare)
        print(f"pair {pair + 1}: bare loop {bare:.1f}/s, portal {own:.1f}/s, {ratios[-1]:.2f}")
    print(f"throughput: median ratio {statistics.median(ratios):.2f}")


def content(number: int) -> str:
    return "".join(f"Line {line} of file {number}: all is well.\n" for line in range(LINES))


def bare_rate(files: list[Path]) -> float:
    """Files a second."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["uploads.workflows.text"])

    def work(path: Path) -> None:
        process = context.Process(target=extract, args=(path,))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"The bare loop failed on {path}.")

    work(files[0])  # starts the server
    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, files))
    return len(files) / (time.perf_counter() - started)


def extract(path: Path) -> None:
    """What the task does, in a process of its own."""
    from uploads.workflows.text import pieces  # noqa: PLC0415 - loaded by the fork server

    with path.open("rb") as source, path.with_suffix(".md").open("w") as target:
        for piece in pieces(source=source, filename=path.name, content_type="text/plain"):
            target.write(piece.text)


def portal_rate(portal: Portal, count: int) -> float:
    """Runs a second."""
    batch = portal.call("POST", "/api/v1/batches", {"name": "benchmark"}, expect=201)["id"]
    for number in range(count):
        store(portal, content(0), name=f"{number}.txt", batch=batch)
    newest = listed(portal, limit=1)
    started = portal.call("POST", f"/api/v1/batches/{batch}/runs", {"workflow": "batch"})
    if started["started"] != count:
        sys.exit(f"{started} of {count} files got a run.")
    last = newest[0]["id"] if newest else ""
    runs = ended(portal, count=count, after=last)
    first = min(moment(run["started_at"]) for run in runs)
    return count / (max(moment(run["completed_at"]) for run in runs) - first)


def ended(portal: Portal, *, count: int, after: str) -> list[dict[str, Any]]:
    """So many runs that are newer than one, all completed."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        time.sleep(1)  # asking costs the portal what is measured
        runs = [run for run in listed(portal, limit=count) if run["id"] > after]
        if len(runs) == count and all(run["completed_at"] for run in runs):
            break
    failed = [run for run in runs if run["status"] != "completed"]
    if failed or len(runs) != count:
        sys.exit(f"{len(failed)} of {count} runs are not completed: {failed[:1]}")
    return runs


def listed(portal: Portal, *, limit: int) -> list[dict[str, Any]]:
    """The newest runs."""
    runs: list[dict[str, Any]] = []
    cursor = ""
    while len(runs) < limit:
        page = portal.call("GET", f"/api/v1/runs?limit=200&cursor={cursor}")
        runs += page["items"]
        cursor = page["next_cursor"]
        if not cursor:
            break
    return runs[:limit]


def latencies(portal: Portal, count: int) -> tuple[list[float], list[float]]:
    """Seconds from a run's row to the beginning, and to the end, of its attempt."""
    begun, done = [], []
    for number in range(count):
        time.sleep(random.uniform(0.3, 1.3))  # noqa: S311 - no secret
        last = listed(portal, limit=1)[0]["id"]
        store(portal, content(number), name=f"single-{number}.txt")
        (run,) = ended(portal, count=1, after=last)
        begun.append(moment(run["started_at"]) - moment(run["created_at"]))
        done.append(moment(run["completed_at"]) - moment(run["created_at"]))
    return begun, done


def store(portal: Portal, text: str, *, name: str, batch: str = "") -> None:
    body = text.encode()
    connection = benchlib.open_socket(portal.port)
    in_batch = f"&batch_id={batch}" if batch else ""
    try:
        connection.sendall(
            f"POST /api/v1/files?filename={name}{in_batch} HTTP/1.1\r\n"
            f"Host: {benchlib.HOST}:{portal.port}\r\nAuthorization: Bearer {portal.token}\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        status, answer = benchlib.read_answer(connection)
    finally:
        connection.close()
    if status != 201:
        sys.exit(f"Storing {name} was answered {status}: {answer!r}")


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    main()
