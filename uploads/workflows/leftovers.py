"""Removes what runs leave behind. Every function handles one bounded batch."""

from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from uploads.models import WorkflowRun
from uploads.workflows.results import discard_unfinished

BATCH = 200


def remove_leftover_results() -> int:
    """Delete result bytes that never became a file because a process was killed."""
    left = WorkflowRun.objects.exclude(result_key="").filter(completed_at__isnull=False)
    runs = list(left.order_by("id")[:BATCH])
    for run in runs:
        discard_unfinished(run)
    return len(runs)


def purge_runs() -> int:
    """Delete the records of runs that ended long ago, with their attempts and logs."""
    before = Now() - timedelta(days=settings.PORTAL_WORKFLOW_RETENTION_DAYS)
    ended = WorkflowRun.objects.filter(completed_at__lt=before).order_by("completed_at")
    old = list(ended.values_list("id", flat=True)[:BATCH])
    WorkflowRun.objects.filter(id__in=old).delete()
    return len(old)
