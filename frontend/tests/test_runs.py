"""The list of runs."""

import pytest
from django.test import Client

from accounts.models import User
from uploads.tests.factories import make_stored
from uploads.tests.workflow_factories import (
    in_every_state,
    make_failed,
    make_run,
    make_workflow,
)

HTMX = {"HX-Request": "true"}


def test_an_empty_list_says_how_to_begin(ada: Client, client: Client):
    assert client.get("/app/runs/").headers["Location"] == "/app/login/?next=/app/runs/"
    assert b"As soon as an administrator has defined one" in ada.get("/app/runs/").content
    make_workflow()
    content = ada.get("/app/runs/").content
    assert b"No runs yet" in content
    assert b"choose a workflow" in content


def test_ones_runs_are_listed_newest_first_and_nobody_elses(ada: Client, user: User):
    runs = [make(user=user) for make in in_every_state().values()]
    stranger = make_run()
    content = ada.get("/app/runs/").content.decode()
    places = [content.index(str(run.id)) for run in runs]
    assert places == sorted(places, reverse=True)
    assert str(stranger.id) not in content


def test_a_failed_run_says_why_in_the_list(ada: Client, user: User):
    make_failed(user=user, message="The file is <empty>.")
    assert "The file is &lt;empty&gt;." in ada.get("/app/runs/").content.decode()


@pytest.mark.parametrize("status", ["pending", "running", "completed", "failed", "cancelled"])
def test_it_is_filtered_by_status(ada: Client, user: User, status: str):
    runs = {name: make(user=user) for name, make in in_every_state().items()}
    listed = ada.get("/app/runs/", {"status": status}, headers=HTMX)
    assert [run.id for run in listed.context["page"].items] == [runs[status].id]
    assert "<html" not in listed.content.decode()
    assert "1 run listed" in listed.content.decode()


def test_it_is_filtered_by_workflow_and_file(ada: Client, user: User):
    workflow, file = make_workflow(), make_stored(user=user)
    wanted = make_run(workflow=workflow, file=file)
    same_workflow, same_file = make_run(workflow=workflow, user=user), make_run(file=file)

    def listed(**filters: object) -> set[object]:
        page = ada.get("/app/runs/", filters).context["page"]
        return {run.id for run in page.items}

    assert listed(workflow=workflow.slug) == {wanted.id, same_workflow.id}
    assert listed(file_id=file.id) == {wanted.id, same_file.id}
    assert listed(file_id=file.id, workflow=workflow.slug) == {wanted.id}
    assert listed(status="nonsense", file_id="nonsense") == {
        wanted.id,
        same_workflow.id,
        same_file.id,
    }


def test_nothing_that_matches_is_said(ada: Client, user: User):
    make_run(user=user)
    assert b"No run matches" in ada.get("/app/runs/", {"status": "failed"}).content


def test_more_are_loaded_below(ada: Client, user: User):
    file = make_stored(user=user)
    runs = [make_run(file=file) for _ in range(55)]
    page = ada.get("/app/runs/", {"status": "pending"})
    cursor = page.context["page"].next_cursor
    more = ada.get("/app/runs/", {"status": "pending", "cursor": cursor}, headers=HTMX)
    content = more.content.decode()
    assert "<table" not in content
    assert "Load more" not in content
    listed = [run.id for run in (*page.context["page"].items, *more.context["page"].items)]
    assert listed == [run.id for run in reversed(runs)]
    assert ada.get("/app/runs/", {"cursor": "nonsense"}).status_code == 404


def test_the_list_costs_the_same_with_many_runs(ada: Client, user: User, count_queries):
    file = make_stored(user=user)

    def cost() -> int:
        with count_queries() as queries:
            ada.get("/app/runs/")
        return len(queries)

    make_run(file=file)
    few = cost()
    for _ in range(10):
        make_run(file=file)
    assert cost() == few
