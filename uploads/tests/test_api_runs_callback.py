"""/runs/callback/{token}: what an external runner reports, with its link as the only right."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts.tests.factories import principal_of
from common.ids import uuid7
from common.tests.threads import at_once
from uploads.files.links import LinkKind, link
from uploads.models import IngestFile, WorkflowRun
from uploads.storage import named
from uploads.tests.factories import (
    CutStream,
    assert_problem,
    events,
    on_disk,
    sha256,
    some_bytes,
    stored_bytes,
)
from uploads.tests.workflow_factories import (
    RUNS,
    claim_run,
    make_completed,
    make_failed,
    make_handed_over,
    make_running,
    make_workflow,
)
from uploads.workflows import answers, claims, runs
from uploads.workflows.links import callback_link
from uploads.workflows.results import discard_result, store_result

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_run_kicks")]

RESULT = some_bytes(3000)
COMPLETED = {"status": "completed", "output_text": "Done."}


@pytest.fixture
def run() -> WorkflowRun:
    return make_handed_over()


def address(run: WorkflowRun) -> str:
    return callback_link(run.id, run.lease_id).removeprefix(settings.PUBLIC_URL)


def post(run: WorkflowRun, answer: Any) -> Any:
    """A stranger's request: no account, no CSRF token."""
    client = Client(enforce_csrf_checks=True)
    return client.post(address(run), answer, content_type="application/json")


def put(run: WorkflowRun, content: Any = RESULT, *, length: int | None = None, **query: str) -> Any:
    """`content` is the body, or a stream whose length is given."""
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    return Client(enforce_csrf_checks=True).generic(
        "PUT",
        address(run),
        content_type="application/octet-stream",
        query_params={"filename": "answer.bin"} | query,
        **{
            "CONTENT_LENGTH": str(len(content) if length is None else length),
            "wsgi.input": stream,
        },
    )


class Interrupted(io.BytesIO):
    """A body during which, after its first bytes, something else happens."""

    def __init__(self, data: bytes, meanwhile: Callable[[], Any]) -> None:
        super().__init__(data)
        self.meanwhile = meanwhile
        self.outcome: Any = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() and self.outcome is None:
            self.outcome = self.meanwhile()
        return super().read(min(1000, 1000 if size is None or size < 0 else size))


def spent(run: WorkflowRun) -> WorkflowRun:
    run.refresh_from_db()
    return run


def files_of_results() -> int:
    return IngestFile.objects.filter(is_result=True).count()


# --- Answers -------------------------------------------------------------------------------------


def test_progress_is_noted_and_does_not_move_the_deadline(run):
    deadline = run.lease_expires_at

    reply = post(run, {"status": "progress", "percent": 30, "message": "Reading"})

    assert (reply.status_code, reply.content) == (204, b"")
    spent(run)
    assert (run.status, run.progress_percent, run.progress_message) == ("running", 30, "Reading")
    assert run.lease_expires_at == deadline


def test_an_answer_completes_the_run(run):
    assert post(run, COMPLETED).status_code == 204

    spent(run)
    assert (run.status, run.output_text, run.output_is_cut) == ("completed", "Done.", False)
    assert len(events("workflow_run.completed")) == 1


def test_an_answer_may_come_before_the_worker_has_handed_over():
    run = make_running()
    assert post(run, COMPLETED).status_code == 204
    assert spent(run).status == "completed"
    assert not claims.hand_over(run, seconds=60)


def test_a_chain_goes_on_from_an_answer():
    following = make_workflow()
    run = make_handed_over(workflow=make_workflow(on_success=following))
    post(run, COMPLETED)
    assert WorkflowRun.objects.get(workflow=following).previous == run


def test_a_failure_ends_the_run(run):
    error = {"code": "no_such_model", "message": "There is no such model."}

    assert post(run, {"status": "failed", "error": error}).status_code == 204

    spent(run)
    assert (run.status, run.error_code, run.error_message) == ("failed", *error.values())


def test_a_failure_that_may_pass_leads_to_another_attempt(run):
    error = {"code": "busy", "message": "Try later."}

    assert post(run, {"status": "failed", "error": error, "retry": True}).status_code == 204

    spent(run)
    assert (run.status, run.attempts_left) == ("pending", 2)
    assert run.due_at > timezone.now()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("before", [[], [{"status": "progress"}]])
