"""One run: watched, read, cancelled, tried again, and made again with other settings."""

import json
from decimal import Decimal
from enum import StrEnum
from typing import Literal
from uuid import uuid4

import pytest
from django import forms
from django.contrib.auth.models import Permission
from django.test import Client
from pydantic import Field

from accounts.models import User
from accounts.tests.factories import make_user, principal_of
from frontend.tests.conftest import client_of, main_of
from uploads.files.lifecycle import delete_file
from uploads.models import RunStatus, WorkflowRun, WorkflowSecret
from uploads.tests.factories import make_stored
from uploads.tests.workflow_factories import (
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
from uploads.workflows import (
    ADJUSTABLE,
    MULTILINE,
    RunContext,
    TaskConfig,
    WorkflowResult,
    claims,
    workflow_task,
)
from uploads.workflows.claims import Progress

HTMX = {"HX-Request": "true"}


class Tone(StrEnum):
    DRY = "dry"
    WARM = "warm"


class LetterConfig(TaskConfig):
    pages: int = Field(2, ge=1, le=9, title="Pages", json_schema_extra=ADJUSTABLE)
    price: Decimal | None = Field(None, max_digits=6, json_schema_extra=ADJUSTABLE)
    warmth: float | None = Field(None, ge=0, le=1, json_schema_extra=ADJUSTABLE)
    format: Literal["pdf", "html"] = Field("pdf", json_schema_extra=ADJUSTABLE)
    tone: Tone = Field(Tone.DRY, json_schema_extra=ADJUSTABLE)
    is_signed: bool = Field(True, title="Sign it", json_schema_extra=ADJUSTABLE)
    prompt: str = Field(
        "Dear\nall", min_length=1, max_length=50, json_schema_extra={**MULTILINE, **ADJUSTABLE}
    )
    signature: str | None = Field(None, json_schema_extra=ADJUSTABLE)
    extras: dict[str, int] = Field(default_factory=dict, json_schema_extra=ADJUSTABLE)
    server: str = "internal.example"


@workflow_task("test_letter", config=LetterConfig)
def letter(context: RunContext[LetterConfig]) -> WorkflowResult:
    """Writes a letter."""
    return WorkflowResult(output_text=context.config.prompt)


LETTER = {
    "pages": "3",
    "price": "0.10",
    "warmth": "",
    "format": "html",
    "tone": "warm",
    "prompt": "Dear\r\nGrace",
    "signature": "",
    "extras": '{"copies": 2}',
}


def page_of(run: WorkflowRun, part: str = "") -> str:
    return f"/app/uploads/{run.file_id}/runs/{run.id}/{part}"


def test_somebody_elses_run_does_not_exist(ada: Client, client: Client, db):
    run = make_run()
    assert ada.get(page_of(run)).status_code == 404
    for part in ("cancel/", "retry/"):
        assert ada.post(page_of(run, part)).status_code == 404
    assert ada.get(f"/app/uploads/{run.file_id}/runs/").status_code == 404
    assert ada.post(f"/app/uploads/{run.file_id}/runs/").status_code == 404
    assert client.get(page_of(run)).status_code == 302
    run.refresh_from_db()
    assert run.status == RunStatus.PENDING


def test_a_run_is_found_under_its_own_file_only(ada: Client, user: User):
    run, other = make_run(user=user), make_stored(user=user)
    assert ada.get(f"/app/uploads/{other.id}/runs/{run.id}/").status_code == 404
    assert ada.post(f"/app/uploads/{other.id}/runs/{run.id}/cancel/").status_code == 404
    assert ada.get(f"/app/uploads/{other.id}/runs/{uuid4()}/").status_code == 404


@pytest.mark.parametrize("part", ["cancel/", "retry/"])
def test_a_link_changes_nothing(ada: Client, user: User, part: str):
    assert ada.get(page_of(make_run(user=user), part)).status_code == 405


@pytest.mark.parametrize("part", ["cancel/", "retry/"])
def test_another_site_cannot_send_the_forms(user: User, part: str):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    run = make_run(user=user)
    assert client.post(page_of(run, part)).status_code == 403
    address = f"/app/uploads/{run.file_id}/runs/"
    assert client.post(address, {"workflow": run.workflow.slug}).status_code == 403


@pytest.mark.parametrize("status", RunStatus.values)
def test_every_state_has_its_page(ada: Client, user: User, status: str):
    run = in_every_state()[status](user=user)
    content = main_of(ada.get(page_of(run)))
    assert f'data-status="{status}"' in content
    assert run.workflow.name in content
    assert run.file.original_filename in content
    is_active = status in ("pending", "running")
    assert ("hx-get" in content) == is_active
    assert ('id="cancel"' in content) == is_active
    assert ("Retry" in content) == (status in ("failed", "cancelled"))
    assert ("Run again" in content) == (not is_active)


def test_a_run_is_watched_to_its_end_which_shows_the_output(ada: Client, user: User):
    run = make_running(user=user, percent=40, message="page 4 of 10", lines=["Reading <page> 4"])
    content = ada.get(page_of(run)).content.decode()
    assert f'hx-get="{page_of(run)}?seen=running" hx-trigger="every 2s"' in content
    assert 'value="40.0"' in content
    assert "page 4 of 10" in content
    assert "Reading &lt;page&gt; 4" in content
    assert "run-news" in content

    same = ada.get(page_of(run), {"seen": "running"}, headers=HTMX).content.decode()
    assert "<html" not in same
    assert "hx-swap-oob" not in same  # nothing that would be read out again

    note_progress(run, percent=90)
    assert claims.complete(run, output_text="# Found", is_cut=False, result=None)
    ended = ada.get(page_of(run), {"seen": "running"}, headers=HTMX).content.decode()
    assert "hx-get" not in ended
    assert 'hx-swap-oob="innerHTML:#run-news"' in ended
    assert "<h3>Found</h3>" in ended


def test_how_far_it_is_may_be_unknown(ada: Client, user: User):
    content = ada.get(page_of(make_running(user=user))).content.decode()
    bar = content.split("<progress")[1].split(">")[0]
    assert "value" not in bar
    assert 'aria-label="Progress of' in bar


def test_an_external_runner_is_looked_at_less_often(ada: Client, user: User):
    content = ada.get(page_of(make_handed_over(user=user, seconds=7200))).content.decode()
    assert "every 10s" in content
    assert "waiting for the external runner" in content
    assert "in 2 hours" in content


def test_the_output_is_offered_formatted_and_as_text(ada: Client, user: User):
    text = "# Report\n\n<script>alert(1)</script> [x](javascript:alert(1))"
    run = make_completed(user=user, output_text=text, result=text.encode(), filename="text.md")
    content = ada.get(page_of(run)).content.decode()
    assert "<h3>Report</h3>" in content
    assert "<script>alert" not in content
    assert "# Report\n\n&lt;script&gt;" in content
    assert content.count("<h1") == 1
    result = run.result_file
    for fact in (result.sha256, f"/api/v1/files/{result.id}/content", "text.md", "Expires"):
        assert fact in content


def test_an_output_that_is_no_markdown_is_only_text(ada: Client, user: User):
    run = make_completed(user=user, output_text="# no", result=b"\x00\x01", filename="a.bin")
    response = ada.get(page_of(run))
    assert b"<h3>no" not in response.content
    assert response.context["output"] == {"text": "# no"}


def test_an_output_that_would_take_long_to_lay_out_is_only_text(ada: Client, user: User):
    text = "![" * 32_000
    response = ada.get(page_of(make_completed(user=user, output_text=text)))
    assert response.context["output"] == {"text": text, "html": None}
    assert b"output-as-page" not in response.content
    assert text in response.content.decode()


def test_json_is_indented_and_escaped(ada: Client, user: User):
    run = make_completed(user=user, output_text='{"a":["<b>"]}')
    response = ada.get(page_of(run))
    assert response.context["output"] == {"text": '{\n  "a": [\n    "<b>"\n  ]\n}'}
    assert "&lt;b&gt;" in response.content.decode()


@pytest.mark.parametrize(
    "text",
    ["[" * 30_000, "[" * 900 + "0," * 30_000 + "0" + "]" * 900, '{"cut": [1, 2', "17", '"word"'],
    ids=["deep", "wide when indented", "cut", "number", "string"],
)
def test_json_that_is_not_for_people_stays_as_it_is(ada: Client, user: User, text: str):
    run = make_completed(user=user, output_text=text, result=b"x", filename="data.json")
    assert ada.get(page_of(run)).context["output"] == {"text": text}


def test_an_output_that_was_cut_says_so(ada: Client, user: User):
    content = ada.get(page_of(make_completed(user=user, is_cut=True))).content
    assert b"Only the beginning is shown here." in content


def test_what_could_not_be_read_is_listed(ada: Client, user: User):
    run = make_completed(user=user, warnings=["Page 2 could not be read.", "Page <3>"])
    content = ada.get(page_of(run)).content
    assert b"Page 2 could not be read." in content
    assert b"Page &lt;3&gt;" in content


def test_a_result_that_is_gone_is_not_offered(ada: Client, user: User):
    run = make_completed(user=user, result=b"x")
    delete_file(principal=principal_of(user), file_id=run.result_file_id)
    content = ada.get(page_of(run)).content
    assert b"/content" not in content
    assert b"Removed" in content


def test_a_run_without_output_says_so(ada: Client, user: User):
    assert b"made no output" in ada.get(page_of(make_completed(user=user, output_text=""))).content


def test_the_cost_is_shown_in_the_portals_currency(ada: Client, user: User, settings):
    settings.PORTAL_CURRENCY = "EUR"
    run = make_running(user=user)
    claims.renew(run, Progress(cost=Decimal("0.001230")))
    assert b"0.00123 EUR" in ada.get(page_of(run)).content


def test_a_failure_is_told_to_users_and_its_traceback_to_those_who_may_see_it(
    ada: Client, grace: Client, user: User, admin_user: User
):
    def failed(owner: User) -> str:
        return page_of(
            make_failed(user=owner, message="The file is <broken>.", traceback="Traceback: line 7")
        )

    address = failed(user)
    content = ada.get(address).content.decode()
    assert "The file is &lt;broken&gt;." in content
    assert "line 7" not in content
    assert "test-worker" not in content
    content = grace.get(failed(admin_user)).content.decode()
    assert "line 7" in content
    assert "test-worker" in content

    helper = make_user()
    User.objects.filter(id=helper.id).update(is_staff=True)
    assert b"line 7" not in client_of(helper).get(failed(helper)).content
    helper.user_permissions.add(Permission.objects.get(codename="view_workflowattempt"))
    assert b"line 7" in client_of(helper).get(failed(helper)).content


def test_a_waiting_run_is_cancelled(ada: Client, user: User):
    run = make_run(user=user)
    response = ada.post(page_of(run, "cancel/"), follow=True)
    assert b"The run is cancelled." in response.content
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED


def test_a_run_that_is_under_way_is_being_cancelled(ada: Client, user: User):
    run = make_running(user=user)
    response = ada.post(page_of(run, "cancel/"), follow=True)
    assert b"The run is being cancelled." in response.content
    button = response.content.decode().split('id="cancel"')[1].split(">")[0]
    assert "disabled" in button


def test_a_run_that_is_over_cannot_be_cancelled(ada: Client, user: User):
    response = ada.post(page_of(make_completed(user=user), "cancel/"), follow=True)
    assert b"The run has completed already." in response.content


def test_a_failed_run_is_tried_again(ada: Client, user: User):
    run = make_failed(user=user)
    response = ada.post(page_of(run, "retry/"), follow=True)
    assert b"The run is tried again." in response.content
    run.refresh_from_db()
    assert run.status == RunStatus.PENDING


def test_what_cannot_be_tried_again_says_why(ada: Client, user: User):
    response = ada.post(page_of(make_completed(user=user), "retry/"), follow=True)
    assert b"Only a run that failed or was cancelled is retried" in response.content
    run = make_cancelled(user=user)
    delete_file(principal=principal_of(user), file_id=run.file_id)
    content = main_of(ada.get(page_of(run)))
    assert "Retry" not in content
    assert "Run again" not in content
    response = ada.post(page_of(run, "retry/"), follow=True)
    assert b'data-level="error"' in response.content


def test_the_runs_of_a_chain_lead_to_each_other(ada: Client, user: User):
    second = make_workflow(name="Summarise")
    first = make_completed(user=user, workflow=make_workflow(name="Extract", on_success=second))
    (after,) = WorkflowRun.objects.filter(previous=first)
    assert page_of(after) in ada.get(page_of(first)).content.decode()
    content = ada.get(page_of(after)).content.decode()
    assert page_of(first) in content
    assert "the success of" in content


def test_a_run_starts_from_the_files_page_and_is_watched_on_its_own(ada: Client, user: User):
    file, workflow = make_stored(user=user), make_workflow()
    address = f"/app/uploads/{file.id}/runs/"
    response = ada.post(address, {"workflow": workflow.slug})
    run = WorkflowRun.objects.get()
    assert response.headers["Location"] == page_of(run)
    assert run.started_by == user
    response = ada.post(address, {"workflow": workflow.slug}, follow=True)
    assert b"is under way already" in response.content
    assert WorkflowRun.objects.count() == 1


def test_what_cannot_be_started_says_why(ada: Client, user: User):
    file = make_stored(user=user)
    address = f"/app/uploads/{file.id}/runs/"
    for slug, reason in (
        ("", "There is no active workflow"),
        (make_workflow(is_active=False).slug, "There is no active workflow"),
        (make_workflow(accepted_types=["image/*"]).slug, "does not take text/plain"),
    ):
        response = ada.post(address, {"workflow": slug}, follow=True)
        assert reason in response.content.decode()
    assert not WorkflowRun.objects.exists()


def test_a_run_is_made_again_with_other_settings(ada: Client, user: User):
    workflow = make_workflow(task_name="test_letter", config={"server": "own.example", "pages": 5})
    run = make_completed(user=user, workflow=workflow, config={"pages": 7, "prompt": "Hello"})
    address = f"/app/uploads/{run.file_id}/runs/new/{workflow.slug}/"
    content = ada.get(page_of(run)).content.decode()
    assert f"{address}?like={run.id}" in content

    form = ada.get(address, {"like": run.id}).context["form"]
    assert list(form.fields) == list(LetterConfig.model_fields)[:-1]  # the server is not theirs
    assert form["pages"].value() == 7
    assert form["prompt"].value() == "Hello"
    assert ada.get(address).context["form"]["pages"].value() == 5

    response = ada.post(address, LETTER)
    made = WorkflowRun.objects.exclude(id=run.id).get()
    assert response.headers["Location"] == page_of(made)
    assert made.config == {
        "server": "own.example",
        "pages": 3,
        "price": "0.10",
        "format": "html",
        "tone": "warm",
        "is_signed": False,
        "prompt": "Dear\nGrace",
        "extras": {"copies": 2},
    }


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"pages": "99"}, "pages"),
        ({"pages": "many"}, "pages"),
        ({"warmth": "2"}, "warmth"),
        ({"format": "doc"}, "format"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 51}, "prompt"),
        ({"extras": "{"}, "extras"),
        ({"extras": '{"copies": "two"}'}, "extras"),
        ({"extras": "[1]"}, "extras"),
    ],
)
def test_a_wrong_setting_is_shown_at_its_field(
    ada: Client, user: User, changed: dict[str, str], field: str
):
    workflow = make_workflow(task_name="test_letter")
    address = f"/app/uploads/{make_stored(user=user).id}/runs/new/{workflow.slug}/"
    response = ada.post(address, LETTER | changed)
    assert list(response.context["form"].errors) == [field]
    assert 'aria-invalid="true"' in response.content.decode()
    assert not WorkflowRun.objects.exists()


