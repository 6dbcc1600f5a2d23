import json
import time
from collections.abc import Callable
from threading import Thread
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from django.db import connection

from accounts.tests.factories import make_user
from common.errors import Conflict, NotFound
from common.ids import uuid7
from uploads.models import IngestFile, WorkflowRun
from uploads.tests.factories import make_stored
from uploads.tests.workflow_factories import (
    WORKER,
    make_cancelled,
    make_completed,
    make_failed,
    make_handed_over,
    make_run,
    make_running,
    make_workflow,
    note_progress,
)
from uploads.workflows import claims
from uploads.workflows.claims import Failure
from uploads.workflows.cli.run import run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_run_kicks")]

PATIENCE = 30  # seconds


@pytest.fixture
def workflow():
    return make_workflow(slug="report")


def call(*arguments):
    return CliRunner().invoke(run, [str(each) for each in arguments])


def rows(*arguments):
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class Worker(Thread):
    """Does `work` with each of so many runs, as soon as they are there."""

    def __init__(self, work: Callable[[WorkflowRun], object], *, count: int = 1) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._left = count

    def run(self) -> None:
        deadline = time.monotonic() + PATIENCE
        try:
            while self._left and time.monotonic() < deadline:
                claimed = claims.claim(worker=WORKER)
                if claimed is None:
                    time.sleep(0.05)
                    continue
                self._work(claimed)
                self._left -= 1
        finally:
            connection.close()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.join(PATIENCE)


def complete(claimed: WorkflowRun) -> None:
    assert claims.complete(claimed, output_text="Done.", is_cut=False, result=None)


def fail(claimed: WorkflowRun) -> None:
    assert claims.fail(claimed, Failure("broken", "It broke."))


# --- start ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_start_prints_only_the_ids(workflow, no_run_kicks):
    files = [make_stored(), make_stored()]

    result = call("start", "report", files[0].id, files[1].id)

    made = WorkflowRun.objects.order_by("id")
    assert result.exit_code == 0
    assert result.stdout.split() == [str(each.id) for each in made]
    assert [each.file for each in made] == files
    assert [each.started_by for each in made] == [file.uploaded_by for file in files]
    assert len(no_run_kicks) == 2


def test_start_acts_for_whom_it_is_told_and_takes_a_configuration(workflow):
    admin = make_user(email="admin@example.org", is_staff=True)
    file = make_stored()

    (row,) = rows(
        *("start", "report", file.id, "--user", "ADMIN@example.org"),
        *("--set", "language=fr", "--set", 'address="http://a.example/?x=1"'),
    )

    made = WorkflowRun.objects.get()
    assert (row["id"], row["status"], row["file_id"]) == (str(made.id), "pending", str(file.id))
    assert (made.started_by, made.owner) == (admin, file.uploaded_by)
    assert made.config == {"language": "fr", "address": "http://a.example/?x=1"}


