"""/api/v1/runs: workflow runs on files. /api/v1/runs/callback: for external runners."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Query, Router, Schema, Status
from pydantic import ValidationError

from accounts import rates
from accounts.authentication import AuthenticatedRequest, Authenticator
from accounts.models import TokenScope
from common.errors import InvalidInput, PayloadTooLarge
from common.http.headers import refuse_content_range
from common.http.schemas import BINARY
from common.http.sized import sized_body, whole_body
from uploads.models import WorkflowRun
from uploads.workflows import answers, callbacks, runs, selectors, starting
from uploads.workflows.api.schemas import (
    BatchRunIn,
    BulkStartOut,
    LogOut,
    ReceivedResultOut,
    RunDetailOut,
    RunIn,
    RunList,
)

may_run = Authenticator(TokenScope.WORKFLOWS)
may_start = Authenticator(TokenScope.WORKFLOWS, rate=rates.RUNS)
# What a task writes may hold anything of the file.
may_read_output = Authenticator(TokenScope.WORKFLOWS, TokenScope.READ)
router = Router(tags=["Runs"], auth=may_run)
file_router = Router(tags=["Runs"], auth=may_run)
batch_router = Router(tags=["Runs"], auth=may_run)
callback_router = Router(tags=["Runners"], auth=None)


class RunListQuery(Schema):
    limit: int = 50
    cursor: str | None = None
    status: str | None = None
    workflow: str | None = None
    file_id: UUID | None = None


class ResultQuery(Schema):
    filename: str
    output_text: str = ""


# --- Starting ------------------------------------------------------------------------------------


@file_router.post("/{uuid:file_id}/runs", response={201: RunDetailOut}, auth=may_start)
def start_run(
    request: AuthenticatedRequest, file_id: UUID, body: RunIn, response: HttpResponse
) -> Status:
    """Start a workflow on a stored file. 409 `run_active` while it is under way there already."""
    run = starting.start(
        principal=request.principal, file_id=file_id, slug=body.workflow, changes=body.config
    )
    response["Location"] = reverse("api-1:run", args=[run.id])
    return Status(201, _detail(request, run))


@batch_router.post("/{uuid:batch_id}/runs", response={200: BulkStartOut}, auth=may_start)
def start_runs(request: AuthenticatedRequest, batch_id: UUID, body: BatchRunIn) -> BulkStartOut:
    """Start a workflow on every stored file of a batch that it accepts. Safe to repeat."""
    workflow = selectors.get_workflow(body.workflow)
    started = runs.start_on_batch(principal=request.principal, batch_id=batch_id, workflow=workflow)
    return BulkStartOut.of(started)


# --- Runs ----------------------------------------------------------------------------------------


@router.get("", response={200: RunList})
def list_runs(request: AuthenticatedRequest, query: Query[RunListQuery]) -> RunList:
    """The runs on your files, newest first. `workflow` is a slug."""
    return RunList.of(selectors.runs_page(principal=request.principal, **query.model_dump()))


@router.get("/{uuid:run_id}", response={200: RunDetailOut}, url_name="run")
def get_run(request: AuthenticatedRequest, run_id: UUID) -> RunDetailOut:
    """One run with its output and attempts. Poll it every second or so while it is active."""
    return _detail(request, selectors.get_run(principal=request.principal, run_id=run_id))


@router.get("/{uuid:run_id}/log", response={200: LogOut}, auth=may_read_output)
def get_log(
    request: AuthenticatedRequest,
    run_id: UUID,
    after: UUID | None = None,
    limit: int = selectors.LOG_PAGE,
) -> LogOut:
    """The lines after one, oldest first. Tasks write what they like there: it takes the scope
    `read` as well, as the output does."""
    run = selectors.get_run(principal=request.principal, run_id=run_id)
    size = min(max(limit, 1), selectors.LOG_PAGE)
    return LogOut.of(run, selectors.log_page(run, after=after, limit=size), after=after)


@router.get(
    "/{uuid:run_id}/output",
    response={200: None},
    auth=may_read_output,
    openapi_extra={"responses": {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}},
)
def get_output(request: AuthenticatedRequest, run_id: UUID) -> HttpResponse:
    """The output text. A result file is at its `content_url`."""
    run = selectors.get_run(principal=request.principal, run_id=run_id)
    return HttpResponse(
        run.output_text,
        content_type="text/plain; charset=utf-8",
        headers={
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-cache",
        },
    )


@router.post("/{uuid:run_id}/cancel", response={200: RunDetailOut})
def cancel_run(request: AuthenticatedRequest, run_id: UUID) -> RunDetailOut:
    """Take a run back. One that is under way ends soon: see `cancel_requested_at`."""
    return _detail(request, runs.cancel_run(principal=request.principal, run_id=run_id))


@router.post("/{uuid:run_id}/retry", response={200: RunDetailOut})
def retry_run(request: AuthenticatedRequest, run_id: UUID) -> RunDetailOut:
    """Try a run again that failed or was cancelled, with the same configuration."""
    return _detail(request, runs.retry_run(principal=request.principal, run_id=run_id))


# --- Runners -------------------------------------------------------------------------------------


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A model's schema without `$defs`, which a part of a larger document cannot refer to."""
    definitions = schema.pop("$defs", {})

    def resolve(value: Any) -> Any:
        if isinstance(value, list):
            return [resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return resolve(definitions[value["$ref"].rpartition("/")[2]])
        return {key: resolve(item) for key, item in value.items()}

    return {key: resolve(item) for key, item in schema.items()}


_ANSWER_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _inlined(answers.RunnerAnswer.model_json_schema())}
        },
    }
}
_RESULT_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": BINARY}},
    }
}