def test_an_emptied_setting_takes_the_tasks_default_and_is_proposed_so_again(
    ada: Client, user: User
):
    workflow = make_workflow(task_name="test_letter", config={"pages": 5, "warmth": 0.5})
    address = f"/app/uploads/{make_stored(user=user).id}/runs/new/{workflow.slug}/"
    ada.post(address, LETTER | {"pages": ""})
    run = WorkflowRun.objects.get()
    assert not {"pages", "warmth"}.intersection(run.config)
    form = ada.get(address, {"like": run.id}).context["form"]
    assert (form["pages"].value(), form["warmth"].value()) == (2, None)


def test_administrators_choose_among_the_secrets(
    ada: Client, grace: Client, user: User, admin_user: User
):
    WorkflowSecret.objects.create(name="runner-key", value="whsec_s3cret")
    workflow = make_workflow(task_name="http_runner", config={"secret": "runner-key"})

    def form_for(client: Client, owner: User) -> forms.Form:
        file = make_stored(user=owner)
        return client.get(f"/app/uploads/{file.id}/runs/new/{workflow.slug}/").context["form"]

    choices = form_for(grace, admin_user).fields["secret"].choices
    assert [name for name, _ in choices] == ["", "runner-key"]
    assert list(form_for(ada, user).fields) == ["parameters"]


