"""Runs on a file: starting, watching, cancelling, retrying, and reading the output."""

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from common.errors import DooritoError, NotFound
from frontend import markdown
from frontend.forms.runs import ConfigForm, RunFilterForm
from frontend.views.access import (
    SignedInRequest,
    is_fragment,
    refusals,
    refusals_shown,
    signed_in,
)
from frontend.views.lists import BUSY_PACE, SOON, Listing, chosen, page_of
from uploads import selectors
from uploads.models import FileStatus, IngestFile, RunStatus, Workflow, WorkflowRun
from uploads.workflows import registry, starting
from uploads.workflows import runs as services
from uploads.workflows import selectors as run_selectors
from uploads.workflows.permissions import SEE_TRACEBACKS

SLOW_PACE = 10  # seconds between two refreshes while an external runner works
RUNS_LISTED = 10  # on a file's page
_MARKDOWN_NAMES = (".md", ".markdown", ".txt")
_PRETTY_MAX = 1_000_000  # characters: indentation can make a small text large
_LISTING = Listing(
    noun="run",
    name="Workflow",
    about="File",
    time="Started",
    filter_hint="Try another workflow or another state.",
)


@require_safe
@signed_in
def runs(request: SignedInRequest) -> HttpResponse:
    form = RunFilterForm(request.GET)
    filters = chosen(form)
    context = {
        "section": "runs",
        "listing": _LISTING,
        "form": form,
        "filtered": bool(filters),
        "fragment": is_fragment(request),
        "page": page_of(request, run_selectors.runs_page, principal=request.principal, **filters),
        "may_start": bool(form.fields["workflow"].choices[1:]),  # type: ignore[attr-defined]
    }
    return render(request, _LISTING.template(request, page="pages/runs.html"), context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def of_file(request: SignedInRequest, file_id: UUID) -> HttpResponse:
    """POST starts a run; GET lists the runs of a file.

    The fragment is the part of the file's page that is refreshed while a run is active. `seen` is
    the file's status as the open page shows it: a run may consume its file, and then the whole page
    is out of date.
    """
    file = selectors.get_file(principal=request.principal, file_id=file_id)
    if request.method == "POST":
        return _start(request, file)
    if not is_fragment(request):
        return redirect(reverse("frontend:runs", query={"file_id": file_id}))
    response = render(request, "partials/run_card_list.html", listed_context(file))
    if request.GET.get("seen") != file.status:
        response.headers["HX-Refresh"] = "true"
    return response


def _start(request: SignedInRequest, file: IngestFile) -> HttpResponse:
    slug = request.POST.get("workflow", "")
    try:
        run = starting.start(principal=request.principal, file_id=file.id, slug=slug)
    except DooritoError as error:
        messages.error(request, error.message)
        return redirect("frontend:file", file.id)
    return redirect("frontend:run", file.id, run.id)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def configure(request: SignedInRequest, file_id: UUID, slug: str) -> HttpResponse:
    """Start a run with other settings; `like` names an earlier run whose settings are proposed."""
    file = selectors.get_file(principal=request.principal, file_id=file_id)
    workflow = run_selectors.get_workflow(slug)
    task = registry.find(workflow.task_name)
    if task is None:
        raise NotFound("task_unknown", "The task of this workflow is not there any more.")
    form = ConfigForm(
        request.POST if request.method == "POST" else None,
        task=task,
        names=starting.adjustable_fields(workflow, principal=request.principal),
        values=_proposed_config(request, file, workflow),
    )
    if form.is_valid():
        run = _start_with(form, request, file, workflow)
        if run is not None:
            return redirect("frontend:run", file_id, run.id)
    context = {"section": "runs", "file": file, "workflow": workflow, "form": form}
    return render(request, "pages/run_new.html", context)


@require_safe
@signed_in
def run(request: SignedInRequest, file_id: UUID, run_id: UUID) -> HttpResponse:
    """The page of a run. Its fragment is refreshed while the run is active.

    `seen` is the status that the open page shows: a change is announced to screen readers.
    """
    found = _run_of(request, file_id, run_id)
    context = {"section": "runs", "run": found, "pace": pace([found])}
    context |= _details(request, found)
    if is_fragment(request):
        context["is_news"] = request.GET.get("seen") != found.status
        return render(request, "partials/run_state.html", context)
    return render(request, "pages/run.html", context)


@require_POST
@signed_in
def cancel(request: SignedInRequest, file_id: UUID, run_id: UUID) -> HttpResponse:
    _run_of(request, file_id, run_id)
    with refusals_shown(request):
        ended = services.cancel_run(principal=request.principal, run_id=run_id)
        is_over = ended.status == RunStatus.CANCELLED
        messages.success(
            request, "The run is cancelled." if is_over else "The run is being cancelled."
        )
    return redirect("frontend:run", file_id, run_id)


@require_POST
@signed_in
def retry(request: SignedInRequest, file_id: UUID, run_id: UUID) -> HttpResponse:
    _run_of(request, file_id, run_id)
    with refusals_shown(request):
        services.retry_run(principal=request.principal, run_id=run_id)
        messages.success(request, "The run is tried again.")
    return redirect("frontend:run", file_id, run_id)


def file_context(request: SignedInRequest, file: IngestFile) -> dict[str, Any]:
    """The template context for the workflows on a file's page."""
    is_stored = file.status == FileStatus.STORED
    offered = run_selectors.workflows_for(file) if is_stored else []
    return {
        "workflows": [
            (workflow, bool(starting.adjustable_fields(workflow, principal=request.principal)))
            for workflow in offered
        ],
        "has_workflows": bool(offered or run_selectors.active_workflows()),
        "made_by": run_selectors.run_of_result(file) if file.is_result else None,
        **listed_context(file),
    }


def listed_context(file: IngestFile) -> dict[str, Any]:
    """The template context with a file's newest runs, and whether there are more."""
    newest = run_selectors.runs_of_file(file, limit=RUNS_LISTED + 1)
    shown = newest[:RUNS_LISTED]
    return {
        "file": file,
        "runs": shown,
        "has_more_runs": len(newest) > RUNS_LISTED,
        "runs_pace": pace(shown),
    }


def pace(runs: Iterable[WorkflowRun]) -> int | None:
    """Seconds until a page with these runs should refresh; None when all have ended."""
    active = [run for run in runs if run.status in WorkflowRun.ACTIVE]
    if not active:
        return None
    soon = timezone.now() + SOON
    is_busy = any(
        not run.is_handed_over if run.status == RunStatus.RUNNING else run.due_at <= soon
        for run in active
    )
    return BUSY_PACE if is_busy else SLOW_PACE


def _run_of(request: SignedInRequest, file_id: UUID, run_id: UUID) -> WorkflowRun:
    """A run on this file. Raises NotFound, also for a run on another file."""
    found = run_selectors.get_run(principal=request.principal, run_id=run_id)
    if found.file_id != file_id:
        raise NotFound("run_not_found", "There is no such run.")
    return found


def _details(request: SignedInRequest, run: WorkflowRun) -> dict[str, Any]:
    log = run_selectors.latest_log(run)
    is_stored = run.file.status == FileStatus.STORED
    return {
        "is_active": run.status in WorkflowRun.ACTIVE,
        "can_retry": is_stored
        and run.workflow.is_active
        and run.status in (RunStatus.FAILED, RunStatus.CANCELLED),
        "can_run_again": is_stored and run.workflow.is_active,
        "attempts": run_selectors.attempts_of(run),
        "sees_tracebacks": request.principal.is_staff_with(SEE_TRACEBACKS),
        "log": log,
        "log_is_cut": len(log) == run_selectors.LOG_PAGE,
        "output": _output(run),
        "currency": settings.PORTAL_CURRENCY,
        "next_runs": run_selectors.next_runs(run),
    }


def _output(run: WorkflowRun) -> dict[str, str | None]:
    """The output as text (indented if it is JSON) and as HTML (if it is Markdown)."""
    text = run.output_text
    pretty = _indented(text)
    if pretty is not None:
        return {"text": pretty}
    name = run.result_file.original_filename.lower() if run.result_file else _MARKDOWN_NAMES[0]
    if not text or not name.endswith(_MARKDOWN_NAMES):
        return {"text": text}
    return {"text": text, "html": markdown.render(text)}


def _indented(text: str) -> str | None:
    """Indented JSON; None if `text` is not a JSON object or list, or would become too long."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict | list):
        return None
    chunks: list[str] = []
    length = 0
    for chunk in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
        length += len(chunk)
        if length > _PRETTY_MAX:
            return None
        chunks.append(chunk)
    return "".join(chunks)


def _proposed_config(
    request: SignedInRequest, file: IngestFile, workflow: Workflow
) -> dict[str, Any]:
    """The settings of the earlier run that the query names, or else those of the workflow."""
    try:
        run_id = UUID(request.GET.get("like", ""))
    except ValueError:
        return workflow.config
    return _run_of(request, file.id, run_id).config


def _start_with(
    form: ConfigForm, request: SignedInRequest, file: IngestFile, workflow: Workflow
) -> WorkflowRun | None:
    """The new run, or None with the reason in the form."""
    with refusals(form.refuse):
        return starting.start(
            principal=request.principal, file_id=file.id, slug=workflow.slug, changes=form.changes()
        )
    return None
