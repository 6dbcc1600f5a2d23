import pytest
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from uploads.tests.workflow_factories import make_workflow
from uploads.workflows.checks import check_workflows

pytestmark = pytest.mark.django_db


def found() -> list[checks.CheckMessage]:
    return check_workflows(databases=["default"])


def test_what_can_work_is_no_problem():
    make_workflow(config={"language": "de"})
    assert found() == []
    call_command("check", databases=["default"])


def test_a_workflow_whose_task_is_gone_is_named():
    make_workflow(slug="old", task_name="no_such_task")
    (problem,) = found()
    assert problem.id == "uploads.W001"
    assert "The workflow old runs the task 'no_such_task'" in problem.msg
    with pytest.raises(SystemCheckError, match="no_such_task"):
        call_command("check", databases=["default"], fail_level="WARNING")


def test_it_does_not_keep_the_database_from_being_migrated():
    make_workflow(slug="old", task_name="no_such_task")
    call_command("migrate", verbosity=0)


def test_a_configuration_that_its_task_does_not_take_is_named():
    make_workflow(slug="wrong", config={"language": "x" * 11, "colour": "red"})
    (problem,) = found()
    assert problem.id == "uploads.W002"
    assert "wrong" in problem.msg
    assert "language" in problem.msg
    assert "colour" in problem.msg


def test_what_is_switched_off_is_no_problem():
    make_workflow(task_name="no_such_task", is_active=False)
    assert found() == []


def test_without_a_database_nothing_is_asked(django_assert_num_queries):
    make_workflow(task_name="no_such_task")
    with django_assert_num_queries(0):
        assert check_workflows(databases=None) == []
