"""The pages of batches, and workflows on all of one."""

import pytest
from django.test import Client

from accounts.models import User
from accounts.tests.factories import principal_of
from frontend.tests.conftest import main_of
from uploads.files.batches import close_batch, create_batch
from uploads.models import UploadBatch, WorkflowRun
from uploads.tests.factories import make_session, make_stored
from uploads.tests.workflow_factories import make_run, make_workflow


@pytest.fixture
def batch(user: User) -> UploadBatch:
    return create_batch(principal=principal_of(user), name="Trip")


def address_of(batch: UploadBatch, rest: str = "") -> str:
    return f"/app/batches/{batch.id}/{rest}"


def test_batches_are_listed_and_only_ones_own(ada: Client, batch: UploadBatch, grace: Client):
    assert "Trip" in main_of(ada.get("/app/batches/"))
    assert "No batches yet" in main_of(grace.get("/app/batches/"))
    assert grace.get(address_of(batch)).status_code == 404
    assert grace.post(address_of(batch, "runs/"), {"workflow": "x"}).status_code == 404


def test_a_batch_shows_its_files_and_counts_while_something_comes(
    ada: Client, user: User, batch: UploadBatch
):
    make_stored(user=user, batch_id=batch.id, filename="sea.txt")
    make_session(user=user, batch_id=batch.id)
    page = main_of(ada.get(address_of(batch)))
    assert "sea.txt" in page
    assert "1 of 2 stored" in page
    part = ada.get(address_of(batch), headers={"HX-Request": "true"}).content.decode()
    assert part.strip().startswith("<div")
    assert "every 2s" in part


def test_a_batch_that_is_complete_asks_no_more(ada: Client, user: User, batch: UploadBatch):
    make_stored(user=user, batch_id=batch.id)
    close_batch(principal=principal_of(user), batch_id=batch.id)
    assert "hx-trigger" not in main_of(ada.get(address_of(batch))).split("</form>")[0]


def test_a_workflow_says_on_how_many_files_it_runs_before_it_starts(
    ada: Client, user: User, batch: UploadBatch
):
    files = [make_stored(user=user, batch_id=batch.id) for _ in range(3)]
    workflow = make_workflow(name="Report")
    make_workflow(name="Pictures", accepted_types=["image/*"])
    page = main_of(ada.get(address_of(batch)))
    assert "Run on 3 files" in page
    assert "takes none of these files" in page

    make_run(file=files[0], workflow=workflow)
    form = {"workflow": workflow.slug}
    response = ada.post(address_of(batch, "runs/"), form, follow=True)
    assert "Report is started on 2 files. 1 left out" in main_of(response)
    assert {run.file_id for run in WorkflowRun.objects.all()} == {file.id for file in files}
    response = ada.post(address_of(batch, "runs/"), form, follow=True)
    assert "Report is started on no file." in main_of(response)
    assert WorkflowRun.objects.count() == 3