@pytest.mark.parametrize(
    "answer", [COMPLETED, {"status": "failed", "error": {"code": "x", "message": "y"}}]
)
def test_of_the_same_answer_twice_at_once_one_is_taken(run, before, answer):
    for each in before:
        assert post(run, each).status_code == 204
    statuses = at_once([lambda: post(run, answer).status_code] * 4)
    assert sorted(statuses) == [204, 410, 410, 410]


def test_accepted_is_no_answer_here(run):
    assert_problem(post(run, {"status": "accepted"}), 400, "status_not_expected")
    assert spent(run).status == "running"


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        ({}, "status"),
        ({"status": "done"}, "status"),
        ({"status": "progress", "percent": 101}, "percent"),
        ({"status": "progress", "percentage": 1}, "percentage"),
        ({"status": "failed"}, ""),
        ({"status": "progress", "output_text": "x"}, ""),
        ([], ""),
        (b"{", ""),
        (b"\xff", ""),
    ],
)
def test_an_answer_that_is_not_valid_names_the_field(run, answer, field):
    problem = assert_problem(post(run, answer), 400, "answer_invalid")
    assert field in [error["field"] for error in problem["errors"]]
    assert spent(run).status == "running"


def test_a_long_text_is_taken_and_kept_as_far_as_there_is_room(run, settings):
    text = "é" * 600_000  # as JSON more than Django would take
    assert post(run, {"status": "completed", "output_text": text}).status_code == 204
    spent(run)
    assert run.output_text == "é" * settings.PORTAL_WORKFLOW_OUTPUT_MAX
    assert run.output_is_cut


def test_an_endless_answer_is_refused_unread(run):
    client = Client()
    reply = client.generic(
        "POST",
        address(run),
        **{"CONTENT_LENGTH": str(answers.BODY_MAX + 1), "wsgi.input": CutStream(b"", OSError())},
    )
    assert_problem(reply, 413, "body_too_large")


# --- Links ---------------------------------------------------------------------------------------


def forged(run: WorkflowRun) -> list[str]:
    token = address(run).rpartition("/")[2]
    value, _, signature = token.rpartition(":")
    other = link(LinkKind.FILE, run.file_id).rpartition("/")[2]
    return [
        "x",
        value,
        f"{value}:{'A' * len(signature)}",
        f"{uuid7().hex}{value[32:]}:{signature}",
        other,
        callback_link(run.id, None).rpartition("/")[2],
    ]


def test_a_forged_link_is_not_valid(run):
    for token in forged(run):
        path = f"{RUNS}/callback/{token}"
        reply = Client().post(path, COMPLETED, content_type="application/json")
        assert_problem(reply, 404, "link_invalid")
        assert_problem(Client().put(f"{path}?filename=a", RESULT), 404, "link_invalid")
    assert spent(run).status == "running"


@pytest.mark.parametrize("make", [make_completed, make_failed])
def test_the_link_of_an_attempt_that_has_ended_is_over(make):
    run = make_running()
    path = address(run)
    if make is make_completed:
        claims.complete(run, output_text="First", is_cut=False, result=None)
    else:
        claims.fail(run, claims.Failure("x", "y"))
    reply = Client().post(path, COMPLETED, content_type="application/json")
    assert_problem(reply, 410, "attempt_over")
    assert_problem(Client().put(f"{path}?filename=a", RESULT), 410, "attempt_over")
    assert spent(run).output_text != "Done."
    assert files_of_results() == 0


def test_the_link_of_a_cancelled_run_is_over(run):
    path = address(run)
    runs.cancel_run(principal=principal_of(run.owner), run_id=run.id)
    reply = Client().post(path, {"status": "progress"}, content_type="application/json")
    assert_problem(reply, 410, "attempt_over")


def test_the_link_of_an_earlier_attempt_is_over(run):
    path = address(run)
    claims.fail(run, claims.Failure("x", "y", may_retry=True))
    again = claim_run(run)
    reply = Client().post(path, COMPLETED, content_type="application/json")
    assert_problem(reply, 410, "attempt_over")
    assert post(again, COMPLETED).status_code == 204


