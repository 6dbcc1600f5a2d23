"""Workers of workflows that are killed, or stopped, in the middle of their runs."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from boot.supervisor import commands
from boot.tests.portal import ROOT, Portal

pytestmark = [pytest.mark.process, pytest.mark.long]

KILLS = 2
ENVIRONMENT = {
    "PORTAL_EXTRA_APPS": "uploads.tests.third_party",
    "PORTAL_CHUNK_SIZE_MIN": "1",
    "WORKFLOW_CONCURRENCY": "2",
}

BEGIN = """
from accounts.models import User
from uploads.models import Workflow
from uploads.tests.factories import make_stored
Workflow.objects.create(
    name="Test", slug="test", task_name="{task}", config={config},
    accepted_types=["*/*"], auto_start=True, max_attempts=10,
)
admin = User.objects.get()
for number in range({files}):
    make_stored(b"file %d" % number, user=admin)
"""
FILES = 6  # for each kill, more than the other worker takes at once
UNDER_WAY = """
import time
from uploads.models import WorkflowAttempt
while not WorkflowAttempt.objects.filter(outcome="running").exists():
    time.sleep(0.05)
"""
# As soon as the worker has begun an attempt, for there are three seconds left of that.
KILL = """
import os, signal, time
from datetime import timedelta
from django.utils import timezone
from accounts.models import User
from uploads.models import WorkflowAttempt
from uploads.tests.factories import make_stored
for number in range({files}):
    make_stored(b"file %d" % number, user=User.objects.get())
fresh = WorkflowAttempt.objects.filter(outcome="running", worker__endswith=":{pid}")
while not fresh.filter(started_at__gt=timezone.now() - timedelta(seconds=1)).exists():
    time.sleep(0.05)
os.kill({pid}, signal.SIGKILL)
"""
LOOK = """
import json
from uploads.models import WorkflowRun
print(json.dumps([
    {"status": run.status, "outcomes": [each.outcome for each in run.attempts.order_by("number")]}
    for run in WorkflowRun.objects.prefetch_related("attempts")
]))
"""


@pytest.fixture
def own() -> Iterator[Portal]:
    with Portal(environment=ENVIRONMENT) as own:
        own.start()
        yield own


def test_every_run_is_completed_once_although_workers_are_killed(own):
    do(own, BEGIN.format(files=0, task="test_echo", config={"pause": 3}))
    with another_worker(own):
        for _ in range(KILLS):
            own.wait()  # it may just be starting after the last time
            kill_in_the_middle_of_a_run(own)
        outcomes = all_done(own, files=KILLS * FILES)

    for of_run in outcomes:
        assert of_run == ["lost"] * (len(of_run) - 1) + ["completed"]
    assert sum(of_run.count("lost") for of_run in outcomes) >= KILLS


def test_a_portal_that_stops_gives_its_runs_back_and_goes_on_with_them(own):
    do(own, BEGIN.format(files=1, task="test_mischief", config={"kind": "slow_at_first"}))
    do(own, UNDER_WAY)
    assert own.stop() == 0
    own.start()
    (of_run,) = all_done(own, files=1)
    assert of_run == ["released", "completed"]


def do(portal: Portal, code: str) -> str:
    done = portal.manage("shell", "--no-imports", "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kill_in_the_middle_of_a_run(portal: Portal) -> None:
    worker = portal.processes["workflows"]
    do(portal, KILL.format(pid=worker.pid, files=FILES))
    psutil.wait_procs([worker], timeout=10)


@contextmanager
def another_worker(portal: Portal) -> Iterator[None]:
    """A second worker process beside the portal's, as on another machine."""
    with portal.log.open("ab") as log:
        worker = subprocess.Popen(
            commands()["workflows"], cwd=ROOT, env=portal.environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(timeout=30)


def all_done(portal: Portal, *, files: int) -> list[list[str]]:
    """What became of each attempt, by run, once all runs are completed."""
    give_up = time.monotonic() + 180
    runs: list[dict[str, Any]] = []
    while time.monotonic() < give_up:
        runs = json.loads(do(portal, LOOK))
        if len(runs) == files and all(run["status"] == "completed" for run in runs):
            return [run["outcomes"] for run in runs]
    raise AssertionError(f"not all are completed: {runs}\n{portal.logs()}")
