import enum
import json
from decimal import Decimal
from typing import Annotated, Literal

import pytest
from django import forms
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from pydantic import BaseModel, Field, JsonValue

from accounts.models import User
from accounts.principals import PORTAL
from accounts.tests.factories import PASSWORD, make_user
from uploads.files import lifecycle
from uploads.models import RunStatus, Workflow, WorkflowSecret
from uploads.tests.factories import make_stored
from uploads.tests.workflow_factories import (
    TASK,
    in_every_state,
    make_cancelled,
    make_completed,
    make_failed,
    make_run,
    make_running,
    make_workflow,
)
from uploads.workflows import (
    MULTILINE,
    RunContext,
    SecretName,
    TaskConfig,
    WorkflowResult,
    registry,
    workflow_task,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_run_kicks")]


class Tone(enum.StrEnum):
    DRY = "dry"
    WARM = "warm"


class Inner(BaseModel):
    size: int = 1


class EveryKindConfig(TaskConfig):
    address: str = Field(min_length=1, title="Address of it", description="Where it is.")
    colour: str = Field("red", max_length=10)
    text: str = Field("", json_schema_extra=MULTILINE)
    count: int = Field(5, ge=1, le=9)
    share: float | None = Field(None, ge=0, le=1)
    price: Decimal = Field(Decimal(0), ge=0)
    style: Literal["long", "short"] = "short"
    tone: Tone | None = None
    careful: bool = True
    known: bool | None = None
    key: SecretName = ""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    words: list[Annotated[str, Field(max_length=5)]] = []
    inner: Inner = Inner()
    name: str = "the task's own"  # as a field of the workflow


@workflow_task("test_every_kind", accepts=("text/*",), config=EveryKindConfig)
def every_kind(context: RunContext[EveryKindConfig]) -> WorkflowResult:
    """Does nothing with much to choose.

    Further lines are for developers.
    """
    return WorkflowResult()


@pytest.fixture
def root(client):
    client.force_login(User.objects.create_superuser("root@example.org", PASSWORD))
    return client


def staff_with(client, *codenames: str):
    user = make_user()
    user.is_staff = True
    user.save()
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return client


def address(model: str, rest: str = "") -> str:
    return f"/admin/uploads/{model}/{rest}"


ADD = address("workflow", "add/?task=test_every_kind")


def fields_of(page) -> dict[str, object]:
    """What a browser would send of the form as it is shown."""
    form = page.context["adminform"].form
    return {
        bound.html_name: bound.value()
        for bound in form
        if bound.value() is not None
        and not (isinstance(bound.field.widget, forms.CheckboxInput) and not bound.value())
    }


def as_typed(client, where: str, **typed: object):
    """Open the form, type, and save it."""
    sent = fields_of(client.get(where)) | typed
    for name, value in sent.items():
        if isinstance(value, dict | list) and name.startswith("config_"):
            sent[name] = json.dumps(value)
    return client.post(where, {name: it for name, it in sent.items() if it is not None})


def errors_of(answer) -> dict[str, list[str]]:
    assert answer.status_code == 200, "it was saved"
    return {name: list(said) for name, said in answer.context["adminform"].form.errors.items()}


def said(answer) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def act(client, model: str, action: str, *rows, **more: str):
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(address(model), chosen | more, follow=True)


def add_every_kind(client, **typed: object):
    least = {"name": "Every", "slug": "every", "config_address": "here"}
    return as_typed(client, ADD, **least | typed)


# --- Adding ---------------------------------------------------------------------------------------


def test_adding_begins_with_the_choice_of_a_task(root):
    page = root.get(address("workflow", "add/"))
    assert page.status_code == 200
    text = page.content.decode()
    for task in registry.all_tasks():
        assert f'<a href="?task={task.name}">{task.name}</a>' in text
    assert "<td>Does nothing with much to choose.</td>" in text


def test_a_task_that_there_is_not_leads_to_the_choice(root):
    page = root.get(address("workflow", "add/?task=gone&_changelist_filters=is_active%3D1"))
    assert page.context["title"] == "Choose a task"
    assert "?_changelist_filters=is_active%3D1&amp;task=inspect" in page.content.decode()


def test_the_form_keeps_its_task_when_the_list_was_filtered(root):
    page = root.get(f"{ADD}&_changelist_filters=is_active__exact%3D1")
    action = page.context["form_url"]
    assert "task=test_every_kind" in action
    assert "_changelist_filters=" in action


def test_every_kind_of_value_has_its_field(root):
    WorkflowSecret.objects.create(name="a-key", value="s3cret")
    page = root.get(ADD)
    fields = page.context["adminform"].form.fields
    kinds = {
        name.removeprefix("config_"): type(field.widget).__name__
        for name, field in fields.items()
        if name.startswith("config_")
    }
    assert kinds == {
        "address": "AdminTextInputWidget",
        "colour": "AdminTextInputWidget",
        "text": "AdminTextareaWidget",
        "count": "NumberInput",
        "share": "NumberInput",
        "price": "NumberInput",
        "style": "Select",
        "tone": "Select",
        "careful": "CheckboxInput",
        "known": "NullBooleanSelect",
        "key": "Select",
        "extra": "AdminTextareaWidget",
        "words": "AdminTextareaWidget",
        "inner": "AdminTextareaWidget",
        "name": "AdminTextInputWidget",
    }
    assert fields["config_address"].label == "Address of it"
    assert fields["config_address"].help_text.startswith("Where it is.")
    assert fields["config_count"].initial == 5
    assert fields["config_count"].widget.attrs["min"] == 1
    assert fields["config_count"].widget.attrs["max"] == 9
    assert [value for value, _ in fields["config_style"].choices] == ["long", "short"]
    assert [value for value, _ in fields["config_tone"].choices] == ["", "dry", "warm"]
    assert [value for value, _ in fields["config_key"].choices] == ["", "a-key"]
    assert "s3cret" not in page.content.decode()


def test_a_form_saved_as_it_is_holds_what_was_typed_only(root):
    assert add_every_kind(root).status_code == 302
    workflow = Workflow.objects.get(slug="every")
    assert workflow.task_name == "test_every_kind"
    assert workflow.config == {"address": "here"}
    assert workflow.accepted_types == ["text/*"]
    assert workflow.is_active
    assert not workflow.auto_start
    assert (workflow.name, workflow.max_concurrent) == ("Every", None)


def test_every_kind_of_value_is_kept_and_shown_again(root):
    WorkflowSecret.objects.create(name="a-key", value="s3cret")
    typed = {
        "colour": "blue",
        "text": "two\r\nlines\r\n",
        "count": 7,
        "share": "0.25",
        "price": "1.50",
        "style": "long",
        "tone": "warm",
        "careful": None,
        "known": "false",
        "key": "a-key",
        "extra": '{"a": [1, null]}',
        "words": '["one"]',
        "inner": '{"size": 3}',
        "name": "other",
    }
    sent = {f"config_{name}": value for name, value in typed.items()}
    assert add_every_kind(root, **sent).status_code == 302
    workflow = Workflow.objects.get(slug="every")
    expected = {
        "address": "here",
        "colour": "blue",
        "text": "two\nlines\n",
        "count": 7,
        "share": 0.25,
        "price": "1.50",
        "style": "long",
        "tone": "warm",
        "careful": False,
        "known": False,
        "key": "a-key",
        "extra": {"a": [1, None]},
        "words": ["one"],
        "inner": {"size": 3},
        "name": "other",
    }
    assert workflow.config == expected

    page = address("workflow", f"{workflow.pk}/change/")
    assert as_typed(root, page).status_code == 302
    workflow.refresh_from_db()
    assert workflow.config == expected


def test_an_empty_field_takes_the_default_and_an_empty_text_replaces_it(root):
    config = {"address": "here", "count": 7, "colour": "blue"}
    workflow = make_workflow(task_name="test_every_kind", config=config)
    page = address("workflow", f"{workflow.pk}/change/")
    assert as_typed(root, page, config_count="", config_colour="").status_code == 302
    assert Workflow.objects.get().config == {"address": "here", "colour": ""}


def test_wrong_values_are_told_at_their_fields_all_at_once(root):
    answer = add_every_kind(
        root,
        slug="every one",
        accepted_types="text/plain, pdf",
        config_colour="",
        config_count="10",
        config_words='["too long"]',
        config_extra="{",
    )
    found = errors_of(answer)
    assert set(found) == {
        "slug",
        "accepted_types",
        "config_count",
        "config_words",
        "config_extra",
    }
    assert found["config_words"][0].startswith("0: ")


def test_what_an_active_workflow_needs_is_told_and_an_inactive_one_may_lack_it(root):
    answer = add_every_kind(root, config_address="")
    assert errors_of(answer) == {
        "config_address": ["It is needed before the workflow can be active."]
    }
    assert add_every_kind(root, config_address="", is_active=None).status_code == 302
    assert Workflow.objects.get().config == {}


def test_types_are_typed_one_in_a_line(root):
    assert add_every_kind(root, accepted_types="image/*\r\n application/pdf,").status_code == 302
    assert Workflow.objects.get().accepted_types == ["image/*", "application/pdf"]


# --- Auto-start and chains ------------------------------------------------------------------------


def test_the_rule_names_an_account_by_its_address_and_a_batch_by_its_id(root, api):
    batch = api.create_batch(name="Monday")
    answer = add_every_kind(
        root, auto_start="on", auto_start_user=api.user.email.upper(), auto_start_batch=batch["id"]
    )
    assert answer.status_code == 302
    workflow = Workflow.objects.get()
    assert workflow.auto_start
    assert workflow.auto_start_user_id == api.user.id
    assert str(workflow.auto_start_batch_id) == batch["id"]
    page = address("workflow", f"{workflow.pk}/change/")
    assert fields_of(root.get(page))["auto_start_user"] == api.user.email

    assert as_typed(root, page, auto_start_user="", auto_start_batch="").status_code == 302
    workflow.refresh_from_db()
    assert (workflow.auto_start_user_id, workflow.auto_start_batch_id) == (None, None)


def test_nobody_and_nothing_are_refused(root):
    found = errors_of(
        add_every_kind(root, auto_start_user="nobody@example.org", auto_start_batch="x")
    )
    assert set(found) == {"auto_start_user", "auto_start_batch"}
    found = errors_of(add_every_kind(root, auto_start_batch=str(make_user().id)))
    assert found == {"auto_start_batch": ["There is no batch with this id."]}


def test_a_rule_for_an_account_that_is_gone_stays_until_it_is_changed(root):
    workflow = make_workflow(auto_start=True, auto_start_user_id=make_user().id)
    User.objects.exclude(email="root@example.org").delete()
    page = address("workflow", f"{workflow.pk}/change/")
    assert as_typed(root, page, name="Renamed").status_code == 302
    before = workflow.auto_start_user_id
    workflow.refresh_from_db()
    assert (workflow.name, workflow.auto_start_user_id) == ("Renamed", before)


def test_a_chain_that_leads_back_is_refused_at_its_field(root):
    first = make_workflow()
    second = make_workflow(on_success=first)
    page = address("workflow", f"{first.pk}/change/")
    found = errors_of(as_typed(root, page, on_success=str(second.pk), consumes_file="on"))
    assert set(found) == {"on_success", "consumes_file"}
    choices = root.get(page).context["adminform"].form.fields["on_success"].queryset
    assert first not in choices


# --- Changing -------------------------------------------------------------------------------------


def test_another_task_can_be_chosen_for_a_workflow(root):
    workflow = make_workflow(config={"language": "de"})
    page = address("workflow", f"{workflow.pk}/change/")
    assert "?task=test_every_kind" in root.get(f"{page}?task=").content.decode()
    assert as_typed(root, f"{page}?task=test_every_kind", config_address="x").status_code == 302
    workflow.refresh_from_db()
    assert (workflow.task_name, workflow.config) == ("test_every_kind", {"address": "x"})


@pytest.mark.parametrize(("types", "kept"), [(["*/*"], ["image/png"]), (["image/*"], ["image/*"])])
def test_another_tasks_types_are_taken_unless_some_were_chosen(root, types, kept):
    workflow = make_workflow(task_name="inspect", config={}, accepted_types=types)
    page = address("workflow", f"{workflow.pk}/change/?task=transcode_image")
    assert as_typed(root, page).status_code == 302
    workflow.refresh_from_db()
    assert workflow.accepted_types[:1] == kept


def test_a_workflow_whose_task_is_gone_opens_and_can_be_switched_off(root):
    workflow = make_workflow(task_name="gone", config={"some": "<b>thing</b>"})
    page = address("workflow", f"{workflow.pk}/change/")
    text = root.get(page).content.decode()
    assert "This task is missing" in text
    assert "&lt;b&gt;thing&lt;/b&gt;" in text
    assert list(errors_of(as_typed(root, page))) == ["is_active"]
    assert as_typed(root, page, is_active=None).status_code == 302
    workflow.refresh_from_db()
    assert (workflow.is_active, workflow.task_name) == (False, "gone")
    assert workflow.config == {"some": "<b>thing</b>"}


def test_a_secret_that_is_gone_is_still_named(root):
    workflow = make_workflow(task_name="test_every_kind", config={"address": "x", "key": "lost"})
    page = address("workflow", f"{workflow.pk}/change/")
    assert "lost (missing)" in root.get(page).content.decode()
    assert list(errors_of(as_typed(root, page))) == ["config_key"]


def test_who_may_only_view_sees_all_and_changes_nothing(client):
    workflow = make_workflow(name="Seen", config={"language": "de"})
    viewer = staff_with(client, "view_workflow")
    page = address("workflow", f"{workflow.pk}/change/")
    text = viewer.get(page).content.decode()
    assert "&quot;language&quot;: &quot;de&quot;" in text
    assert viewer.post(page, {"name": "Changed"}).status_code == 403
    assert viewer.get(address("workflow", "add/")).status_code == 403
    assert viewer.get(f"{page}?task=").status_code == 403
    assert viewer.get(ADD).status_code == 403


# --- The list -------------------------------------------------------------------------------------


def test_the_list_is_found_by_name_and_shows_the_first_types(root):
    make_workflow(name="One", accepted_types=["a/a", "b/b", "c/c", "d/d", "e/e"])
    make_workflow(name="Two")
    page = root.get(address("workflow"), {"q": "one"})
    assert [it.name for it in page.context["cl"].result_list] == ["One"]
    assert "a/a, b/b, c/c and 2 more" in page.content.decode()


def test_activating_says_of_each_what_is_missing(root):
    good = make_workflow(name="Good", is_active=False)
    bad = make_workflow(name="Bad", task_name="test_every_kind", is_active=False)
    messages = said(act(root, "workflow", "activate", good, bad))
    assert "Good is active." in messages
    assert any(it.startswith("Bad: ") and "config.address: It is needed" in it for it in messages)
    good.refresh_from_db()
    bad.refresh_from_db()
    assert (good.is_active, bad.is_active) == (True, False)
    assert LogEntry.objects.get().get_change_message() == "Activated."


def test_switching_off_needs_nothing(root):
    workflow = make_workflow(task_name="gone")
    act(root, "workflow", "deactivate", workflow)
    workflow.refresh_from_db()
    assert not workflow.is_active


def test_who_switches_off_learns_what_becomes_of_runs_that_wait(root):
    done = act(root, "workflow", "deactivate", make_run().workflow)
    assert "runs that still wait will fail" in done.content.decode()


def test_a_workflow_with_runs_is_not_deleted_and_the_page_says_what_to_do(root):
    used, unused = make_run().workflow, make_workflow(name="Unused")
    for where in (
        root.post(address("workflow", f"{used.pk}/delete/"), {"post": "yes"}),
        act(root, "workflow", "delete_selected", used, unused, post="yes"),
    ):
        assert f"The runs of {used}: switch it off instead" in where.content.decode()
    assert Workflow.objects.count() == 2
    act(root, "workflow", "delete_selected", unused, post="yes")
    assert Workflow.objects.get() == used


# --- Secrets --------------------------------------------------------------------------------------


def make_secret(client, name: str = "the-key", value: str = "s3cret-value") -> WorkflowSecret:
    answer = client.post(
        address("workflowsecret", "add/"), {"name": name, "new_value": value, "description": ""}
    )
    assert answer.status_code == 302
    return WorkflowSecret.objects.get(name=name)


def test_a_secret_is_never_shown_again(root):
    secret = make_secret(root)
    assert secret.value == "s3cret-value"
    for page in ("", f"{secret.pk}/change/", f"{secret.pk}/history/", f"{secret.pk}/delete/"):
        answer = root.get(address("workflowsecret", page))
        assert answer.status_code == 200
        assert "s3cret-value" not in answer.content.decode()
        assert secret.__dict__["value"] not in answer.content.decode()
    assert not LogEntry.objects.filter(change_message__contains="s3cret").exists()


def test_a_refused_form_does_not_give_the_value_back(root):
    answer = root.post(
        address("workflowsecret", "add/"), {"name": "no name", "new_value": "s3cret-value"}
    )
    assert list(errors_of(answer)) == ["name"]
    assert "s3cret-value" not in answer.content.decode()


def test_an_empty_value_leaves_it_and_another_takes_its_place(root):
    secret = make_secret(root)
    page = address("workflowsecret", f"{secret.pk}/change/")
    root.post(page, {"description": "of the model", "new_value": ""})
    secret = WorkflowSecret.objects.get()
    assert (secret.description, secret.value) == ("of the model", "s3cret-value")
    root.post(page, {"name": "renamed", "description": "", "new_value": " new \n"})
    secret = WorkflowSecret.objects.get()
    assert (secret.name, secret.value) == ("the-key", "new")


def test_a_new_secret_needs_a_value(root):
    answer = root.post(address("workflowsecret", "add/"), {"name": "the-key", "new_value": " "})
    assert list(errors_of(answer)) == ["new_value"]


def test_a_secret_that_workflows_name_tells_which_and_is_not_deleted(root):
    secret = make_secret(root)
    workflow = make_workflow(
        name="User <of> it", task_name="test_every_kind", config={"key": "the-key"}
    )
    page = root.get(address("workflowsecret", f"{secret.pk}/change/")).content.decode()
    link = address("workflow", f"{workflow.pk}/change/")
    assert f'<a href="{link}">User &lt;of&gt; it</a>' in page

    delete = address("workflowsecret", f"{secret.pk}/delete/")
    assert "names the-key" in root.post(delete, {"post": "yes"}).content.decode()
    assert WorkflowSecret.objects.exists()
    workflow.delete()
    assert root.post(delete, {"post": "yes"}).status_code == 302
    assert not WorkflowSecret.objects.exists()


def test_a_secret_can_be_viewed_without_its_value(client, root):
    secret = make_secret(root)
    viewer = staff_with(client, "view_workflowsecret")
    page = viewer.get(address("workflowsecret", f"{secret.pk}/change/"))
    assert page.status_code == 200
    assert "new_value" not in page.content.decode()


# --- Runs -----------------------------------------------------------------------------------------


def listed(client, **query: str) -> list:
    answer = client.get(address("workflowrun"), query)
    assert answer.status_code == 200, answer.get("Location")
    return list(answer.context["cl"].result_list)


@pytest.mark.parametrize("status", list(in_every_state()))
def test_a_run_in_every_state_opens(root, status):
    run = in_every_state()[status]()
    assert listed(root, status=status) == [run]
    assert listed(root, status="failed" if status != "failed" else "completed") == []
    assert root.get(address("workflowrun", f"{run.pk}/change/")).status_code == 200


def test_a_run_shows_its_result_output_log_and_tracebacks(root):
    run = make_completed(output_text="<b>It</b> is", result=b"# It", lines=["<i>begun</i>", "done"])
    text = root.get(address("workflowrun", f"{run.pk}/change/")).content.decode()
    assert address("ingestfile", f"{run.result_file_id}/change/") in text
    assert "<pre>&lt;b&gt;It&lt;/b&gt; is</pre>" in text
    assert "[1] info: &lt;i&gt;begun&lt;/i&gt;\n" in text

    run = make_failed(traceback="Traceback: <module>")
    text = root.get(address("workflowrun", f"{run.pk}/change/")).content.decode()
    assert "<pre>Traceback: &lt;module&gt;</pre>" in text


def test_only_the_last_lines_of_a_long_log_are_shown(root):
    run = make_running(lines=[f"line {number}." for number in range(201)])
    text = root.get(address("workflowrun", f"{run.pk}/change/")).content.decode()
    assert "line 200." in text
    assert "line 0." not in text


def test_tracebacks_take_the_permission_to_view_attempts(client):
    run = make_failed(traceback="Traceback: here")
    page = address("workflowrun", f"{run.pk}/change/")
    viewer = staff_with(client, "view_workflowrun")
    assert "Traceback: here" not in viewer.get(page).content.decode()
    viewer = staff_with(client, "view_workflowrun", "view_workflowattempt")
    assert "Traceback: here" in viewer.get(page).content.decode()


def test_runs_are_found_by_id_file_owner_workflow_and_trigger(root):
    run, other = make_run(), make_run()
    for term in (str(run.id), str(run.file_id), run.owner.email):
        assert listed(root, q=term) == [run]
    assert listed(root, workflow=str(other.workflow_id)) == [other]
    assert listed(root, trigger="rule") == []
    assert listed(root, trigger="user", created="hour") == [other, run]


@pytest.mark.parametrize("query", ["workflow=x", "workflow=%00", "status=nonsense", "trigger='"])
def test_a_filter_that_makes_no_sense_is_harmless(root, query):
    assert root.get(f"{address('workflowrun')}?{query}", follow=True).status_code == 200


def test_the_list_takes_as_many_queries_for_many_runs_as_for_few(
    root, django_assert_max_num_queries
):
    for _ in range(5):
        make_run()
    with django_assert_max_num_queries(12):
        assert len(listed(root)) == 5


def test_nothing_of_a_run_is_added_changed_or_deleted_by_hand(root):
    run = make_run()
    assert root.get(address("workflowrun", "add/")).status_code == 403
    page = address("workflowrun", f"{run.pk}/change/")
    assert root.post(page, {"status": "failed"}).status_code == 403
    assert root.post(address("workflowrun", f"{run.pk}/delete/")).status_code == 403


def test_failed_and_cancelled_runs_are_retried_and_others_refused(root):
    failed, cancelled, completed = make_failed(), make_cancelled(), make_completed()
    messages = said(act(root, "workflowrun", "retry", failed, cancelled, completed))
    assert "2 started." in messages
    assert any("Only a run that failed" in message for message in messages)
    for run in (failed, cancelled):
        run.refresh_from_db()
        assert run.status == RunStatus.PENDING


def test_a_run_on_a_file_that_is_gone_is_not_retried(root):
    file = make_stored()
    run = make_failed(file=file)
    lifecycle.remove_file(file_id=file.id, actor=PORTAL)
    messages = said(act(root, "workflowrun", "retry", run))
    assert "0 started." in messages
    run.refresh_from_db()
    assert run.status == RunStatus.FAILED


def test_active_runs_are_cancelled(root):
    pending, running, completed = make_run(), make_running(), make_completed()
    assert "2 ended." in said(act(root, "workflowrun", "cancel", pending, running, completed))
    pending.refresh_from_db()
    running.refresh_from_db()
    assert pending.status == RunStatus.CANCELLED
    assert running.cancel_requested_at is not None
    assert "None of these runs is active." in said(act(root, "workflowrun", "cancel", completed))


def test_to_act_on_runs_takes_the_permission_to_change_them(client):
    run = make_run()
    clerk = staff_with(client, "view_workflowrun")
    act(clerk, "workflowrun", "cancel", run)
    run.refresh_from_db()
    assert run.status == RunStatus.PENDING
    clerk = staff_with(client, "view_workflowrun", "change_workflowrun")
    act(clerk, "workflowrun", "cancel", run)
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED


def test_a_workflow_of_every_task_can_be_added_inactive(root):
    for task in registry.all_tasks():
        page = address("workflow", f"add/?task={task.name}")
        answer = as_typed(root, page, name=task.name, slug=task.name, is_active=None)
        assert answer.status_code == 302, (task.name, errors_of(answer))
        assert Workflow.objects.get(slug=task.name).task_name == task.name
    assert Workflow.objects.filter(task_name=TASK).exists()