def test_after_the_deadline_nothing_is_taken_even_before_the_sweep():
    run = make_handed_over(seconds=-1)
    assert_problem(post(run, COMPLETED), 410, "attempt_over")
    assert_problem(post(run, {"status": "progress"}), 410, "attempt_over")
    assert_problem(put(run), 410, "attempt_over")
    assert spent(run).status == "running"
    assert claims.sweep() == 1


def test_the_link_of_a_run_that_is_no_more_is_over(run):
    path = address(run)
    run.delete()
    reply = Client().post(path, COMPLETED, content_type="application/json")
    assert_problem(reply, 410, "attempt_over")


def test_reading_is_not_offered(run):
    reply = Client().get(address(run))
    assert_problem(reply, 405, "method_not_allowed")


# --- Result files --------------------------------------------------------------------------------


def test_a_result_file_completes_the_run(run):
    reply = put(run, filename="Ergebnis é.bin", output_text="In short")

    spent(run)
    made = run.result_file
    assert reply.status_code == 201, reply.content
    assert reply.json() == {
        "file_id": str(made.id),
        "filename": "Ergebnis é.bin",
        "size_bytes": 3000,
        "sha256": sha256(RESULT),
        "content_type": "application/octet-stream",
    }
    assert (run.status, run.output_text, run.result_key) == ("completed", "In short", "")
    assert (made.uploaded_by, made.is_result, made.status) == (run.owner, True, "stored")
    assert made.expires_at is not None
    assert stored_bytes(made) == RESULT
    assert len(events("workflow_run.completed")) == 1


def test_an_empty_result_is_a_result(run):
    assert put(run, b"").status_code == 201
    assert spent(run).result_file.size_bytes == 0


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 256])
def test_a_name_that_no_file_can_have_is_refused(run, name):
    assert_problem(put(run, filename=name), 400, "invalid_filename")
    assert spent(run).status == "running"


def test_a_result_without_a_name_or_a_length_is_refused(run):
    assert_problem(Client().put(address(run), RESULT), 400, "invalid_request")
    reply = Client().generic(
        "PUT", f"{address(run)}?filename=a", **{"HTTP_TRANSFER_ENCODING": "chunked"}
    )
    assert_problem(reply, 411, "length_required")


def test_a_piece_of_a_result_is_not_taken_for_the_whole(run):
    reply = Client().put(
        f"{address(run)}?filename=a",
        RESULT,
        "application/octet-stream",
        headers={"Content-Range": f"bytes 0-{len(RESULT) - 1}/100000"},
    )
    assert_problem(reply, 400, "content_range_unsupported")
    assert spent(run).status == "running"


def test_a_result_may_be_as_large_as_the_portal_says(run, settings):
    settings.PORTAL_WORKFLOW_RESULT_MAX = len(RESULT) - 1
    problem = assert_problem(put(run), 413, "result_too_large")
    assert problem["max_bytes"] == len(RESULT) - 1
    settings.PORTAL_WORKFLOW_RESULT_MAX = len(RESULT)
    assert put(run).status_code == 201


def test_a_result_that_breaks_off_may_be_sent_again(run):
    before = on_disk()
    assert_problem(put(run, RESULT[:1000], length=len(RESULT)), 400, "body_incomplete")
    cut = CutStream(RESULT[:1000], TimeoutError())
    assert_problem(put(run, cut, length=len(RESULT)), 408, "body_stalled")
    assert (on_disk(), spent(run).result_key) == (before, "")
    assert put(run).status_code == 201


def test_a_full_disk_leaves_the_run_on(run, settings):
    reserve = settings.PORTAL_DISK_RESERVE
    settings.PORTAL_DISK_RESERVE = 2**62
    assert_problem(put(run), 507, "no_room")
    settings.PORTAL_DISK_RESERVE = reserve
    assert put(run).status_code == 201


def test_what_a_killed_server_left_does_not_keep_long_text_away(run):
    key = uuid7().hex
    named("local").uploads.create(key, size_bytes=10)
    WorkflowRun.objects.filter(id=run.id).update(result_key=key)
    text = "word " * 4000

    assert post(run, {"status": "completed", "output_text": text}).status_code == 204

    run.refresh_from_db()
    assert (run.status, run.output_text) == ("completed", text)
    assert stored_bytes(run.result_file) == text.encode()
    assert run.result_file.original_filename.endswith(".txt")


