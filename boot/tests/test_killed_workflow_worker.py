"""Workers of workflows that are killed again and again in the middle of their runs."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from boot.supervisor import commands
from boot.tests.portal import ROOT, Portal

FILES = 12
KILLS = 2

BEGIN = f"""
from accounts.models import User
from uploads.models import Workflow
from uploads.tests.factories import make_stored
Workflow.objects.create(
    name="Echo", slug="echo", task_name="test_echo", config={{"pause": 3}},
    accepted_types=["*/*"], auto_start=True, max_attempts=10,
)
admin = User.objects.get()
for number in range({FILES}):
    make_stored(b"file %d" % number, user=admin)
"""
KILL = """
import os, signal, time
from datetime import timedelta
from django.utils import timezone
from uploads.models import WorkflowAttempt
fresh = WorkflowAttempt.objects.filter(outcome="running", worker__endswith=":{pid}")
while not fresh.filter(started_at__gt=timezone.now() - timedelta(seconds=1)).exists():
    time.sleep(0.05)
os.kill({pid}, signal.SIGKILL)
"""
LOOK = """
import json
from django.db.models import Count, Q
from uploads.models import WorkflowRun
counted = WorkflowRun.objects.annotate(
    completions=Count("attempts", filter=Q(attempts__outcome="completed")),
    losses=Count("attempts", filter=Q(attempts__outcome="lost")),
    made=Count("attempts"),
)
print(json.dumps(list(counted.values("status", "attempt", "made", "completions", "losses"))))
"""


def test_every_run_is_completed_once_although_workers_are_killed():
    environment = {
        "PORTAL_EXTRA_APPS": "uploads.tests.third_party",
        "PORTAL_CHUNK_SIZE_MIN": "1",
        "WORKFLOW_CONCURRENCY": "2",
    }
    with Portal(environment=environment) as portal:
        portal.start()
        begun = portal.manage("shell", "--no-imports", "-c", BEGIN)
        assert begun.returncode == 0, begun.stderr
        with another_worker(portal):
            for _ in range(KILLS):
                portal.wait()  # it may just be starting after the last time
                kill_in_the_middle_of_a_run(portal)
            runs = all_done(portal)

    assert len(runs) == FILES
    assert {run["completions"] for run in runs} == {1}
    assert all(run["made"] == run["attempt"] == 1 + run["losses"] for run in runs)
    assert sum(run["losses"] for run in runs) >= KILLS


def kill_in_the_middle_of_a_run(portal: Portal) -> None:
    worker = portal.processes["workflows"]
    killed = portal.manage("shell", "--no-imports", "-c", KILL.format(pid=worker.pid))
    assert killed.returncode == 0, killed.stderr
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


def all_done(portal: Portal) -> list[dict[str, int]]:
    give_up = time.monotonic() + 180
    while time.monotonic() < give_up:
        looked = portal.manage("shell", "--no-imports", "-c", LOOK)
        assert looked.returncode == 0, looked.stderr
        runs = json.loads(looked.stdout)
        if done(runs) == FILES:
            return runs
    raise AssertionError(f"{done(runs)} of {FILES} runs are completed:\n{portal.logs()}")


def done(runs: list[dict[str, int]]) -> int:
    return sum(run["status"] == "completed" for run in runs)
