"""Batches: the list, one with its files, and workflows on all of them."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from frontend.views.access import SignedInRequest, is_fragment, refusals_shown, signed_in
from frontend.views.lists import BUSY_PACE, page_of, template_of
from uploads import selectors
from uploads.models import UploadBatch
from uploads.workflows import runs as services
from uploads.workflows import selectors as run_selectors


@require_safe
@signed_in
def batches(request: SignedInRequest) -> HttpResponse:
    context = {
        "section": "batches",
        "fragment": is_fragment(request),
        "page": page_of(request, selectors.batches_page, principal=request.principal),
    }
    template = template_of(
        request,
        page="pages/batches.html",
        listing="partials/batches.html",
        rows="partials/batch_rows.html",
    )
    return render(request, template, context)


@require_safe
@signed_in
def batch(request: SignedInRequest, batch_id: UUID) -> HttpResponse:
    """A batch. Its fragments: the counters, refreshed while something comes, and more files."""
    found = selectors.get_batch(principal=request.principal, batch_id=batch_id)
    context = {"section": "batches", "batch": found, **_counters(found)}
    if is_fragment(request) and "cursor" not in request.GET:
        return render(request, "partials/batch_counters.html", context)
    page = page_of(
        request, selectors.batch_files_page, principal=request.principal, batch_id=batch_id
    )
    context |= {"page": page, "files": page.items}
    if is_fragment(request):
        return render(request, "partials/file_rows.html", context)
    context |= {"workflows": _workflows(request, batch_id)}
    return render(request, "pages/batch.html", context)


@require_POST
@signed_in
def run(request: SignedInRequest, batch_id: UUID) -> HttpResponse:
    """Start a workflow on every file of the batch that it takes."""
    with refusals_shown(request):
        workflow = run_selectors.get_workflow(request.POST.get("workflow", ""))
        done = services.start_on_batch(
            principal=request.principal, batch_id=batch_id, workflow=workflow
        )
        report_bulk_start(request, done, workflow_name=workflow.name)
    return redirect("frontend:batch", batch_id)


def report_bulk_start(
    request: SignedInRequest, done: services.BulkStart, *, workflow_name: str
) -> None:
    files = f"{done.started} file{'' if done.started == 1 else 's'}"
    skipped = f" {done.skipped} left out: not of its types, or busy." if done.skipped else ""
    if done.started:
        messages.success(request, f"{workflow_name} is started on {files}.{skipped}")
    else:
        messages.warning(request, f"{workflow_name} is started on no file.{skipped}")


def _workflows(request: SignedInRequest, batch_id: UUID) -> list[tuple[Any, int]]:
    """The active workflows, each with the number of files that it would be started on."""
    active = run_selectors.active_workflows()
    counts = services.count_startable(
        principal=request.principal, batch_id=batch_id, workflows=active
    )
    return [(workflow, counts[workflow.id]) for workflow in active]


def _counters(batch: UploadBatch) -> dict[str, Any]:
    under_way = batch.total_files - batch.stored_count - batch.failed_count
    is_open = batch.status in UploadBatch.OPEN
    return {"under_way": under_way, "pace": BUSY_PACE if is_open and under_way else None}
