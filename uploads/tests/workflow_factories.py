"""Workflows, and runs in every state, made by the services that workers use.

Use the fixture `no_run_kicks` with them, so that nothing looks for runs meanwhile.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count
from typing import Any

from django.db import transaction
from django.utils import timezone
from pydantic import Field

from accounts.models import User
from uploads.models import IngestFile, RunTrigger, Workflow, WorkflowRun
from uploads.tests.factories import make_stored
from uploads.workflows import (
    ADJUSTABLE,
    RunContext,
    TaskConfig,
    WorkflowResult,
    claims,
    workflow_task,
)
from uploads.workflows.claims import Failure, LogLine, Progress
from uploads.workflows.queue import enqueue
from uploads.workflows.results import store_result

WORKFLOWS = "/api/v1/workflows"
RUNS = "/api/v1/runs"
TASK = "test_report"
WORKER = "test-worker"

_numbers = count(1)


class ReportConfig(TaskConfig):
    language: str = Field("en", max_length=10, json_schema_extra=ADJUSTABLE)
    address: str = Field("http://internal.example/", description="Not for users.")


@workflow_task(TASK, config=ReportConfig)
def report(context: RunContext[ReportConfig]) -> WorkflowResult:
    """Says what it was given."""
    return WorkflowResult(output_text=f"{context.file.filename} in {context.config.language}")


def make_workflow(**values: Any) -> Workflow:
    """An active workflow of a harmless task, for files of any type."""
    number = next(_numbers)
    defaults = {
        "name": f"Report {number}",
        "slug": f"report-{number}",
        "task_name": TASK,
        "accepted_types": ["*/*"],
    }
    return Workflow.objects.create(**defaults | values)


def make_run(
    *,
    workflow: Workflow | None = None,
    file: IngestFile | None = None,
    user: User | None = None,
    trigger: RunTrigger = RunTrigger.USER,
    config: dict[str, Any] | None = None,
) -> WorkflowRun:
    """A pending run that is due; `user` owns the file, if that is made here."""
    file = file or make_stored(user=user)
    with transaction.atomic():
        run = enqueue(
            workflow or make_workflow(),
            file,
            trigger=trigger,
            started_by=file.uploaded_by if trigger == RunTrigger.USER else None,
            config=config,
        )
    assert run is not None, "a run of this workflow is active on the file already"
    return run


def claim_run(run: WorkflowRun) -> WorkflowRun:
    """The same run, claimed by WORKER, as the worker sees it."""
    first = timezone.now() - timedelta(days=365)
    WorkflowRun.objects.filter(id=run.id).update(due_at=first)
    claimed = claims.claim(worker=WORKER)
    assert claimed is not None, "the run is not pending, or a limit keeps it"
    assert claimed.id == run.id
    return claimed


def make_running(
    *,
    percent: float | None = None,
    message: str = "",
    lines: Sequence[str] = (),
    **values: Any,
) -> WorkflowRun:
    """A run under way; further values are those of `make_run`."""
    run = claim_run(make_run(**values))
    note_progress(run, percent=percent, message=message, lines=lines)
    return run


def note_progress(
    run: WorkflowRun,
    *,
    percent: float | None = None,
    message: str = "",
    lines: Sequence[str] = (),
) -> None:
    now = timezone.now()
    logged = [LogLine(now, "info", line) for line in lines]
    claims.renew(run, Progress(percent=percent, message=message, lines=logged))


def make_handed_over(*, seconds: float = 600, **values: Any) -> WorkflowRun:
    """A run that an external runner works on; negative seconds: its deadline has passed."""
    run = make_running(**values)
    assert claims.hand_over(run, seconds=seconds)
    run.refresh_from_db()
    return run


def make_completed(
    *,
    output_text: str = "It is a report.",
    is_cut: bool = False,
    result: bytes | None = None,
    filename: str = "result.md",
    warnings: Sequence[str] = (),
    **values: Any,
) -> WorkflowRun:
    """A run that went well, with `result` as its result file."""
    run = make_running(**values)
    stored = None
    if result is not None:
        stored = store_result(
            run, filename=filename, size_bytes=len(result), blocks=iter([memoryview(result)])
        )
    assert claims.complete(
        run, output_text=output_text, is_cut=is_cut, result=stored, warnings=warnings
    )
    run.refresh_from_db()
    return run


def make_failed(
    *,
    code: str = "task_error",
    message: str = "The task failed.",
    traceback: str = "",
    **values: Any,
) -> WorkflowRun:
    """A run that failed for good."""
    run = make_running(**values)
    assert claims.fail(run, Failure(code, message, traceback=traceback))
    run.refresh_from_db()
    return run


def make_cancelled(**values: Any) -> WorkflowRun:
    """A run that was taken back before it began."""
    run = make_run(**values)
    claims.cancel(run_id=run.id)
    run.refresh_from_db()
    return run


def in_every_state() -> dict[str, Callable[..., WorkflowRun]]:
    """How to make a run, by the status it is made with."""
    return {
        "pending": make_run,
        "running": make_running,
        "completed": make_completed,
        "failed": make_failed,
        "cancelled": make_cancelled,
    }