@callback_router.post("/{token}", response={204: None}, openapi_extra=_ANSWER_BODY)
def take_answer(request: HttpRequest, token: str) -> Status:
    """For the bearer of a `result_url`: progress, or how the run ended.

    410 `attempt_over` once the attempt has ended, was cancelled, or its deadline has passed.
    Progress does not move the deadline.
    """
    rates.take_of_address(request, rates.LINKS)
    callbacks.check(token)
    callbacks.take_answer(token, _answer(request))
    return Status(204, None)


@callback_router.put("/{token}", response={201: ReceivedResultOut}, openapi_extra=_RESULT_BODY)
def take_result(request: HttpRequest, token: str, query: Query[ResultQuery]) -> Status:
    """For the bearer of a `result_url`: the result file as the raw body; completes the run.

    Unless it was taken, or the attempt is over, it may be sent again.
    """
    rates.take_of_address(request, rates.LINKS)
    refuse_content_range(request, instead="Send the result in one request.")
    callbacks.check(token)
    with sized_body(request, check_size=callbacks.check_result_size) as body:
        result = callbacks.take_result(
            token,
            filename=query.filename,
            size_bytes=body.size_bytes,
            blocks=body.blocks,
            output_text=query.output_text,
        )
    return Status(201, ReceivedResultOut.of(result))


def _answer(request: HttpRequest) -> answers.RunnerAnswer:
    """Raises LengthRequired, PayloadTooLarge `body_too_large`, InvalidInput `answer_invalid`."""
    body = whole_body(request, check_size=_check_answer_size)
    try:
        return answers.RunnerAnswer.model_validate_json(body)
    except ValidationError as exc:
        errors = [
            {"field": ".".join(map(str, error["loc"])), "message": error["msg"]}
            for error in exc.errors(include_url=False, include_context=False, include_input=False)
        ]
        said = "; ".join(f"{error['field'] or 'body'}: {error['message']}" for error in errors)
        raise InvalidInput(
            "answer_invalid", f"The answer is not valid: {said}.", errors=errors
        ) from exc


def _check_answer_size(size_bytes: int) -> None:
    if size_bytes > answers.BODY_MAX:
        raise PayloadTooLarge(
            "body_too_large",
            f"An answer has at most {answers.BODY_MAX} bytes; PUT what is longer as a file.",
            max_bytes=answers.BODY_MAX,
        )


def _detail(request: AuthenticatedRequest, run: WorkflowRun) -> RunDetailOut:
    return RunDetailOut.of_attempts(run, selectors.attempts_of(run), principal=request.principal)
