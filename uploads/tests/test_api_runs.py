"""POST /files/{id}/runs and /runs: started, watched, cancelled, tried again."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.tests.factories import make_user
from common.tests.threads import at_once
from uploads.models import RunStatus, RunTrigger, WorkflowLogLine, WorkflowRun
from uploads.tests.factories import FILES, Api, assert_problem, make_consumed, make_stored
from uploads.tests.workflow_factories import (
    RUNS,
    WORKER,
    claim_run,
    in_every_state,
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

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_run_kicks")]


@pytest.fixture
def workflow():
    return make_workflow(slug="report", name="Report")


def start(api: Api, file, **body):
    return api.post(f"{FILES}/{file.id}/runs", {"workflow": "report"} | body)


def shown(api: Api, run) -> dict:
    reply = api.get(f"{RUNS}/{run.id}")
    assert reply.status_code == 200, reply.content
    return reply.json()


# --- Starting ------------------------------------------------------------------------------------


def test_a_run_is_started_and_found_at_its_location(api, workflow):
    file = make_stored(user=api.user)

    reply = start(api, file)

    run = WorkflowRun.objects.get()
    made = reply.json()
    assert (reply.status_code, reply["Location"]) == (201, f"{RUNS}/{run.id}")
    assert made == shown(api, run)
    assert made["workflow"] == {"id": str(workflow.id), "slug": "report", "name": "Report"}
    assert made["file"] == {"id": str(file.id), "original_filename": "a.bin"}
    assert (made["status"], made["trigger"], made["started_by"]) == (
        "pending",
        "user",
        api.user.email,
    )
    assert (made["attempt"], made["attempts_left"]) == (0, 3)
    assert (made["attempts"], made["result"], made["error"], made["waiting"]) == ([], None) + (
        None,
    ) * 2
    assert made["due_at"] is not None
    assert made["currency"] == "USD"


@pytest.mark.django_db(transaction=True)
def test_a_start_is_hinted_at_to_the_workers(api, workflow, no_run_kicks):
    assert start(api, make_stored(user=api.user)).status_code == 201
    assert no_run_kicks == [0.0]


def test_a_second_start_is_refused_with_the_first_ones_id(api, workflow):
    file = make_stored(user=api.user)
    first = start(api, file).json()

    problem = assert_problem(start(api, file), 409, "run_active")

    assert problem["run_id"] == first["id"]


@pytest.mark.django_db(transaction=True)
def test_of_two_starts_at_once_one_succeeds(api, workflow):
    file = make_stored(user=api.user)
    replies = at_once([lambda: start(api, file).status_code] * 2)
    assert sorted(replies) == [201, 409]


def test_a_type_that_is_not_accepted_is_refused(api):
    make_workflow(slug="report", accepted_types=["image/*"])
    problem = assert_problem(start(api, make_stored(user=api.user)), 415, "type_not_accepted")
    assert "image/*" in problem["detail"]


def test_anothers_file_is_not_found(api, workflow):
    assert_problem(start(api, make_stored()), 404, "file_not_found")


def test_a_consumed_file_is_gone(api, workflow):
    file = make_consumed(user=api.user).file
    assert_problem(start(api, file), 410, "file_consumed")


@pytest.mark.parametrize("is_active", [False, None])
def test_a_workflow_that_is_off_or_unknown_is_not_found(api, is_active):
    if is_active is not None:
        make_workflow(slug="report", is_active=is_active)
    assert_problem(start(api, make_stored(user=api.user)), 404, "workflow_not_found")


@pytest.mark.parametrize("slug", ["a\x00b", "\ud800"])
def test_text_that_the_database_cannot_hold_names_no_workflow(api, workflow, slug):
    reply = start(api, make_stored(user=api.user), workflow=slug)
    assert_problem(reply, 404, "workflow_not_found")


def test_a_run_may_have_its_own_configuration(api):
    make_workflow(slug="report", config={"address": "http://a.example/", "language": "de"})

    made = start(api, make_stored(user=api.user), config={"language": "fr"}).json()

    assert made["config"] == {"language": "fr"}
    assert WorkflowRun.objects.get().config == {"address": "http://a.example/", "language": "fr"}


def test_what_only_administrators_change_is_refused_to_others(api, staff, workflow):
    file = make_stored(user=api.user)
    change = {"address": "http://elsewhere.example/"}

    assert_problem(start(api, file, config=change), 403, "config_fixed")
    assert start(staff, file, config=change).json()["config"] == change


def test_a_configuration_that_is_not_valid_names_the_field(api, workflow):
    file = make_stored(user=api.user)
    problem = assert_problem(start(api, file, config={"language": 7}), 400, "config_invalid")
    assert [error["field"] for error in problem["errors"]] == ["language"]
    assert_problem(start(api, file, config={"lang": "fr"}), 400, "config_invalid")
    assert not WorkflowRun.objects.exists()


def test_an_unknown_member_of_the_request_is_refused(api, workflow):
    reply = start(api, make_stored(user=api.user), configuration={})
    assert_problem(reply, 400, "invalid_request")


# --- One run -------------------------------------------------------------------------------------


def test_a_run_under_way_shows_how_far_it_is(api):
    made = shown(api, make_running(user=api.user, percent=40, message="Page 4"))
    assert (made["status"], made["attempt"], made["attempts_left"]) == ("running", 1, 2)
    assert made["progress"] == {"percent": 40, "message": "Page 4"}
    assert made["due_at"] is None
    assert made["started_at"] is not None


def test_a_run_that_was_handed_over_shows_its_deadline(api):
    run = make_handed_over(user=api.user, seconds=600)
    deadline = shown(api, run)["waiting"]["deadline"]
    assert deadline.startswith(run.lease_expires_at.isoformat()[:19])


def test_a_completed_run_shows_its_text_and_its_file(api):
    run = make_completed(
        user=api.user,
        output_text="Findings",
        is_cut=True,
        result=b"# All",
        warnings=["Page 2 could not be read."],
    )

    made = shown(api, run)

    assert (made["status"], made["output_text"], made["output_is_cut"]) == (
        "completed",
        "Findings",
        True,
    )
    assert made["warnings"] == ["Page 2 could not be read."]
    result = made["result"]
    assert (result["filename"], result["size_bytes"], result["status"]) == (
        "result.md",
        5,
        "stored",
    )
    assert result["expires_at"] is not None
    assert b"".join(api.get(result["content_url"]).streaming_content) == b"# All"


def test_a_failed_run_shows_its_error_and_a_user_no_traceback(api):
    run = make_failed(user=api.user, code="broken", message="It broke.", traceback="Trace of it")

    reply = api.get(f"{RUNS}/{run.id}")

    made = reply.json()
    assert made["error"] == {"code": "broken", "message": "It broke."}
    (attempt,) = made["attempts"]
    assert (attempt["number"], attempt["outcome"]) == (1, "failed")
    assert attempt["error"] == made["error"]
    assert attempt["worker"] is attempt["traceback"] is None
    assert "Trace of it" not in reply.content.decode()
    assert WORKER not in reply.content.decode()


def test_staff_see_the_worker_the_traceback_and_the_whole_configuration(staff):
    config = {"address": "http://a.example/"}
    run = make_failed(traceback="Trace of it", config=config)

    made = shown(staff, run)

    (attempt,) = made["attempts"]
    assert (attempt["worker"], attempt["traceback"]) == (WORKER, "Trace of it")
    assert made["config"] == config


def test_a_user_does_not_see_what_only_administrators_configure(api):
    run = make_run(user=api.user, config={"address": "http://a.example/", "language": "fr"})
    assert shown(api, run)["config"] == {"language": "fr"}


def test_an_attempt_that_failed_before_the_success_is_no_error_of_the_run(api):
    run = make_running(user=api.user)
    assert claims.fail(run, Failure("no_answer", "Nothing came.", may_retry=True))
    assert shown(api, run)["error"]["code"] == "no_answer"
    run = claim_run(run)
    assert claims.complete(run, output_text="", is_cut=False, result=None)

    made = shown(api, run)

    assert made["error"] is None
    assert [each["outcome"] for each in made["attempts"]] == ["failed", "completed"]


@pytest.mark.parametrize("address", ["", "/log", "/output", "/cancel", "/retry"])
def test_anothers_run_does_not_exist(api, address):
    run = make_run()
    call = api.post if address in ("/cancel", "/retry") else api.get
    assert_problem(call(f"{RUNS}/{run.id}{address}"), 404, "run_not_found")
    run.refresh_from_db()
    assert (run.status, run.cancel_requested_at) == ("pending", None)


# --- Lists ---------------------------------------------------------------------------------------


def items(api: Api, **query) -> list[str]:
    reply = api.get(RUNS, **query)
    assert reply.status_code == 200, reply.content
    return [item["id"] for item in reply.json()["items"]]


def test_runs_are_listed_newest_first_and_only_ones_own(api):
    runs = [make_run(user=api.user) for _ in range(3)]
    make_run()
    assert items(api) == [str(run.id) for run in reversed(runs)]


def test_the_list_comes_in_pages(api):
    file = make_stored(user=api.user)
    runs = [make_run(file=file) for _ in range(3)]
    first = api.get(RUNS, limit=2).json()
    assert len(first["items"]) == 2
    assert items(api, limit=2, cursor=first["next_cursor"]) == [str(runs[0].id)]


@pytest.mark.parametrize("status", RunStatus.values)
def test_the_list_is_narrowed_to_a_status(api, status):
    runs = {name: make(user=api.user) for name, make in in_every_state().items()}
    assert items(api, status=status) == [str(runs[status].id)]


def test_the_list_is_narrowed_to_a_workflow_and_a_file(api, workflow):
    file = make_stored(user=api.user)
    wanted = make_run(workflow=workflow, file=file)
    other = make_run(file=file)
    make_run(workflow=workflow, user=api.user)
    assert items(api, workflow="report", file_id=file.id) == [str(wanted.id)]
    assert items(api, file_id=file.id) == [str(other.id), str(wanted.id)]
    assert items(api, workflow="a\x00b") == []


def test_what_cannot_be_asked_for_is_refused(api):
    assert_problem(api.get(RUNS, status="done"), 400, "invalid_status")
    assert_problem(api.get(RUNS, cursor="x"), 400, "invalid_cursor")
    assert_problem(api.get(RUNS, file_id="x"), 400, "invalid_request")


def test_a_list_of_many_costs_as_much_as_one_of_few(api, django_assert_max_num_queries):
    for _ in range(12):
        make_completed(user=api.user, result=b"x", output_text="LONG")
    with django_assert_max_num_queries(5):
        reply = api.get(RUNS)
    assert len(reply.json()["items"]) == 12
    assert b"LONG" not in reply.content


# --- Log and output ------------------------------------------------------------------------------


def test_a_log_is_followed_line_by_line(api):
    run = make_running(user=api.user, lines=["one", "two"])

    first = api.get(f"{RUNS}/{run.id}/log").json()
    note_progress(run, lines=["three"])
    second = api.get(f"{RUNS}/{run.id}/log", after=first["next_after"]).json()
    third = api.get(f"{RUNS}/{run.id}/log", after=second["next_after"]).json()

    assert [line["message"] for line in first["items"]] == ["one", "two"]
    assert first["items"][0].keys() == {"id", "at", "attempt", "level", "message"}
    assert (first["items"][0]["attempt"], first["items"][0]["level"]) == (1, "info")
    assert [line["message"] for line in second["items"]] == ["three"]
    assert (third["items"], third["next_after"]) == ([], second["next_after"])
    assert third["run_status"] == "running"


def test_a_log_comes_in_pages(api):
    run = make_running(user=api.user, lines=["one", "two", "three"])
    first = api.get(f"{RUNS}/{run.id}/log", limit=2).json()
    rest = api.get(f"{RUNS}/{run.id}/log", limit=2, after=first["next_after"]).json()
    assert [line["message"] for line in rest["items"]] == ["three"]


def test_a_log_without_lines_has_no_place_to_go_on_from(api):
    assert api.get(f"{RUNS}/{make_run(user=api.user).id}/log").json()["next_after"] is None


def test_the_output_is_plain_text_that_no_browser_runs(api):
    text = "<script>alert(1)</script> é"
    run = make_completed(user=api.user, output_text=text)

    reply = api.get(f"{RUNS}/{run.id}/output")

    assert reply.content.decode() == text
    assert reply["Content-Type"] == "text/plain; charset=utf-8"
    assert reply["X-Content-Type-Options"] == "nosniff"
    assert reply["Content-Security-Policy"] == "default-src 'none'; sandbox"


SECRET = "what stands in the file"


def calls_that_show_a_run(api: Api, run: WorkflowRun):
    yield api.get(f"{RUNS}/{run.id}")
    yield api.get(RUNS)
    yield api.get(f"{RUNS}/{run.id}/log")
    yield api.get(f"{RUNS}/{run.id}/output")
    yield api.get(f"{FILES}/{run.file_id}/content")
    yield api.get(f"{FILES}/{run.result_file_id}/content")
    yield api.get(f"{FILES}/{run.result_file_id}")
    yield api.post(f"{RUNS}/{run.id}/retry")
    yield api.post(f"{RUNS}/{run.id}/cancel")


def test_a_token_for_workflows_alone_reads_no_contents_through_them(api):
    text = SECRET.encode()
    file = make_stored(text, user=api.user)
    run = make_completed(file=file, output_text=SECRET, result=text)
    WorkflowLogLine.objects.create(
        run=run, attempt=1, level="info", at=timezone.now(), message=SECRET
    )
    for reply in calls_that_show_a_run(Api(api.user, scopes=("workflows",)), run):
        assert SECRET not in reply.content.decode()
    shown_run = shown(Api(api.user, scopes=("workflows",)), run)
    assert (shown_run["status"], shown_run["output_text"]) == ("completed", None)


@pytest.mark.parametrize("address", ["log", "output"])
def test_what_a_task_wrote_takes_the_scope_read_too(api, address):
    run = make_completed(user=api.user)
    for_runs_only = Api(api.user, scopes=("workflows",))
    reply = for_runs_only.get(f"{RUNS}/{run.id}/{address}")
    assert_problem(reply, 403, "scope_missing")
    reader = Api(api.user, scopes=("workflows", "read"))
    assert reader.get(f"{RUNS}/{run.id}/{address}").status_code == 200


def test_a_token_for_workflows_and_reading_reads_the_output(api):
    run = make_completed(user=api.user, output_text=SECRET)
    reader = Api(api.user, scopes=("workflows", "read"))
    assert shown(reader, run)["output_text"] == SECRET
    assert reader.get(f"{RUNS}/{run.id}/output").content.decode() == SECRET


# --- Cancel and retry ----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_run, make_handed_over, make_cancelled])
def test_what_waits_is_cancelled_at_once(api, make):
    run = make(user=api.user)
    reply = api.post(f"{RUNS}/{run.id}/cancel")
    assert (reply.status_code, reply.json()["status"]) == (200, "cancelled")


def test_what_a_worker_is_at_is_told_to_stop(api):
    run = make_running(user=api.user)
    made = api.post(f"{RUNS}/{run.id}/cancel").json()
    assert made["status"] == "running"
    assert made["cancel_requested_at"] is not None


@pytest.mark.parametrize("make", [make_completed, make_failed])
def test_what_has_ended_is_not_cancelled(api, make):
    run = make(user=api.user)
    assert_problem(api.post(f"{RUNS}/{run.id}/cancel"), 409, "run_ended")


@pytest.mark.parametrize("make", [make_failed, make_cancelled])
def test_what_failed_or_was_cancelled_is_tried_again(api, make):
    run = make(user=api.user, config={"language": "fr"})
    made = api.post(f"{RUNS}/{run.id}/retry").json()
    assert (made["id"], made["status"], made["attempts_left"]) == (str(run.id), "pending", 3)
    assert (made["error"], made["completed_at"]) == (None, None)
    assert made["config"] == {"language": "fr"}


@pytest.mark.parametrize("make", [make_run, make_running])
def test_what_is_under_way_is_not_tried_again(api, make):
    run = make(user=api.user)
    assert_problem(api.post(f"{RUNS}/{run.id}/retry"), 409, "run_active")


def test_what_went_well_is_not_tried_again(api):
    run = make_completed(user=api.user)
    assert_problem(api.post(f"{RUNS}/{run.id}/retry"), 409, "run_not_failed")


def test_a_run_of_a_workflow_that_is_off_is_not_tried_again(api):
    workflow = make_workflow()
    run = make_failed(user=api.user, workflow=workflow)
    workflow.is_active = False
    workflow.save()
    assert_problem(api.post(f"{RUNS}/{run.id}/retry"), 409, "workflow_inactive")


def test_a_rules_run_was_started_by_nobody(api):
    run = make_run(user=api.user, trigger=RunTrigger.RULE)
    made = shown(api, run)
    assert (made["trigger"], made["started_by"]) == ("rule", None)


def test_a_run_that_waits_for_its_next_attempt_says_until_when(api):
    run = make_running(user=api.user)
    claims.fail(run, Failure("busy", "Later.", may_retry=True, retry_after=3600))
    due = timezone.datetime.fromisoformat(shown(api, run)["due_at"])
    assert due > timezone.now() + timedelta(minutes=30)


def test_who_may_read_all_files_reaches_their_runs_by_id(staff):
    run = make_run(user=make_user())
    assert shown(staff, run)["id"] == str(run.id)
    assert items(staff) == []