def test_only_administrators_set_the_rest(ada: Client, grace: Client, user: User, admin_user: User):
    workflow = make_workflow(task_name="test_letter")
    address = f"/app/uploads/{make_stored(user=user).id}/runs/new/{workflow.slug}/"
    ada.post(address, LETTER | {"server": "evil.example"})
    assert "server" not in WorkflowRun.objects.get().config
    assert b"internal.example" not in ada.get(address).content
    address = f"/app/uploads/{make_stored(user=admin_user).id}/runs/new/{workflow.slug}/"
    grace.post(address, LETTER | {"server": "other.example"})
    assert WorkflowRun.objects.get(file__uploaded_by=admin_user).config["server"] == "other.example"


def test_a_start_that_is_refused_keeps_the_settings(ada: Client, user: User):
    workflow = make_workflow(task_name="test_letter")
    run = make_run(user=user, workflow=workflow)
    response = ada.post(f"/app/uploads/{run.file_id}/runs/new/{workflow.slug}/", LETTER)
    assert b"is under way already" in response.content
    assert response.context["form"]["pages"].value() == "3"


def test_settings_of_what_is_not_there_are_a_404(ada: Client, user: User):
    file = make_stored(user=user)
    gone = make_workflow(task_name="gone")
    for slug in ("nothing", make_workflow(is_active=False).slug, gone.slug):
        assert ada.get(f"/app/uploads/{file.id}/runs/new/{slug}/").status_code == 404
    address = f"/app/uploads/{file.id}/runs/new/{make_workflow().slug}/"
    assert ada.get(address, {"like": make_run().id}).status_code == 404
    assert ada.get(address, {"like": "nonsense"}).status_code == 200


def test_the_page_costs_the_same_however_long_the_log_is(ada: Client, user: User, count_queries):
    def cost(lines: int) -> int:
        run = make_running(user=user, lines=[json.dumps({"n": n}) for n in range(lines)])
        with count_queries() as queries:
            ada.get(page_of(run))
        return len(queries)

    assert cost(2) == cost(300)
