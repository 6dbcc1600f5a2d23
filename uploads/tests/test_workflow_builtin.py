import pytest
from django.core.management import call_command

from common.errors import InvalidInput
from uploads.models import Workflow
from uploads.tests.workflow_factories import make_workflow
from uploads.workflows import registry
from uploads.workflows.builtin import install_builtin
from uploads.workflows.definitions import activate

pytestmark = pytest.mark.django_db

SLUGS = ["extract-text", "inspect-file", "ask-a-language-model", "external-runner", "thumbnail"]
NEED_MORE = {"ask-a-language-model", "external-runner"}


def test_every_task_of_the_product_is_offered_and_switched_off():
    added = install_builtin()
    assert [workflow.slug for workflow in added] == SLUGS
    assert not any(workflow.is_active for workflow in added)
    assert {workflow.task_name for workflow in added} == {
        task.name
        for task in registry.all_tasks()
        if task.run.__module__.startswith("uploads.workflows.")
    }


def test_doing_it_again_adds_nothing_and_changes_nothing():
    install_builtin()
    Workflow.objects.filter(slug="inspect-file").update(name="Ours", is_active=True)
    Workflow.objects.filter(slug="thumbnail").delete()
    assert [workflow.slug for workflow in install_builtin()] == ["thumbnail"]
    assert Workflow.objects.get(slug="inspect-file").name == "Ours"
    assert install_builtin() == []


def test_a_workflow_of_the_same_slug_stays_as_it_is():
    ours = make_workflow(slug="extract-text", name="Ours")
    assert [workflow.slug for workflow in install_builtin()] == SLUGS[1:]
    ours.refresh_from_db()
    assert (ours.name, ours.is_active) == ("Ours", True)


@pytest.mark.parametrize("slug", SLUGS)
def test_it_works_as_it_is_or_says_what_is_missing(slug):
    install_builtin()
    workflow = Workflow.objects.get(slug=slug)
    if slug in NEED_MORE:
        with pytest.raises(InvalidInput, match="It is needed before the workflow can be active"):
            activate(workflow_id=workflow.id)
    else:
        activate(workflow_id=workflow.id)
    workflow.refresh_from_db()
    assert workflow.is_active == (slug not in NEED_MORE)


def test_the_thumbnail_is_small():
    install_builtin()
    assert Workflow.objects.get(slug="thumbnail").config == {"max_width": 320, "max_height": 320}


def test_the_command_tells_what_it_added(capsys):
    call_command("install_builtin_workflows")
    assert capsys.readouterr().out.splitlines()[0] == "Added extract-text: Extract text"
    call_command("install_builtin_workflows")
    assert capsys.readouterr().out == ""
