import threading
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection, transaction
from pydantic import Field

from common.errors import InvalidInput
from uploads.models import Workflow, WorkflowSecret
from uploads.tests.workflow_factories import TASK, make_workflow
from uploads.workflows import (
    RunContext,
    SecretName,
    TaskConfig,
    WorkflowResult,
    registry,
    workflow_task,
)
from uploads.workflows.definitions import activate, check, users_of_secret
from uploads.workflows.queue import MAX_CHAIN

pytestmark = pytest.mark.django_db


class AskConfig(TaskConfig):
    address: str = Field(min_length=1)
    token: SecretName = ""
    words: int = Field(100, ge=1)


@workflow_task("test_ask", accepts=("text/*", "application/pdf"), config=AskConfig)
def ask(context: RunContext[AskConfig]) -> WorkflowResult:
    """Asks."""
    return WorkflowResult()


def asking(**values) -> Workflow:
    """Not saved."""
    given = {"name": "Ask", "slug": "ask", "task_name": "test_ask", "config": {"address": "here"}}
    return Workflow(**given | values)


def problems(workflow: Workflow) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        check(workflow)
    assert refused.value.code == "workflow_invalid"
    return {problem["field"]: problem["message"] for problem in refused.value.extra["errors"]}


def test_no_types_means_those_of_the_task():
    workflow = asking()
    check(workflow)
    assert workflow.accepted_types == ["text/*", "application/pdf"]


def test_an_upgrade_adds_types_to_workflows_that_took_all_of_them_before():
    migration = import_module("uploads.migrations.0024_types_that_are_read")
    untouched = make_workflow(task_name="extract_text", accepted_types=migration._BEFORE)
    chosen = make_workflow(task_name="extract_text", accepted_types=["application/pdf"])
    migration.widen(apps, None)
    untouched.refresh_from_db()
    chosen.refresh_from_db()
    assert untouched.accepted_types == list(registry.get("extract_text").accepts)
    assert chosen.accepted_types == ["application/pdf"]


def test_types_are_kept_in_lower_case_and_once():
    workflow = asking(accepted_types=["Image/*", "image/*", " application/PDF "])
    check(workflow)
    assert workflow.accepted_types == ["image/*", "application/pdf"]


@pytest.mark.parametrize(
    "pattern", ["pdf", "image/", "*/png", "text/plain; charset=utf-8", "a/" + "b" * 254]
)
def test_what_is_no_type_is_refused(pattern):
    assert list(problems(asking(accepted_types=["text/plain", pattern]))) == ["accepted_types"]


def test_too_many_types_are_refused():
    types = [f"application/x-{number}" for number in range(201)]
    assert "At most 200" in problems(asking(accepted_types=types))["accepted_types"]


def test_only_what_is_not_as_by_default_is_kept():
    workflow = asking(config={"address": "here", "words": 100, "token": ""})
    check(workflow)
    assert workflow.config == {"address": "here"}


def test_a_wrong_value_is_refused_even_while_it_is_not_active():
    for is_active in (True, False):
        workflow = asking(config={"address": "here", "words": 0}, is_active=is_active)
        assert list(problems(workflow)) == ["config.words"]


def test_a_value_that_the_database_cannot_keep_is_refused():
    assert list(problems(asking(config={"address": "a\x00b"}))) == ["config.address"]
    assert list(problems(asking(config={"address": "\ud800"}))) == ["config.address"]
    check(asking(config={"address": "a\\u0000b"}))


def test_an_unknown_member_is_refused():
    assert list(problems(asking(config={"address": "here", "colour": 1}))) == ["config.colour"]


def test_what_has_to_be_chosen_may_be_missing_until_it_is_activated():
    workflow = asking(config={"words": 100}, is_active=False)
    check(workflow)
    assert workflow.config == {}
    workflow.save()

    with pytest.raises(InvalidInput, match=r"config.address: It is needed"):
        activate(workflow_id=workflow.id)
    workflow.refresh_from_db()
    assert not workflow.is_active

    Workflow.objects.filter(id=workflow.id).update(config={"address": "here"})
    activate(workflow_id=workflow.id)
    workflow.refresh_from_db()
    assert workflow.is_active


def test_a_secret_has_to_be_there_before_it_is_active():
    config = {"address": "here", "token": "the-key"}
    check(asking(config=config, is_active=False))
    assert problems(asking(config=config)) == {
        "config.token": "There is no workflow secret the-key; add it first."
    }
    WorkflowSecret.objects.create(name="the-key", value="s3cret")
    check(asking(config=config))


def test_it_is_known_which_workflows_name_a_secret():
    first = make_workflow(name="A", task_name="test_ask", config={"token": "the-key"})
    make_workflow(task_name="test_ask", config={"token": "another", "address": "the-key"})
    make_workflow(task_name="gone", config={"token": "the-key"})
    assert users_of_secret("the-key") == [first]


def test_a_task_that_is_gone_may_only_be_switched_off():
    assert list(problems(asking(task_name="gone"))) == ["is_active"]
    workflow = asking(task_name="gone", config={"whatever": 1}, is_active=False)
    check(workflow)
    assert workflow.config == {"whatever": 1}


def test_a_workflow_that_another_follows_does_not_consume_the_file():
    following = make_workflow()
    found = problems(asking(on_success=following, consumes_file=True))
    assert "let the last one" in found["consumes_file"]
    check(asking(consumes_file=True))
    check(asking(on_success=following))


def test_a_chain_does_not_lead_back():
    third = make_workflow()
    second = make_workflow(on_success=third)
    first = make_workflow(on_success=second)
    third.on_success = first
    assert "leads back" in problems(third)["on_success"]
    third.on_success = third
    assert "leads back" in problems(third)["on_success"]


def test_a_chain_is_no_longer_than_runs_follow_it():
    last = make_workflow()
    for _ in range(MAX_CHAIN - 1):
        last = make_workflow(on_success=last)
    check(asking(on_success=last))
    last = make_workflow(on_success=last)
    assert f"More than {MAX_CHAIN}" in problems(asking(on_success=last))["on_success"]


def test_a_loop_elsewhere_ends_the_walk():
    first, second = make_workflow(), make_workflow()
    Workflow.objects.filter(id=first.id).update(on_success=second)
    Workflow.objects.filter(id=second.id).update(on_success=first)
    assert list(problems(asking(on_success=first))) == ["on_success"]


@pytest.mark.django_db(transaction=True)
def test_two_that_are_chained_to_each_other_at_once_do_not_make_a_loop():
    first, second = make_workflow(), make_workflow()
    refused = []
    other_has_begun = threading.Event()

    def chain_back() -> None:
        try:
            with transaction.atomic():
                second.on_success = first
                other_has_begun.set()
                check(second)
                second.save()
        except InvalidInput as exc:
            refused.append(exc.code)
        finally:
            connection.close()

    with transaction.atomic():
        first.on_success = second
        check(first)
        other = threading.Thread(target=chain_back)
        other.start()
        assert other_has_begun.wait(timeout=30)
        first.save()
    other.join(timeout=30)
    assert refused == ["workflow_invalid"]
    second.refresh_from_db()
    assert second.on_success_id is None


def test_a_task_of_another_app_is_as_good():
    check(asking(task_name=TASK, config={"language": "de"}))
