"""The list of files, one file, and what can be done to it."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.html import format_html
from django.views.decorators.http import require_POST, require_safe

from common.outbox.events import events_of
from frontend.forms.files import ExtendForm, FilterForm
from frontend.views.access import SignedInRequest, is_fragment, refusals_shown, signed_in
from frontend.views.lists import pace, page_of, template_of
from frontend.views.runs import file_context
from frontend.views.shares import share_context
from uploads import selectors
from uploads.files import previews
from uploads.files.acceptance.checks import waits_for_something
from uploads.files.finding import find_files
from uploads.files.lifecycle import delete_file, extend_file
from uploads.models import FileStatus, IngestFile, UploadBatch, UploadGrant


@require_safe
@signed_in
def uploads(request: SignedInRequest) -> HttpResponse:
    form = FilterForm(request.GET, principal=request.principal)
    filters = form.filters()
    page = page_of(request, find_files, principal=request.principal, filters=filters)
    context = {
        "section": "uploads",
        "form": form,
        "filtered": form.is_narrowed,
        "can_choose": filters.uploader is None,
        "shows_uploader": filters.uploader is not None,
        "batch": _batch_of(request, filters.batch),
        "grant": _grant_of(request, filters.grant),
        "fragment": is_fragment(request),
        "page": page,
        "files": page.items,
    }
    template = template_of(
        request,
        page="pages/uploads.html",
        listing="partials/files.html",
        rows="partials/file_rows.html",
    )
    return render(request, template, context)


def _batch_of(request: SignedInRequest, batch_id: UUID | None) -> UploadBatch | None:
    if batch_id is None:
        return None
    return selectors.get_batch(principal=request.principal, batch_id=batch_id)


def _grant_of(request: SignedInRequest, grant_id: UUID | None) -> UploadGrant | None:
    if grant_id is None:
        return None
    return selectors.get_grant(principal=request.principal, grant_id=grant_id)


@require_safe
@signed_in
def file(request: SignedInRequest, file_id: UUID) -> HttpResponse:
    found = selectors.get_file(principal=request.principal, file_id=file_id)
    context = {
        "section": "runs" if found.is_result else "uploads",
        "file": found,
        "waits_for": found.error_message if waits_for_something(found) else "",
        "is_stored": found.status == FileStatus.STORED,
        "can_be_deleted": found.status in (*IngestFile.WITH_POINTER, *IngestFile.UNDER_WAY),
        "extend_form": ExtendForm(file=found),
        **_preview(found),
        **_events_context(found),
        **file_context(request, found),
        **share_context(request, found),
    }
    return render(request, "pages/file.html", context)


@require_safe
@signed_in
def events(request: SignedInRequest, file_id: UUID) -> HttpResponse:
    """The part of a file's page that is refreshed while deliveries are under way."""
    found = selectors.get_file(principal=request.principal, file_id=file_id)
    return render(request, "partials/events.html", _events_context(found))


@require_POST
@signed_in
def extend(request: SignedInRequest, file_id: UUID) -> HttpResponse:
    found = selectors.get_file(principal=request.principal, file_id=file_id)
    form = ExtendForm(request.POST, file=found)
    if not form.is_valid():
        messages.error(request, "Choose a later time from the list.")
        return redirect("frontend:file", file_id)
    with refusals_shown(request):
        extend_file(principal=request.principal, file_id=file_id, expires_at=form.expires_at())
        messages.success(request, "The file is kept longer.")
    return redirect("frontend:file", file_id)


@require_POST
@signed_in
def delete(request: SignedInRequest, file_id: UUID) -> HttpResponse:
    name = selectors.get_file(principal=request.principal, file_id=file_id).original_filename
    with refusals_shown(request):
        delete_file(principal=request.principal, file_id=file_id)
        messages.success(request, format_html("<bdi>{}</bdi> is deleted.", name))
        return redirect("frontend:uploads")
    return redirect("frontend:file", file_id)


def _preview(found: IngestFile) -> dict[str, Any]:
    kind = previews.preview_kind(found)
    text = previews.text_head(found) if kind == "text" else ""
    return {
        "preview": kind,
        "preview_text": text,
        "preview_is_cut": kind == "text" and found.size_bytes > previews.TEXT_BYTES,
    }


def _events_context(found: IngestFile) -> dict[str, Any]:
    listed = events_of(aggregate_type="file", aggregate_id=found.id)
    deliveries = [delivery for event in listed for delivery in event.deliveries.all()]
    return {"file": found, "events": listed, "pace": pace(deliveries)}
