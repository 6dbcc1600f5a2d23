"""GET /workflows and GET /workflows/{slug}: what can be done with files."""

import pytest

from uploads.tests.factories import assert_problem, make_stored
from uploads.tests.workflow_factories import TASK, WORKFLOWS, make_workflow

pytestmark = pytest.mark.django_db


def slugs(reply) -> list[str]:
    assert reply.status_code == 200, reply.content
    return [item["slug"] for item in reply.json()["items"]]


def test_active_workflows_are_listed_by_name(api):
    make_workflow(name="B", slug="b")
    make_workflow(name="A", slug="a")
    make_workflow(name="Off", slug="off", is_active=False)

    assert slugs(api.get(WORKFLOWS)) == ["a", "b"]


def test_a_file_names_those_that_accept_it(api):
    make_workflow(slug="any")
    make_workflow(slug="texts", accepted_types=["image/*", "text/*"])
    make_workflow(slug="pdf", accepted_types=["application/pdf"])
    note = make_stored(b"Plain text, and more of it.\n", user=api.user)

    assert set(slugs(api.get(WORKFLOWS, file_id=note.id))) == {"any", "texts"}


def test_anothers_file_is_not_found(api):
    assert_problem(api.get(WORKFLOWS, file_id=make_stored().id), 404, "file_not_found")


def test_one_workflow_says_what_it_does(api):
    make_workflow(slug="after", name="After")
    workflow = make_workflow(
        slug="report",
        name="Report",
        description="Reports.",
        accepted_types=["text/*"],
        consumes_file=True,
        time_limit_seconds=30,
        on_success=make_workflow(slug="then"),
    )

    shown = api.get(f"{WORKFLOWS}/report").json()

    assert shown.pop("config_schema")
    assert shown == {
        "id": str(workflow.id),
        "slug": "report",
        "name": "Report",
        "description": "Reports.",
        "task": TASK,
        "accepted_types": ["text/*"],
        "consumes_file": True,
        "next": "then",
        "time_limit_seconds": 30,
    }


@pytest.mark.parametrize("slug", ["none", "off"])
def test_what_does_not_exist_or_is_off_is_not_found(api, slug):
    make_workflow(slug="off", is_active=False)
    assert_problem(api.get(f"{WORKFLOWS}/{slug}"), 404, "workflow_not_found")


def test_a_user_is_shown_what_may_be_changed_for_a_run(api):
    make_workflow(slug="report", config={"language": "de"})

    schema = api.get(f"{WORKFLOWS}/report").json()["config_schema"]

    assert schema["additionalProperties"] is False
    assert schema["properties"].keys() == {"language"}
    assert schema["properties"]["language"]["default"] == "de"
    assert schema["properties"]["language"]["maxLength"] == 10
    assert "internal.example" not in str(schema)


def test_staff_are_shown_the_whole_configuration(staff):
    make_workflow(slug="report")

    schema = staff.get(f"{WORKFLOWS}/report").json()["config_schema"]

    assert schema["properties"].keys() == {"language", "address"}


def test_a_workflow_whose_task_is_gone_is_listed_without_a_configuration(api):
    make_workflow(slug="report", task_name="gone")

    (shown,) = api.get(WORKFLOWS).json()["items"]

    assert (shown["task"], shown["config_schema"]["properties"]) == ("gone", {})


def test_the_list_costs_the_same_for_many(api, django_assert_max_num_queries):
    following = make_workflow()
    for _ in range(20):
        make_workflow(on_success=following)
    with django_assert_max_num_queries(5):
        assert len(slugs(api.get(WORKFLOWS))) == 21
