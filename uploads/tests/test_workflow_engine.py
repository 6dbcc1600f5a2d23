"""Attempts: tasks that behave, tasks that do not, and what becomes of both."""

import hashlib
import threading
import time
from datetime import timedelta
from decimal import Decimal

import psutil
import pytest
from django.conf import settings as original
from django.db import OperationalError, connection
from django.utils import timezone

from accounts.tests.factories import make_user, principal_of
from common.models import OutboxEvent
from uploads.models import (
    AttemptOutcome,
    FileStatus,
    IngestFile,
    RunStatus,
    Workflow,
    WorkflowAttempt,
    WorkflowLogLine,
    WorkflowRun,
    WorkflowSecret,
)
from uploads.storage import open_object
from uploads.tests.factories import make_stored
from uploads.workflows import claims, engine, queue, runs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.process]

DATA_DIRECTORY = original.DOORITO_DATA_DIR  # as the fork server, another process, has it


@pytest.fixture(autouse=True)
def folders(settings, monkeypatch, tmp_path):
    """Where the attempts of this test have theirs."""
    settings.DOORITO_DATA_DIR = DATA_DIRECTORY
    monkeypatch.setattr(engine, "_folders", lambda: tmp_path / "work")
    monkeypatch.setattr(queue, "_senders", [lambda *_: None])
    return tmp_path / "work"


def make_workflow(task_name="test_mischief", **values):
    return Workflow.objects.create(
        **{
            "name": "Test",
            "slug": "test",
            "task_name": task_name,
            "accepted_types": ["*/*"],
            "max_attempts": 1,
        }
        | values
    )


def start(kind=None, *, file=None, config=None, **values):
    """A run of a task that does `kind` of mischief, or of an echo."""
    if kind:
        workflow = make_workflow(config={"kind": kind} | (config or {}), **values)
    else:
        workflow = make_workflow("test_echo", config=config or {}, **values)
    file = file or make_stored()
    return runs.start_run(
        principal=principal_of(file.uploaded_by), file_id=file.id, workflow=workflow
    )


def run_all():
    return engine.run_due(must_stop=lambda: False)


def after(run):
    """The run, once all that is due has been done."""
    run_all()
    run.refresh_from_db()
    return run


def ended(kind, **values):
    return after(start(kind, **values))


def error_of(run):
    return run.status, run.error_code


def test_a_task_reads_the_file_and_its_result_is_kept():
    file = make_stored(b"something to read", filename="a.txt")
    run = after(start(file=file, config={"greeting": "hi"}))
    assert run.status == RunStatus.COMPLETED
    digest = hashlib.sha256(b"something to read").hexdigest()
    assert run.output_text == f"hi\n{digest}\ntest\n1"
    assert (run.progress_percent, run.cost, run.attempts_left) == (100, Decimal("0.25"), 0)
    assert run.started_at < run.completed_at
    assert [line.message for line in run.log_lines.all()] == ["read a.txt"]
    (attempt,) = run.attempts.all()
    assert attempt.outcome == AttemptOutcome.COMPLETED
    assert attempt.ended_at is not None


def test_a_result_file_is_stored_and_proven_like_any_file():
    run = after(start(file=make_stored(filename="a.txt")))
    result = run.result_file
    assert result.is_result
    assert result.status == FileStatus.STORED
    assert result.uploaded_by == run.owner
    assert result.original_filename == "a.txt.md"
    assert result.sha256 == hashlib.sha256(b"# Echo\n").hexdigest()
    assert result.expires_at > timezone.now()
    with open_object(result) as content:
        assert content.read() == b"# Echo\n"


def test_a_completed_run_is_announced_and_its_result_only_with_it():
    run = after(start())
    event = OutboxEvent.objects.get(event_type="workflow_run.completed")
    assert event.payload["run"]["output_text"] == run.output_text
    assert Decimal(event.payload["run"]["cost"]) == Decimal("0.25")
    assert event.payload["run"]["output_url"].startswith("http")
    about_result = OutboxEvent.objects.filter(aggregate_id=run.result_file_id)
    assert not about_result.exists()


