import json

import pytest
from click.testing import CliRunner

from uploads.models import Workflow
from uploads.tests.workflow_factories import TASK, make_workflow
from uploads.workflows.cli.workflow import workflow

pytestmark = pytest.mark.django_db


def run(*arguments):
    result = CliRunner().invoke(workflow, arguments)
    assert result.exit_code == 0, result.output
    return result


def test_list_shows_what_can_be_started():
    make_workflow(slug="b", name="B", is_active=False)
    make_workflow(slug="a", name="A", accepted_types=["text/*", "application/pdf"])

    table = run("list").stdout.splitlines()
    rows = json.loads(run("list", "--json").stdout)

    assert len(table) == 2
    assert table[1].split()[:3] == ["a", "A", TASK]
    assert rows == [
        {
            "slug": "a",
            "name": "A",
            "task": TASK,
            "active": True,
            "auto_start": False,
            "next": None,
            "types": ["text/*", "application/pdf"],
        }
    ]


def test_list_shows_all_when_asked():
    make_workflow(slug="b", name="B", is_active=False)
    make_workflow(slug="a", name="A", on_success=make_workflow(slug="c", name="C"))

    rows = json.loads(run("list", "--all", "--json").stdout)

    assert [(row["slug"], row["active"], row["next"]) for row in rows] == [
        ("a", True, "c"),
        ("b", False, None),
        ("c", True, None),
    ]


def test_an_empty_list_says_what_to_do():
    empty = run("list", "--json")
    assert (empty.stdout, "install-builtin" in empty.stderr) == ("[]\n", True)

    make_workflow(is_active=False)
    hidden = run("list")
    assert (hidden.stdout, "--all" in hidden.stderr) == ("", True)


def test_install_builtin_adds_inactive_workflows_once():
    first = run("install-builtin")

    installed = Workflow.objects.order_by("slug")
    assert sorted(first.stdout.split()) == [each.slug for each in installed]
    assert len(installed) >= 4
    assert not any(each.is_active for each in installed)
    assert "admin" in first.stderr

    again = run("install-builtin")
    assert (again.stdout, again.stderr) == ("", "All are there already.\n")
    assert Workflow.objects.count() == len(installed)
