"""Claims: each run by one worker, within its limits, and again when the worker died."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import make_user
from common.tests.threads import at_once
from uploads import tasks
from uploads.models import (
    AttemptOutcome,
    IngestFile,
    RunStatus,
    RunTrigger,
    WorkflowAttempt,
    WorkflowRun,
)
from uploads.tests.factories import make_rows, make_stored, on_disk
from uploads.tests.workflow_factories import claim_run, make_run, make_running, make_workflow
from uploads.workflows import claims, leftovers, queue, results
from uploads.workflows.claims import Failure, Progress
from uploads.workflows.results import LeaseLostError, store_result

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_run_kicks")]


def claim():
    return claims.claim(worker="w")


def let_lease_pass(run):
    WorkflowRun.objects.filter(id=run.id).update(lease_expires_at=timezone.now())


def test_many_workers_at_once_never_hold_one_run():
    file, workflows = make_stored(), [make_workflow() for _ in range(8)]
    for workflow in workflows:
        make_run(workflow=workflow, file=file)
    claimed = at_once([claim] * 12)
    ids = [run.id for run in claimed if run is not None]
    assert len(ids) == len(set(ids)) == 8


def test_a_workflows_limit_holds_however_many_claim():
    limited, free = make_workflow(max_concurrent=2), make_workflow()
    for _ in range(5):
        file = make_stored()
        make_run(workflow=limited, file=file)
        make_run(workflow=free, file=file)
    claimed = [run for run in at_once([claim] * 10) if run is not None]
    assert sum(run.workflow_id == limited.id for run in claimed) == 2
    assert sum(run.workflow_id == free.id for run in claimed) == 5
    first = next(run for run in claimed if run.workflow_id == limited.id)
    claims.complete(first, output_text="", is_cut=False, result=None)
    assert claim().workflow_id == limited.id
    assert claim() is None


def test_what_is_due_for_longest_is_first_and_what_is_not_due_waits():
    later, first, second = make_run(), make_run(), make_run()
    now = timezone.now()
    for run, due_at in (
        (later, now + timedelta(hours=1)),
        (first, now - timedelta(hours=2)),
        (second, now - timedelta(hours=1)),
    ):
        WorkflowRun.objects.filter(id=run.id).update(due_at=due_at)
    assert [claim().id, claim().id, claim()] == [first.id, second.id, None]


def test_a_run_that_is_cancelled_while_it_is_claimed_leaves_the_others_to_be_claimed(monkeypatch):
    first, second = make_run(), make_run()
    real = claims._take_lease

    def lease(*, run_id, worker):
        if run_id == first.id:
            at_once([lambda: claims.cancel(run_id=first.id)])
        return real(run_id=run_id, worker=worker)

    monkeypatch.setattr(claims, "_take_lease", lease)
    assert claim().id == second.id


def test_the_sweep_hints_once_and_only_at_what_can_be_claimed(no_run_kicks):
    workflow = make_workflow(max_concurrent=1)
    running = make_running(workflow=workflow)
    for _ in range(5):
        make_run(workflow=workflow)
    no_run_kicks.clear()
    tasks.sweep_runs()
    assert no_run_kicks == []
    claims.complete(running, output_text="", is_cut=False, result=None)
    tasks.sweep_runs()
    assert len(no_run_kicks) == 1


def test_a_dead_workers_run_is_taken_up_again_and_the_dead_one_writes_nothing():
    run = make_running(workflow=make_workflow(max_attempts=2))
    let_lease_pass(run)
    assert sum(at_once([claims.sweep] * 4)) == 1
    again = claim()
    assert (again.id, again.attempt) == (run.id, 2)
    with pytest.raises(LeaseLostError):
        claims.renew(run, Progress())
    assert not claims.complete(run, output_text="late", is_cut=False, result=None)
    assert not claims.fail(run, Failure("late", "Late."))
    assert not claims.release(run)
    assert claims.complete(again, output_text="in time", is_cut=False, result=None)
    again.refresh_from_db()
    assert again.output_text == "in time"
    outcomes = WorkflowAttempt.objects.order_by("number").values_list("outcome", flat=True)
    assert list(outcomes) == [AttemptOutcome.LOST, AttemptOutcome.COMPLETED]


def test_a_worker_that_was_heard_of_since_is_left_alone():
    run = make_running()
    assert not claims._end_expired(run)
    assert not claims.renew(run, Progress())


def test_a_run_that_kills_its_workers_fails_in_the_end():
    run = make_running(workflow=make_workflow(max_attempts=2))
    for _ in range(2):
        let_lease_pass(run)
        claims.sweep()
        run = claim() or run
    run.refresh_from_db()
    assert (run.status, run.error_code) == (RunStatus.FAILED, "worker_lost")


def test_a_released_attempt_does_not_count():
    run = make_running(workflow=make_workflow(max_attempts=1))
    assert claims.release(run)
    assert claim().id == run.id


def test_ending_a_run_twice_at_once_ends_it_once():
    run = make_running()
    ended = at_once([lambda: claims.complete(run, output_text="x", is_cut=False, result=None)] * 4)
    assert sorted(ended) == [False, False, False, True]


# --- Results -------------------------------------------------------------------------------------


def store(run, content=b"result"):
    return store_result(
        run, filename="r.txt", size_bytes=len(content), blocks=iter([memoryview(content)])
    )


def is_there(key):
    return any(key in path for path in on_disk())


def test_a_result_that_is_left_by_a_killed_worker_is_freed():
    run = make_running(workflow=make_workflow(max_attempts=1))
    result = store(run)
    assert is_there(result.stored.key)
    let_lease_pass(run)
    claims.sweep()
    assert not is_there(result.stored.key)
    assert not IngestFile.objects.filter(is_result=True).exists()


def test_the_sweep_leaves_the_result_of_the_next_attempt_alone(monkeypatch):
    run = make_running(workflow=make_workflow(max_attempts=2))
    let_lease_pass(run)
    taken_up = []

    def take_up(_delay):
        if not taken_up:
            (again,) = at_once([claim])
            taken_up.extend([again, store(again)])

    monkeypatch.setattr(queue, "_senders", [take_up])
    claims.sweep()
    again, result = taken_up
    assert claims.complete(again, output_text="", is_cut=False, result=result)


def test_a_result_that_a_kill_left_on_an_ended_run_is_cleaned_up():
    run = make_running()
    result = store(run)
    WorkflowRun.objects.filter(id=run.id).update(
        status=RunStatus.CANCELLED, completed_at=timezone.now()
    )
    assert leftovers.remove_leftover_results() == 1
    assert leftovers.remove_leftover_results() == 0
    assert not is_there(result.stored.key)


def test_a_result_of_an_attempt_that_is_over_is_not_stored():
    run = make_running()
    let_lease_pass(run)
    claims.sweep()
    with pytest.raises(LeaseLostError):
        store(run)


@pytest.mark.parametrize("content", [b"short", b"much too long"])
def test_a_result_of_another_size_than_announced_is_freed(content):
    run = make_running()
    with pytest.raises(OSError, match="bytes"):
        store_result(run, filename="r.txt", size_bytes=8, blocks=iter([memoryview(content)]))
    run.refresh_from_db()
    assert run.result_key == ""
    assert store(run).size_bytes == 6


def test_a_run_whose_owner_is_deleted_meanwhile_completes_with_its_result():
    run = make_running()
    result = store(run)
    User.objects.get(id=run.owner.id).delete()
    assert claims.complete(run, output_text="", is_cut=False, result=result)
    run.refresh_from_db()
    assert run.result_file.uploaded_by is None


def test_a_stored_result_is_never_freed():
    run = make_running()
    result = store(run)
    assert claims.complete(run, output_text="", is_cut=False, result=result)
    WorkflowRun.objects.filter(id=run.id).update(result_key=result.stored.key)
    results.discard_unfinished(run)
    assert is_there(result.stored.key)


def test_an_empty_result_is_a_file_as_any():
    run = make_running()
    assert claims.complete(run, output_text="", is_cut=False, result=store(run, b""))
    run.refresh_from_db()
    assert run.result_file.size_bytes == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b\\c\nd.md", "a_b_c_d.md"),
        ("é" * 200 + ".md", "é" * 126 + ".md"),
        ("plain", "plain"),
        ("", "result"),
        ("..", "result"),
        ("a." + "x" * 300, "a." + "x" * 253),
        ("x" * 300, "x" * 255),
    ],
)
def test_a_results_name_is_made_to_fit(name, expected):
    assert results.fitting_name(name) == expected


# --- Plans ---------------------------------------------------------------------------------------


def test_the_claim_costs_the_same_however_many_runs_there_are():
    user = make_user()
    make_rows(3000, user=user)
    busy, full = make_workflow(), make_workflow(max_concurrent=1)
    now = timezone.now()
    files = IngestFile.objects.filter(uploaded_by=user)
    for workflow in (busy, full):
        WorkflowRun.objects.bulk_create(
            WorkflowRun(
                workflow=workflow,
                file=file,
                owner=user,
                trigger=RunTrigger.RULE,
                due_at=now,
                attempts_left=1,
            )
            for file in files
        )
    WorkflowRun.objects.filter(id__in=WorkflowRun.objects.values("id")[:2000]).update(
        status=RunStatus.COMPLETED, completed_at=now
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE workflow_run")
        cursor.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + claims._NEXT_DUE)
        (plan,) = cursor.fetchone()[0]
    assert "workflow_run_due" in str(plan)
    blocks = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    assert blocks < 100  # the table has hundreds
    assert claim_run(make_run()).status == RunStatus.RUNNING