def test_no_folder_is_left(folders):
    after(start())
    assert list(folders.iterdir()) == []


def test_a_secret_reaches_the_task_by_its_name():
    WorkflowSecret.objects.create(name="key", value="s3cret")
    run = after(start(config={"key": "key"}))
    assert run.output_text.endswith("\ns3cret")
    assert "s3cret" not in str(run.config)


def test_a_missing_secret_is_named():
    run = after(start(config={"key": "gone"}))
    assert error_of(run) == (RunStatus.FAILED, "secret_missing")
    assert "gone" in run.error_message


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("allocate", "out_of_memory"),
        ("raise", "task_error"),
        ("fail", "not_today"),
        ("crash", "task_crashed"),
        ("exit", "task_crashed"),
        ("large_file", "result_too_large"),
    ],
)
def test_a_task_that_fails_ends_its_run_and_the_worker_goes_on(kind, code):
    failing = start(kind)
    other = start(file=make_stored(), slug="other")
    run_all()
    failing.refresh_from_db()
    other.refresh_from_db()
    assert error_of(failing) == (RunStatus.FAILED, code)
    assert other.status == RunStatus.COMPLETED
    event = OutboxEvent.objects.get(event_type="workflow_run.failed")
    assert event.payload["error"]["code"] == code
    failing.file.refresh_from_db()
    assert failing.file.status == FileStatus.STORED


@pytest.mark.parametrize("kind", ["loop", "sleep", "half_a_message"])
def test_a_task_that_hangs_is_killed_at_its_time_limit(kind):
    run = ended(kind, time_limit_seconds=1, max_attempts=3)
    assert error_of(run) == (RunStatus.FAILED, "time_limit")
    assert run.attempt == 1


@pytest.mark.parametrize("kind", ["others", "leave_another"])
def test_what_a_task_started_is_killed_with_it(kind, tmp_path):
    ended(kind, time_limit_seconds=2, config={"path": str(tmp_path / "pid")})
    pid = int((tmp_path / "pid").read_text())
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    else:
        raise AssertionError(f"process {pid} is still there")


def test_users_learn_the_kind_of_a_fault_and_staff_all_of_it():
    run = ended("raise")
    assert "passwd" not in run.error_message
    assert "RuntimeError" in run.error_message
    assert "passwd" in run.attempts.get().traceback


def test_a_failure_that_may_pass_is_tried_again():
    run = ended("again", max_attempts=3)
    assert (run.status, run.attempt, run.output_text) == (RunStatus.COMPLETED, 2, "at last")
    assert run.error_code == ""
    outcomes = list(run.attempts.order_by("number").values_list("outcome", flat=True))
    assert outcomes == [AttemptOutcome.FAILED, AttemptOutcome.COMPLETED]


def test_attempts_are_bounded():
    run = ended("never", max_attempts=3)
    assert (run.status, run.attempt, run.attempts_left) == (RunStatus.FAILED, 3, 0)


def test_what_was_spent_is_counted_whatever_came_of_it():
    run = ended("spend_and_fail", max_attempts=3)
    assert run.cost == Decimal("0.3")


def test_a_failed_attempt_waits_as_the_schedule_says(settings):
    settings.PORTAL_WORKFLOW_RETRY_SCHEDULE = [60]
    run = ended("raise", max_attempts=2)
    assert run.status == RunStatus.PENDING
    assert timedelta(seconds=50) < run.due_at - timezone.now() < timedelta(seconds=61)


def test_long_text_is_cut_and_whole_in_a_result_file():
    run = ended("long_text")
    assert run.status == RunStatus.COMPLETED
    assert run.output_is_cut
    assert len(run.output_text) == original.PORTAL_WORKFLOW_OUTPUT_MAX
    assert run.result_file.size_bytes == 300_000
    assert run.warnings[:2] == ["Page 1", "Page 2"]
    assert run.warnings[-1] == "And 11 more, which the log tells."


