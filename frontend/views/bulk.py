"""What is done to several files at once, chosen in a list."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from common.db import release_connection
from common.errors import DooritoError
from common.http.bodies import expect_download
from frontend.forms.files import ChoiceForm
from frontend.views.access import SignedInRequest, refusals_shown, signed_in
from frontend.views.batches import report_bulk_start
from uploads.files.expiry import latest_expiry
from uploads.files.finding import own_files
from uploads.files.lifecycle import delete_file, extend_file
from uploads.files.zipping import zip_blocks
from uploads.models import FileStatus, IngestFile
from uploads.workflows import runs as services
from uploads.workflows import selectors as run_selectors

_LONGER = timedelta(days=7)


@require_POST
@signed_in
def delete(request: SignedInRequest) -> HttpResponse:
    chosen = _chosen(request)
    _each(
        request,
        chosen,
        lambda file: delete_file(principal=request.principal, file_id=file.id),
        done="deleted",
    )
    return redirect(_list_of(request))


@require_POST
@signed_in
def extend(request: SignedInRequest) -> HttpResponse:
    """Keep each a week from now, or as long as the portal lets it be kept."""

    def keep(file: IngestFile) -> None:
        until = timezone.now() + _LONGER
        if file.stored_at:
            until = min(until, latest_expiry(file.stored_at))
        extend_file(
            principal=request.principal,
            file_id=file.id,
            expires_at=max(until, file.expires_at or until),
        )

    _each(request, _chosen(request), keep, done="kept longer")
    return redirect(_list_of(request))


@require_POST
@signed_in
def run(request: SignedInRequest) -> HttpResponse:
    """First on how many files each workflow would run; with a workflow, the start."""
    chosen = _chosen(request)
    slug = request.POST.get("workflow")
    ids = [file.id for file in chosen]
    if slug:
        with refusals_shown(request):
            workflow = run_selectors.get_workflow(slug)
            done = services.start_on_files(
                principal=request.principal, file_ids=ids, workflow=workflow
            )
            report_bulk_start(request, done, workflow_name=workflow.name)
        return redirect(_list_of(request))
    active = run_selectors.active_workflows()
    counts = services.count_accepted(chosen, workflows=active)
    context = {
        "section": "uploads",
        "files": chosen,
        "workflows": [(workflow, counts[workflow.id]) for workflow in active],
        "next": _list_of(request),
    }
    return render(request, "pages/bulk_run.html", context)


@require_POST
@signed_in
def download(request: SignedInRequest) -> HttpResponseBase:
    """A ZIP archive of those that are stored."""
    chosen = [file for file in _chosen(request) if file.status == FileStatus.STORED]
    if not chosen:
        messages.error(request, "None of the chosen files is stored.")
        return redirect(_list_of(request))
    release_connection()  # a slow reader must not own a connection
    expect_download(request, size_bytes=sum(file.size_bytes for file in chosen))
    response = StreamingHttpResponse(zip_blocks(chosen), content_type="application/zip")
    name = f"doorito-{timezone.now():%Y-%m-%d-%H%M}.zip"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _chosen(request: SignedInRequest) -> list[IngestFile]:
    """The chosen files that are the user's own: others do not exist."""
    form = ChoiceForm(request.POST)
    if not form.is_valid():
        is_too_many = form.has_error("file", "too_many")
        messages.error(
            request,
            f"Choose at most {form.MOST} files at a time."
            if is_too_many
            else "Choose some files first.",
        )
        return []
    return own_files(principal=request.principal, file_ids=form.cleaned_data["file"])


def _each(
    request: SignedInRequest,
    chosen: list[IngestFile],
    action: Callable[[IngestFile], object],
    *,
    done: str,
) -> None:
    """Do it to each file, and tell of how many it was done, and why not of the others."""
    refused: dict[UUID, str] = {}
    for file in chosen:
        try:
            action(file)
        except DooritoError as error:
            refused[file.id] = error.message
    count = len(chosen) - len(refused)
    if count:
        messages.success(request, f"{count} file{' is' if count == 1 else 's are'} {done}.")
    if refused:
        why = " ".join(dict.fromkeys(refused.values()))
        messages.warning(request, f"{len(refused)} could not be {done}: {why}")


def _list_of(request: SignedInRequest) -> str:
    """Back to the list that the files were chosen in, with its search."""
    address = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(address, allowed_hosts=None)
    return address if is_ours else reverse("frontend:uploads")
