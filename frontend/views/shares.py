"""Share links of a file, for its owner."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST

from frontend.forms.links import ShareForm
from frontend.views import shown_once
from frontend.views.access import SignedInRequest, refusals_shown, signed_in
from uploads import selectors
from uploads.files import sharing
from uploads.models import FileStatus, IngestFile


def share_context(request: SignedInRequest, file: IngestFile) -> dict[str, Any]:
    """What the page of a file says of its share links: to its owner alone."""
    if file.uploaded_by_id != request.user.pk or file.is_piece:
        return {}
    return {
        "shares": selectors.share_links(file),
        "share_form": ShareForm() if file.status == FileStatus.STORED else None,
        "share_address": shown_once.take_address(request, _new(file.id), sharing.link_of),
    }


@require_POST
@signed_in
@sensitive_variables("text")
def create(request: SignedInRequest, file_id: UUID) -> HttpResponse:
    selectors.get_own_file(principal=request.principal, file_id=file_id)
    form = ShareForm(request.POST)
    if not form.is_valid():
        for errors in form.errors.values():
            messages.error(request, " ".join(map(str, errors)))
        return redirect("frontend:file", file_id)
    with refusals_shown(request):
        _, text = sharing.create_share(
            principal=request.principal,
            file_id=file_id,
            expires_at=form.expires_at(),
            password=form.cleaned_data["password"],
        )
        shown_once.keep(request, _new(file_id), text)
    return redirect("frontend:file", file_id)


@require_POST
@signed_in
def revoke(request: SignedInRequest, file_id: UUID, share_id: UUID) -> HttpResponse:
    sharing.revoke_share(principal=request.principal, file_id=file_id, share_id=share_id)
    messages.success(request, "The share link no longer works.")
    return redirect("frontend:file", file_id)


def _new(file_id: UUID) -> str:
    """In the session."""
    return f"new_share_link_{file_id}"