@pytest.mark.parametrize("kind", ["outside", "link", "link_to_itself"])
def test_a_result_outside_of_its_folder_is_refused(kind, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("not yours")
    run = ended(kind, config={"path": str(secret)})
    assert error_of(run) == (RunStatus.FAILED, "task_error")
    assert run.result_file is None


def test_what_a_task_said_before_it_crashed_is_kept():
    run = ended("tell_and_exit")
    assert error_of(run) == (RunStatus.FAILED, "task_crashed")
    assert [line.message for line in run.log_lines.all()] == ["about to read page 7"]
    assert run.cost == Decimal("1.5")


def test_no_wait_and_no_code_that_a_task_names_is_too_odd():
    run = ended("ask_for_ever", max_attempts=2)
    assert (run.status, run.error_code) == (RunStatus.PENDING, "busy\ufffd")
    assert run.due_at - timezone.now() <= claims.LONGEST_WAIT


def test_an_attempt_that_cannot_be_made_fails_and_the_worker_goes_on(monkeypatch):
    def refuse(_job):
        raise OSError("no more processes")

    run = start()
    with monkeypatch.context() as broken:
        broken.setattr(engine, "TaskProcess", refuse)
        after(run)
    assert error_of(run) == (RunStatus.FAILED, "portal_error")
    assert "no more processes" in run.attempts.get().traceback
    again = runs.retry_run(principal=principal_of(run.owner), run_id=run.id)
    assert after(again).status == RunStatus.COMPLETED


def test_an_answer_of_the_database_that_is_lost_counts_no_cost_twice(monkeypatch):
    real = claims.renew
    lost = []

    def renew(run, progress):
        answer = real(run, progress)
        if not lost:
            lost.append(progress)
            raise OperationalError("the connection was lost")
        return answer

    monkeypatch.setattr(claims, "renew", renew)
    monkeypatch.setattr(engine, "PAUSE", 0)
    run = ended("tell_and_exit")
    assert lost
    assert run.cost == Decimal("1.5")
    assert run.log_lines.count() == 1


def test_a_flood_of_lines_is_bounded_and_odd_characters_are_kept_out():
    run = ended("talk")
    assert run.status == RunStatus.COMPLETED
    assert run.output_text == "\ufffd ? done"
    assert WorkflowLogLine.objects.filter(run=run).count() == claims.MAX_LOG_LINES


def cancel_when_running(run):
    """In another thread, as a web request would."""

    def wait_and_cancel():
        try:
            while not WorkflowAttempt.objects.filter(run=run).exists():
                time.sleep(0.05)
            runs.cancel_run(principal=principal_of(run.owner), run_id=run.id)
        finally:
            connection.close()

    thread = threading.Thread(target=wait_and_cancel)
    thread.start()
    return thread


@pytest.mark.parametrize("kind", ["wait_for_cancel", "sleep"])
def test_a_cancelled_run_ends_whether_its_task_asks_or_not(kind, monkeypatch):
    monkeypatch.setattr(engine, "CANCEL_GRACE", 0.5)
    run = start(kind, max_attempts=3)
    thread = cancel_when_running(run)
    run = after(run)
    thread.join()
    assert run.status == RunStatus.CANCELLED
    assert not OutboxEvent.objects.filter(event_type__startswith="workflow_run").exists()


def test_a_worker_that_stops_gives_its_run_back(monkeypatch):
    run = start("sleep", max_attempts=1)
    monkeypatch.setattr(engine, "STOP_GRACE", 0.5)
    looks = iter([False, True])
    engine.run_due(must_stop=lambda: next(looks, True))
    run.refresh_from_db()
    assert (run.status, run.attempts_left) == (RunStatus.PENDING, 1)
    assert run.attempts.get().outcome == AttemptOutcome.RELEASED


def test_a_task_may_say_what_it_spent_when_its_worker_stops(monkeypatch):
    monkeypatch.setattr(engine, "STOP_GRACE", 10)
    run = start("spend_when_cancelled", max_attempts=1)
    looks = iter([False, True])
    engine.run_due(must_stop=lambda: next(looks, True))
    run.refresh_from_db()
    assert (run.status, run.cost) == (RunStatus.PENDING, Decimal("0.75"))


def test_an_attempt_whose_lease_was_lost_writes_nothing(monkeypatch):
    monkeypatch.setattr(engine, "QUIET_BEAT", 0.1)
    monkeypatch.setattr(engine, "BEAT", 0.1)
    run = start(config={"pause": 1.0})
    claimed = claims.claim(worker="a")
    WorkflowRun.objects.filter(id=run.id).update(lease_expires_at=timezone.now())
    assert claims.sweep() == 1
    engine.execute(claimed, must_stop=lambda: False)
    run.refresh_from_db()
    assert error_of(run) == (RunStatus.FAILED, "worker_lost")
    assert run.result_file is None
    assert not IngestFile.objects.filter(is_result=True).exists()


def test_a_workflow_that_was_switched_off_runs_no_more():
    run = start()
    Workflow.objects.update(is_active=False)
    assert error_of(after(run)) == (RunStatus.FAILED, "workflow_inactive")


def test_a_task_that_is_gone_fails_its_runs():
    run = start()
    Workflow.objects.update(task_name="gone")
    assert error_of(after(run)) == (RunStatus.FAILED, "task_missing")


def test_the_next_of_a_chain_gets_the_result_of_the_one_before():
    following = make_workflow("test_echo", slug="second", name="Second")
    run = after(start(on_success=following))
    second = WorkflowRun.objects.get(workflow=following)
    assert (second.status, second.previous, second.trigger) == (
        RunStatus.COMPLETED,
        run,
        "chain",
    )
    assert "after test_echo: hello" in second.output_text
    assert second.output_text.endswith("# Echo\n")


def test_a_file_is_consumed_after_the_last_of_its_runs():
    file = make_stored()
    first = start(file=file, consumes_file=True)
    start(file=file, slug="other")
    run_claims_before = claims.claim(worker="a")
    engine.execute(run_claims_before, must_stop=lambda: False)
    file.refresh_from_db()
    assert file.status == FileStatus.STORED
    after(first)
    file.refresh_from_db()
    assert file.status == FileStatus.PROCESSED
    assert OutboxEvent.objects.filter(event_type="file.processed", aggregate_id=file.id).exists()


def test_a_run_that_is_handed_over_waits_and_fails_after_its_deadline():
    run = ended("hand_over")
    assert (run.status, run.is_handed_over) == (RunStatus.RUNNING, True)
    assert claims.sweep() == 0
    WorkflowRun.objects.filter(id=run.id).update(lease_expires_at=timezone.now())
    assert claims.sweep() == 1
    run.refresh_from_db()
    assert error_of(run) == (RunStatus.FAILED, "deadline_passed")


def test_a_user_without_an_account_any_more_has_runs_that_end():
    user = make_user()
    run = start(file=make_stored(user=user))
    user.delete()
    assert after(run).status == RunStatus.COMPLETED


def test_folders_of_killed_workers_are_removed(folders):
    run = start()
    claimed = claims.claim(worker="a")
    for name in (str(claimed.lease_id), "019ceb9b-0d60-7d92-8e1b-c47f5a3b2019"):
        (folders / name).mkdir(parents=True)
    assert engine.remove_leftover_folders() == 1
    assert [path.name for path in folders.iterdir()] == [str(claimed.lease_id)]
    claims.release(claimed)
    assert engine.remove_leftover_folders() == 1
    assert run.id == claimed.id
