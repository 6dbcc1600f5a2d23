"""Queries of workflows and runs. A principal sees only their own; others do not exist for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack
from uuid import UUID

from django.core.validators import slug_re
from django.db.models import QuerySet

from accounts.models import User
from accounts.principals import Principal
from common import content_types
from common.errors import InvalidInput, NotFound
from common.pagination import Page, paginate
from uploads.models import (
    IngestFile,
    RunStatus,
    Workflow,
    WorkflowAttempt,
    WorkflowLogLine,
    WorkflowRun,
)
from uploads.selectors import COUNT_CAP, reaches_all_files

LOG_PAGE = 200


class RunFilters(TypedDict, total=False):
    """Which runs a page lists. A filter that is None or empty matches all."""

    status: str | None
    workflow: str | None  # a slug
    file_id: UUID | None
    cursor: str | None
    limit: int


@dataclass(frozen=True)
class RunCounts:
    """An owner's runs by state; each count stops at COUNT_CAP."""

    pending: int
    running: int
    completed: int
    failed: int
    cancelled: int


def active_workflows() -> list[Workflow]:
    """The workflows that can be started, ordered by name."""
    return [workflow for workflow in all_workflows() if workflow.is_active]


def all_workflows() -> list[Workflow]:
    """All workflows including inactive ones, ordered by name: for administrators."""
    return list(Workflow.objects.select_related("on_success").order_by("name", "id"))


def workflows_for(file: IngestFile) -> list[Workflow]:
    """The workflows that can be started on a file, ordered by name."""
    return [
        workflow
        for workflow in active_workflows()
        if content_types.matches(workflow.accepted_types, file.detected_type)
    ]


def get_workflow(slug: str) -> Workflow:
    """An active workflow. Raises NotFound `workflow_not_found`."""
    workflow = _named(slug).select_related("on_success").filter(is_active=True).first()
    if workflow is None:
        raise NotFound(
            "workflow_not_found", f"There is no active workflow {slug!r}; list them to see which."
        )
    return workflow


def get_run(*, principal: Principal, run_id: UUID) -> WorkflowRun:
    """A run on the owner's file; on anybody's if the principal has access to all files."""
    run = find_run(run_id)
    if not may_read(principal, run):
        raise NotFound("run_not_found", "There is no such run.")
    return run


def may_read(principal: Principal, run: WorkflowRun) -> bool:
    """Whether a principal may see a run and its result."""
    is_own = run.owner_id == principal.owner.id and not principal.is_guest
    return is_own or reaches_all_files(principal)


def find_run(run_id: UUID) -> WorkflowRun:
    """A run of any owner, for administrators at the command line."""
    run = _runs().filter(id=run_id).first()
    if run is None:
        raise NotFound("run_not_found", "There is no such run.")
    return run


def find_runs(run_ids: Sequence[UUID]) -> list[WorkflowRun]:
    """Those of the runs that exist, to show their progress."""
    return list(_runs().filter(id__in=run_ids).defer("output_text", "config").order_by("id"))


def runs_page(*, principal: Principal, **filters: Unpack[RunFilters]) -> Page[WorkflowRun]:
    """The owner's runs, newest first.

    Raises InvalidInput `invalid_status` or `invalid_cursor`.
    """
    return _page(_own(principal, _runs()), **filters)


def all_runs_page(*, owner: User | None, **filters: Unpack[RunFilters]) -> Page[WorkflowRun]:
    """All runs, or one owner's, newest first: for administrators at the command line."""
    runs = _runs()
    return _page(runs if owner is None else runs.filter(owner=owner), **filters)


def _page(
    runs: QuerySet[WorkflowRun],
    *,
    status: str | None = None,
    workflow: str | None = None,
    file_id: UUID | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[WorkflowRun]:
    runs = runs.defer("output_text", "config")
    if status:
        if status not in RunStatus.values:
            raise InvalidInput("invalid_status", f"status is one of {', '.join(RunStatus.values)}")
        runs = runs.filter(status=status)
    if workflow:
        # By the workflow's id: with a join the planner does not use the index on it.
        ids = _named(workflow).values_list("id", flat=True)
        runs = runs.filter(workflow_id__in=list(ids))
    if file_id:
        runs = runs.filter(file_id=file_id)
    return paginate(runs, cursor=cursor, limit=limit)


def runs_of_file(file: IngestFile, *, limit: int = 20) -> list[WorkflowRun]:
    """The newest runs on a file. The caller checks that the file may be seen."""
    return list(_runs().filter(file=file).defer("output_text").order_by("-id")[:limit])


def next_runs(run: WorkflowRun) -> list[WorkflowRun]:
    """The runs that started because this one succeeded."""
    return list(_runs().filter(previous=run).defer("output_text").order_by("id"))


def run_of_result(file: IngestFile) -> WorkflowRun | None:
    """The run that made a file. The caller checks that the file may be seen."""
    return _runs().filter(result_file=file).defer("output_text").first()


def attempts_of(run: WorkflowRun) -> list[WorkflowAttempt]:
    return list(WorkflowAttempt.objects.filter(run=run).order_by("number"))


def log_page(
    run: WorkflowRun, *, after: UUID | None = None, limit: int = LOG_PAGE
) -> list[WorkflowLogLine]:
    """The log lines after a given one, oldest first: to follow a log."""
    lines = WorkflowLogLine.objects.filter(run=run)
    if after:
        lines = lines.filter(id__gt=after)
    return list(lines.order_by("id")[:limit])


def latest_log(run: WorkflowRun, *, limit: int = LOG_PAGE) -> list[WorkflowLogLine]:
    """The last log lines, oldest first."""
    return list(WorkflowLogLine.objects.filter(run=run).order_by("-id")[:limit])[::-1]


def run_counts(*, principal: Principal) -> RunCounts:
    runs = _own(principal, WorkflowRun.objects.all())
    return RunCounts(
        **{value: runs.filter(status=value)[:COUNT_CAP].count() for value in RunStatus.values}
    )


def _own(principal: Principal, runs: QuerySet[WorkflowRun]) -> QuerySet[WorkflowRun]:
    """The owner's runs. A guest sees none."""
    return runs.none() if principal.is_guest else runs.filter(owner=principal.owner)


def _runs() -> QuerySet[WorkflowRun]:
    return WorkflowRun.objects.select_related("workflow", "file", "result_file", "started_by")


def _named(slug: str) -> QuerySet[Workflow]:
    """The workflow with this slug. Invalid slugs match none; PostgreSQL refuses some characters."""
    workflows = Workflow.objects.filter(slug=slug)
    return workflows if slug_re.match(slug) else workflows.none()
