"""Workflows and their runs, as JSON."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from ninja import Schema
from pydantic import Field

from accounts.principals import Principal
from common.http.schemas import BodyWithNulls, ErrorOut, RequestBody
from common.pagination import Page
from uploads.models import (
    IngestFile,
    RunStatus,
    Workflow,
    WorkflowAttempt,
    WorkflowLogLine,
    WorkflowRun,
)
from uploads.workflows import registry
from uploads.workflows.permissions import CHANGE_WORKFLOWS, SEE_TRACEBACKS
from uploads.workflows.results import StoredResult
from uploads.workflows.runs import BulkStart
from uploads.workflows.starting import adjustable_fields

# --- Workflows -----------------------------------------------------------------------------------


class WorkflowOut(Schema):
    id: UUID
    slug: str
    name: str
    description: str
    task: str
    accepted_types: list[str] = Field(description="Media types or patterns such as `image/*`.")
    config_schema: dict[str, Any] = Field(
        description="JSON Schema of what you may change of the configuration for one run."
    )
    consumes_file: bool = Field(description="Whether the file is consumed when it is done.")
    next: str | None = Field(description="The workflow that follows when it succeeds.")
    time_limit_seconds: int

    @classmethod
    def of(cls, workflow: Workflow, *, principal: Principal) -> Self:
        following = workflow.on_success
        return cls(
            id=workflow.id,
            slug=workflow.slug,
            name=workflow.name,
            description=workflow.description,
            task=workflow.task_name,
            accepted_types=workflow.accepted_types,
            config_schema=_config_schema(workflow, principal=principal),
            consumes_file=workflow.consumes_file,
            next=following.slug if following else None,
            time_limit_seconds=workflow.time_limit_seconds,
        )


class WorkflowList(Schema):
    items: list[WorkflowOut]

    @classmethod
    def of(cls, workflows: Iterable[Workflow], *, principal: Principal) -> Self:
        return cls(items=[WorkflowOut.of(workflow, principal=principal) for workflow in workflows])


def _config_schema(workflow: Workflow, *, principal: Principal) -> dict[str, Any]:
    """Every member is optional: what is not given stays as the workflow has it."""
    names = adjustable_fields(workflow, principal=principal)
    task = registry.find(workflow.task_name)
    whole = task.config.model_json_schema() if task and names else {}
    properties = {name: dict(whole["properties"][name]) for name in names}
    for name, schema in properties.items():
        schema.pop("adjustable", None)
        if name in workflow.config:
            schema["default"] = workflow.config[name]
    definitions = {"$defs": whole["$defs"]} if "$defs" in whole else {}
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    } | definitions


# --- Starting ------------------------------------------------------------------------------------


class RunIn(BodyWithNulls):
    workflow: str = Field(description="The slug of an active workflow.")
    config: dict[str, Any] = Field(
        default_factory=dict,
        description="Members of its configuration to change for this run; see `config_schema`.",
    )


class BatchRunIn(RequestBody):
    workflow: str = Field(description="The slug of an active workflow.")


class BulkStartOut(Schema):
    """Skipped: of a type that is not accepted, not stored, or with such a run under way."""

    started: int
    skipped: int

    @classmethod
    def of(cls, start: BulkStart) -> Self:
        return cls(started=start.started, skipped=start.skipped)


# --- Runs ----------------------------------------------------------------------------------------


class RunWorkflow(Schema):
    id: UUID
    slug: str
    name: str


class RunFile(Schema):
    id: UUID
    original_filename: str


class ProgressOut(Schema):
    percent: float | None = Field(description="0 to 100; null where it is not known.")
    message: str


class WaitingOut(Schema):
    """An external runner works on; silence until the deadline fails the attempt."""

    deadline: datetime | None


class ResultOut(Schema):
    file_id: UUID
    filename: str
    size_bytes: int
    sha256: str
    content_type: str
    status: str
    content_url: str
    expires_at: datetime | None

    @classmethod
    def of(cls, file: IngestFile) -> Self:
        return cls(
            file_id=file.id,
            filename=file.original_filename,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            content_type=file.detected_type,
            status=file.status,
            content_url=reverse("api-1:file_content", args=[file.id]),
            expires_at=file.expires_at,
        )


class RunAttemptOut(Schema):
    """`worker` and `traceback` are for staff who may see tracebacks."""

    number: int
    outcome: str
    started_at: datetime
    ended_at: datetime | None
    error: ErrorOut | None
    worker: str | None
    traceback: str | None

    @classmethod
    def of(cls, attempt: WorkflowAttempt, *, for_staff: bool) -> Self:
        return cls(
            number=attempt.number,
            outcome=attempt.outcome,
            started_at=attempt.started_at,
            ended_at=attempt.ended_at,
            error=_error(attempt.error_code, attempt.error_message),
            worker=attempt.worker if for_staff else None,
            traceback=attempt.traceback if for_staff else None,
        )


class RunOut(Schema):
    id: UUID
    workflow: RunWorkflow
    file: RunFile
    status: str = Field(description="`pending`, `running`, `completed`, `failed`, `cancelled`.")
    trigger: str = Field(description="What started it: `user`, `rule` or `chain`.")
    started_by: str | None = Field(description="The e-mail address of who started it.")
    progress: ProgressOut
    attempt: int = Field(description="The number of the latest attempt; 0 before the first.")
    attempts_left: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    due_at: datetime | None = Field(description="When the next attempt is due, while pending.")
    waiting: WaitingOut | None
    cancel_requested_at: datetime | None
    result: ResultOut | None
    error: ErrorOut | None = Field(description="Why it failed, or its latest attempt did.")
    cost: Decimal | None
    currency: str

    @classmethod
    def of(cls, run: WorkflowRun) -> "RunOut":
        return RunOut(**_run_values(run))


class RunDetailOut(RunOut):
    output_text: str | None = Field(description="Null for a token without the scope `read`.")
    output_is_cut: bool = Field(description="Whether there was more than `output_text` holds.")
    warnings: list[str] = Field(
        description="What of the file could not be read although the run completed."
    )
    config: dict[str, Any] = Field(
        description="What differs from the task's defaults; as far as you may change it."
    )
    attempts: list[RunAttemptOut]

    @classmethod
    def of_attempts(
        cls, run: WorkflowRun, attempts: Iterable[WorkflowAttempt], *, principal: Principal
    ) -> "RunDetailOut":
        for_staff = principal.is_staff_with(SEE_TRACEBACKS)
        return cls(
            **_run_values(run),
            output_text=run.output_text if principal.may_read_contents else None,
            output_is_cut=run.output_is_cut,
            warnings=run.warnings,
            config=_visible_config(run, principal=principal),
            attempts=[RunAttemptOut.of(attempt, for_staff=for_staff) for attempt in attempts],
        )


class RunList(Schema):
    items: list[RunOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page[WorkflowRun]) -> Self:
        return cls(items=[RunOut.of(run) for run in page.items], next_cursor=page.next_cursor)


class LogLineOut(Schema):
    id: UUID
    at: datetime
    attempt: int
    level: str
    message: str


class LogOut(Schema):
    """To follow a log, ask again with `after` = `next_after` until the run has ended and no
    lines come."""

    items: list[LogLineOut]
    next_after: UUID | None
    run_status: str

    @classmethod
    def of(cls, run: WorkflowRun, lines: list[WorkflowLogLine], *, after: UUID | None) -> Self:
        return cls(
            items=[LogLineOut.from_orm(line) for line in lines],
            next_after=lines[-1].id if lines else after,
            run_status=run.status,
        )


class ReceivedResultOut(Schema):
    """What was stored: the size in bytes and the SHA-256 of what the portal read."""

    file_id: UUID
    filename: str
    size_bytes: int
    sha256: str
    content_type: str

    @classmethod
    def of(cls, result: StoredResult) -> Self:
        return cls(
            file_id=UUID(result.stored.key),
            filename=result.filename,
            size_bytes=result.size_bytes,
            sha256=result.sha256,
            content_type=result.detected_type,
        )


def _run_values(run: WorkflowRun) -> dict[str, Any]:
    same = ["id", "status", "trigger", "attempt", "attempts_left", "created_at", "started_at"]
    same += ["completed_at", "cancel_requested_at", "cost"]
    is_well = run.status == RunStatus.COMPLETED
    return {name: getattr(run, name) for name in same} | {
        "workflow": RunWorkflow.from_orm(run.workflow),
        "file": RunFile.from_orm(run.file),
        "started_by": run.started_by.email if run.started_by else None,
        "progress": ProgressOut(percent=run.progress_percent, message=run.progress_message),
        "due_at": run.due_at if run.status == RunStatus.PENDING else None,
        "waiting": WaitingOut(deadline=run.lease_expires_at) if run.is_handed_over else None,
        "result": ResultOut.of(run.result_file) if run.result_file else None,
        "error": None if is_well else _error(run.error_code, run.error_message),
        "currency": settings.PORTAL_CURRENCY,
    }


def _visible_config(run: WorkflowRun, *, principal: Principal) -> dict[str, Any]:
    if principal.is_staff_with(CHANGE_WORKFLOWS):
        return dict(run.config)
    names = adjustable_fields(run.workflow, principal=principal)
    return {name: value for name, value in run.config.items() if name in names}


def _error(code: str, message: str) -> ErrorOut | None:
    return ErrorOut(code=code, message=message) if code else None
