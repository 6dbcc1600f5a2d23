"""The input file of runs: kept while they are active, consumed after them if asked for."""

from collections.abc import Collection
from uuid import UUID

from django.db.models import Exists, OuterRef

from uploads.files import states
from uploads.files.expiry import purge_after_consumption
from uploads.models import RunStatus, WorkflowRun


def has_run(statuses: Collection[str]) -> Exists:
    """Whether a run in one of these states is on the file of the outer query."""
    return Exists(WorkflowRun.objects.filter(file=OuterRef("pk"), status__in=statuses))


def consume_if_done(file_id: UUID) -> None:
    """Consume the file if a completed run asked for that and no run is active on it.

    Call at the end of a run, in the transaction that locked the file's row.
    """
    runs = WorkflowRun.objects.filter(file_id=file_id)
    if (
        runs.filter(status__in=WorkflowRun.ACTIVE).exists()
        or not runs.filter(status=RunStatus.COMPLETED, consumes_file=True).exists()
    ):
        return
    states.consume_after_runs(file_id, purge_at=purge_after_consumption())
