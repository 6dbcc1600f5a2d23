"""POST /batches/{id}/runs: a workflow on all files of a batch."""

from datetime import timedelta

import pytest
from django.utils import timezone

from uploads.models import FileStatus, IngestFile, UploadBatch, WorkflowRun
from uploads.tests.factories import BATCHES, Api, assert_problem, make_rows
from uploads.tests.workflow_factories import make_run, make_workflow

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_run_kicks")]


@pytest.fixture
def batch(api) -> UploadBatch:
    return UploadBatch.objects.create(created_by=api.user)


def start(api: Api, batch: UploadBatch, slug: str = "report"):
    return api.post(f"{BATCHES}/{batch.id}/runs", {"workflow": slug})


def test_every_stored_file_that_is_accepted_gets_a_run(api, batch):
    make_workflow(slug="report", accepted_types=["text/*"])
    soon, past = timezone.now() + timedelta(hours=1), timezone.now() - timedelta(hours=1)
    make_rows(3, user=api.user, batch=batch, detected_type="text/plain", expires_at=soon)
    make_rows(1, user=api.user, batch=batch, detected_type="image/png")
    make_rows(1, user=api.user, batch=batch, detected_type="text/plain", expires_at=past)
    make_rows(
        1, user=api.user, batch=batch, detected_type="text/plain", status=FileStatus.UPLOADING
    )
    make_rows(2, user=api.user, detected_type="text/plain")

    reply = start(api, batch)

    assert (reply.status_code, reply.json()) == (200, {"started": 3, "skipped": 3})
    assert WorkflowRun.objects.filter(file__batch=batch, started_by=api.user).count() == 3
    assert WorkflowRun.objects.count() == 3


def test_a_repetition_starts_what_is_not_under_way(api, batch):
    workflow = make_workflow(slug="report")
    make_rows(2, user=api.user, batch=batch, detected_type="text/plain")
    make_run(workflow=workflow, file=IngestFile.objects.first())

    assert start(api, batch).json() == {"started": 1, "skipped": 1}
    assert start(api, batch).json() == {"started": 0, "skipped": 2}


def test_an_empty_batch_starts_nothing(api, batch):
    make_workflow(slug="report")
    assert start(api, batch).json() == {"started": 0, "skipped": 0}


def test_anothers_batch_is_not_found(other, batch):
    make_workflow(slug="report")
    assert_problem(start(other, batch), 404, "batch_not_found")


def test_an_unknown_workflow_is_not_found(api, batch):
    assert_problem(start(api, batch), 404, "workflow_not_found")


@pytest.mark.django_db(transaction=True)
def test_a_large_batch_does_not_flood_the_workers_with_hints(api, batch, no_run_kicks):
    make_workflow(slug="report")
    make_rows(600, user=api.user, batch=batch, detected_type="text/plain")

    assert start(api, batch).json() == {"started": 600, "skipped": 0}
    assert 1 <= len(no_run_kicks) <= 40
