"""Runs that wait for their turn keep their file from expiring, but not for ever."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from uploads.models import FileStatus, IngestFile, RunStatus, WorkflowRun
from uploads.workflows.announce import announce_run
from uploads.workflows.input_files import consume_if_done

BATCH = 200
WAITED_TOO_LONG = "waited_too_long"


def give_up_waiting() -> int:
    """Fail the pending runs on a batch of files that are long past their expiry."""
    before = Now() - timedelta(hours=settings.PORTAL_WAIT_PAST_EXPIRY_HOURS)
    kept = IngestFile.objects.filter(
        status=FileStatus.STORED, expires_at__lte=before, runs__status=RunStatus.PENDING
    ).order_by("expires_at")
    return sum(_give_up(file_id) for file_id in list(kept.values_list("id", flat=True)[:BATCH]))


def _give_up(file_id: UUID) -> bool:
    with transaction.atomic():
        IngestFile.objects.select_for_update().get(id=file_id)
        pending = WorkflowRun.objects.filter(file=file_id, status=RunStatus.PENDING)
        ids = list(pending.select_for_update().values_list("id", flat=True))
        WorkflowRun.objects.filter(id__in=ids).update(
            status=RunStatus.FAILED,
            completed_at=Now(),
            error_code=WAITED_TOO_LONG,
            error_message="The file expired while the run waited for its turn.",
        )
        related = ("workflow__on_success", "file", "owner", "result_file")
        for run in WorkflowRun.objects.select_related(*related).filter(id__in=ids):
            announce_run("workflow_run.failed", run, fact=WAITED_TOO_LONG)
        consume_if_done(file_id)
    return bool(ids)