def test_start_refuses_what_the_owner_may_not_change(workflow):
    result = call("start", "report", make_stored().id, "--set", "address=x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "only administrators" in result.stderr
    assert not WorkflowRun.objects.exists()


def test_start_goes_on_after_a_file_that_cannot_be_worked_on(workflow):
    good, active, unknown = make_stored(), make_stored(), uuid7()
    make_run(workflow=workflow, file=active)

    result = call("start", "report", unknown, active.id, good.id)

    assert result.exit_code == 1
    assert result.stdout.split() == [str(WorkflowRun.objects.get(file=good).id)]
    assert f"Error: {unknown}: There is no such file" in result.stderr
    assert f"Error: {active.id}: A run of" in result.stderr


def test_start_names_a_file_twice_but_runs_once(workflow):
    file = make_stored()
    result = call("start", "report", file.id, file.id)
    assert (result.exit_code, WorkflowRun.objects.count()) == (0, 1)


@pytest.mark.parametrize(
    "arguments",
    [["report"], ["report", "x"], ["report", uuid7(), "--set", "x"]],
    ids=["no file", "no id", "no setting"],
)
def test_start_refuses_what_it_cannot_read(workflow, arguments):
    assert call("start", *arguments).exit_code == 2


def test_start_of_an_unknown_workflow_says_so():
    result = call("start", "report", uuid7())
    assert isinstance(result.exception, NotFound)
    assert result.exception.code == "workflow_not_found"


def test_start_for_a_file_whose_owner_is_gone_needs_a_user(workflow):
    file = make_stored()
    IngestFile.objects.update(uploaded_by=None)
    make_user(email="admin@example.org", is_staff=True)

    alone = call("start", "report", file.id)
    assert (alone.exit_code, "--user" in alone.stderr) == (1, True)
    assert call("start", "report", file.id, "--user", "admin@example.org").exit_code == 0


@pytest.mark.django_db(transaction=True)
def test_start_waits_for_the_end(workflow):
    with Worker(complete, count=2):
        result = call("start", "report", make_stored().id, make_stored().id, "--wait")

    assert result.exit_code == 0, result.output
    assert result.stderr.count("a.bin: completed") == 2


def test_who_stops_waiting_learns_that_the_work_goes_on(workflow, monkeypatch):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    # The module's alone: other threads sleep as well.
    ours = SimpleNamespace(sleep=interrupt)
    monkeypatch.setattr("uploads.workflows.cli.run.time", ours)
    result = call("start", "report", make_stored().id, "--wait")
    assert result.exit_code == 130
    made = WorkflowRun.objects.get()
    assert f"./doorito run show {made.id}" in result.stderr
    assert made.status == "pending"


@pytest.mark.django_db(transaction=True)
def test_start_that_waits_tells_of_a_failure_by_its_exit_code(workflow):
    with Worker(fail):
        result = call("start", "report", make_stored().id, "--wait", "--json")

    (row,) = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (row["status"], row["error"]) == ("failed", "It broke.")
    assert "a.bin: failed (broken): It broke." in result.stderr
    assert f"./doorito run show {row['id']}" in result.stderr


# --- list and show -------------------------------------------------------------------------------


def test_list_shows_everybodys_runs_newest_first():
    made = [make_completed(), make_failed(message="It broke.")]

    assert [row["id"] for row in rows("list")] == [str(each.id) for each in reversed(made)]
    assert [row["error"] for row in rows("list")] == ["It broke.", ""]
    assert str(made[0].id) in call("list").stdout


def test_list_is_narrowed(workflow):
    wanted = make_run(workflow=workflow, user=make_user(email="ada@example.org"))
    make_run()
    make_completed(workflow=workflow)
    ids = [str(wanted.id)]

    assert [row["id"] for row in rows("list", "--file", wanted.file_id)] == ids
    assert [row["id"] for row in rows("list", "--user", "ada@example.org")] == ids
    found = rows("list", "--workflow", "report", "--status", "pending")
    assert [row["id"] for row in found] == ids
    assert len(rows("list", "--limit", "2")) == 2


def test_list_for_an_unknown_account_says_so():
    result = call("list", "--user", "nobody@example.org")
    assert isinstance(result.exception, NotFound)


def test_show_tells_all_about_a_run():
    made = make_completed(output_text="First\tline\n\x1b[31msecond", result=b"x")

    text = call("show", made.id).stdout

    assert str(made.result_file_id) in text
    assert "attempt 1" in text
    assert WORKER in text
    assert "First    line\n\ufffd[31msecond" in text
    assert "\x1b" not in text


def test_show_prints_json_with_the_attempts_and_the_traceback():
    made = make_failed(code="broken", traceback="Trace", config={"language": "fr"})

    row = rows("show", made.id)

    assert (row["id"], row["status"], row["error_code"]) == (str(made.id), "failed", "broken")
    assert row["config"] == {"language": "fr"}
    (attempt,) = row["attempts"]
    assert (attempt["number"], attempt["outcome"]) == (1, "failed")
    assert (attempt["worker"], attempt["traceback"]) == (WORKER, "Trace")


def test_show_says_when_the_output_is_cut():
    made = make_completed(is_cut=True, warnings=["Page 2 could not be read."])
    told = call("show", made.id).stderr
    assert "more output" in told
    assert "Warning: Page 2 could not be read." in told
    assert rows("show", made.id)["warnings"] == ["Page 2 could not be read."]


def test_show_says_until_when_a_runner_may_answer():
    made = make_handed_over()
    assert rows("show", made.id)["deadline"] == made.lease_expires_at.isoformat(timespec="seconds")


@pytest.mark.parametrize("command", ["show", "logs", "cancel", "retry"])
def test_an_unknown_run_is_not_found(command):
    result = call(command, uuid7())
    assert isinstance(result.exception, NotFound)
    assert result.exception.code == "run_not_found"
    assert call(command, "x").exit_code == 2


# --- logs ----------------------------------------------------------------------------------------


def test_logs_prints_what_there_is():
    made = make_running(lines=["one", "two \x1b"])

    lines = call("logs", made.id).stdout.splitlines()

    assert [line.split()[1:3] for line in lines] == [["1", "info"]] * 2
    assert lines[0].endswith("one")
    assert lines[1].endswith("two \ufffd")


def test_logs_prints_more_than_a_page():
    made = make_running(lines=[f"line {number}" for number in range(450)])
    assert len(call("logs", made.id).stdout.splitlines()) == 450


@pytest.mark.django_db(transaction=True)
def test_logs_follows_until_the_end():
    def work(claimed):
        for line in ("one", "two"):
            note_progress(claimed, lines=[line])
            time.sleep(0.6)
        complete(claimed)

    made = make_run()
    with Worker(work):
        result = call("logs", made.id, "--follow")

    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["one", "two"]
    made.refresh_from_db()
    assert made.status == "completed"


# --- cancel and retry ----------------------------------------------------------------------------


def test_cancel_ends_what_waits():
    made = make_run()
    result = call("cancel", made.id)
    made.refresh_from_db()
    assert (result.exit_code, made.status) == (0, "cancelled")
    assert "Cancelled" in result.stderr


def test_cancel_tells_what_runs_to_stop():
    made = make_running()
    result = call("cancel", made.id)
    made.refresh_from_db()
    assert made.cancel_requested_at is not None
    assert "told to stop" in result.stderr


def test_cancel_refuses_what_has_ended():
    result = call("cancel", make_completed().id)
    assert isinstance(result.exception, Conflict)


def test_cancel_acts_for_whom_it_is_told():
    make_user(email="other@example.org")
    result = call("cancel", make_run().id, "--user", "other@example.org")
    assert isinstance(result.exception, NotFound)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("make", [make_failed, make_cancelled])
def test_retry_tries_again(make, no_run_kicks):
    made = make()
    sent = len(no_run_kicks)
    result = call("retry", made.id)
    made.refresh_from_db()
    assert (result.exit_code, made.status) == (0, "pending")
    assert len(no_run_kicks) == sent + 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("work", "code"), [(complete, 0), (fail, 1)])
def test_retry_waits_for_the_end(work, code):
    made = make_failed()
    with Worker(work):
        result = call("retry", made.id, "--wait")
    assert result.exit_code == code, result.output
    assert f"./doorito run show {made.id}" in result.stderr


def test_retry_refuses_what_went_well():
    result = call("retry", make_completed().id)
    assert isinstance(result.exception, Conflict)
    assert result.exception.code == "run_not_failed"