def test_what_a_killed_server_left_of_a_result_does_not_keep_it_away(run):
    key = uuid7().hex
    named("local").uploads.create(key, size_bytes=10)
    WorkflowRun.objects.filter(id=run.id).update(result_key=key)

    assert put(run).status_code == 201

    assert not {path for path in on_disk() if key in path}
    assert stored_bytes(spent(run).result_file) == RESULT


def test_a_second_result_at_the_same_time_is_refused(run):
    first = Interrupted(RESULT, lambda: put(run, b"another"))

    reply = put(run, first, length=len(RESULT))

    assert_problem(first.outcome, 409, "result_in_progress")
    assert reply.status_code == 201
    assert stored_bytes(spent(run).result_file) == RESULT


@pytest.mark.django_db(transaction=True)
def test_of_several_results_at_once_one_is_taken(run):
    replies = at_once([partial(put, run, some_bytes(200_000, seed=n)) for n in range(4)])

    statuses = sorted(reply.status_code for reply in replies)
    assert statuses[0] == 201
    assert set(statuses[1:]) <= {409, 410}
    (taken,) = [reply.json() for reply in replies if reply.status_code == 201]
    spent(run)
    assert (run.status, str(run.result_file.id)) == ("completed", taken["file_id"])
    assert sha256(stored_bytes(run.result_file)) == taken["sha256"]
    assert len(on_disk()) == 2  # the file, and one result


@pytest.mark.parametrize(
    "end",
    [
        lambda run: runs.cancel_run(principal=principal_of(run.owner), run_id=run.id),
        lambda run: post(run, COMPLETED),
        lambda run: claims.fail(run, claims.Failure("x", "y", may_retry=True)),
    ],
)
def test_an_attempt_that_ends_during_the_upload_frees_its_bytes(run, end):
    before = on_disk()

    reply = put(run, Interrupted(RESULT, lambda: end(run) or True), length=len(RESULT))

    assert_problem(reply, 410, "attempt_over")
    assert (on_disk(), files_of_results()) == (before, 0)
    assert spent(run).result_file is None


def test_a_late_upload_does_not_touch_the_result_of_the_next_attempt(run):
    def next_attempt():
        claims.fail(run, claims.Failure("x", "y", may_retry=True))
        WorkflowRun.objects.filter(id=run.id).update(result_key="")  # as the worker begins
        return put(claim_run(run), b"the right one").status_code

    late = Interrupted(RESULT, next_attempt)

    assert_problem(put(run, late, length=len(RESULT)), 410, "attempt_over")

    assert late.outcome == 201
    assert stored_bytes(spent(run).result_file) == b"the right one"
    assert files_of_results() == 1


@pytest.mark.parametrize(
    ("missing", "status", "code"), [(0, 410, "attempt_over"), (1, 400, "body_incomplete")]
)
def test_a_late_upload_does_not_touch_a_result_that_is_being_sent(run, missing, status, code):
    key = uuid7().hex

    def next_attempt():
        claims.fail(run, claims.Failure("x", "y", may_retry=True))
        again = claim_run(run)
        named("local").uploads.create(key, size_bytes=10)
        return WorkflowRun.objects.filter(id=again.id).change(result_key=key)

    late = Interrupted(RESULT, next_attempt)

    assert_problem(put(run, late, length=len(RESULT) + missing), status, code)

    assert late.outcome is True
    assert f"spool/{key}" in on_disk()
    assert spent(run).result_key == key


def test_a_result_whose_bytes_were_freed_completes_nothing():
    run = make_running()
    result = store_result(run, filename="a", size_bytes=1, blocks=iter([memoryview(b"x")]))
    discard_result(run, result.stored.key)

    assert not claims.complete(run, output_text="", is_cut=False, result=result)

    assert (spent(run).status, files_of_results()) == ("running", 0)


def test_the_description_of_the_api_shows_both_without_an_account(db):
    schema = Client().get("/api/v1/openapi.json").json()
    (calls,) = [each for path, each in schema["paths"].items() if "/callback/" in path]
    assert calls.keys() == {"post", "put"}
    assert all("security" not in call for call in calls.values())
    answer = calls["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "code" in str(answer["properties"]["error"])
    assert "$ref" not in str(answer)
