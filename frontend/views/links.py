"""Upload links: the list, a new one, one with what came by it; changing, renewing, revoking."""

from contextlib import AbstractContextManager
from functools import partial
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.html import format_html
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import tokens
from frontend.forms.links import UploadLinkForm, kind_names
from frontend.views import shown_once
from frontend.views.access import (
    SignedInRequest,
    is_fragment,
    refusals,
    refusals_shown,
    signed_in,
)
from frontend.views.lists import page_of, template_of
from uploads import selectors
from uploads.files import grants
from uploads.models import UploadGrant
from uploads.workflows.selectors import active_workflows

# The field that an error of the service is about.
_FIELDS = {
    "grant_message_invalid": "message",
    "grant_type_invalid": "other_types",
    "link_password_invalid": "password",
    "workflow_not_found": "workflow",
}


@require_safe
@signed_in
def links(request: SignedInRequest) -> HttpResponse:
    context = {
        "section": "links",
        "fragment": is_fragment(request),
        "page": page_of(request, selectors.grants_page, principal=request.principal),
    }
    template = template_of(
        request,
        page="pages/upload_links.html",
        listing="partials/upload_links.html",
        rows="partials/upload_link_rows.html",
    )
    return render(request, template, context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@sensitive_variables("text")
def new(request: SignedInRequest) -> HttpResponse:
    form = UploadLinkForm(request.POST or None, workflows=active_workflows())
    if form.is_valid():
        with _told_in(form):
            grant, text = grants.create_grant(principal=request.principal, new=form.new_grant())
            shown_once.keep(request, _new(grant.id), text)
            return redirect("frontend:upload_link", grant.id)
    return render(request, "pages/upload_link_form.html", {"section": "links", "form": form})


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def edit(request: SignedInRequest, grant_id: UUID) -> HttpResponse:
    grant = selectors.get_grant(principal=request.principal, grant_id=grant_id)
    form = UploadLinkForm(request.POST or None, workflows=active_workflows(), grant=grant)
    if form.is_valid():
        with _told_in(form):
            grants.change_grant(principal=request.principal, grant_id=grant_id, **form.changes())
            messages.success(request, "The link is changed.")
            return redirect("frontend:upload_link", grant_id)
    context = {"section": "links", "form": form, "grant": grant}
    return render(request, "pages/upload_link_form.html", context)


@require_safe
@signed_in
def link(request: SignedInRequest, grant_id: UUID) -> HttpResponse:
    """A link with the files that came by it; its fragment: more of them."""
    page = page_of(
        request, selectors.grant_files_page, principal=request.principal, grant_id=grant_id
    )
    context = {"section": "links", "page": page, "files": page.items}
    if is_fragment(request):
        return render(request, "partials/file_rows.html", context)
    grant = selectors.get_grant(principal=request.principal, grant_id=grant_id)
    context |= {
        "grant": grant,
        "types": kind_names(grant.allowed_types),
        "address": shown_once.take_address(request, _new(grant_id), partial(_address, grant)),
    }
    return render(request, "pages/upload_link.html", context)


@require_POST
@signed_in
@sensitive_variables("text")
def renew(request: SignedInRequest, grant_id: UUID) -> HttpResponse:
    with refusals_shown(request):
        _, text = grants.replace_token(principal=request.principal, grant_id=grant_id)
        shown_once.keep(request, _new(grant_id), text)
    return redirect("frontend:upload_link", grant_id)


@require_POST
@signed_in
def revoke(request: SignedInRequest, grant_id: UUID) -> HttpResponse:
    grant = grants.revoke_grant(principal=request.principal, grant_id=grant_id)
    messages.success(request, format_html("The link “<bdi>{}</bdi>” no longer works.", grant.name))
    return redirect("frontend:upload_link", grant_id)


def _told_in(form: UploadLinkForm) -> AbstractContextManager[None]:
    """Errors of the service are shown at the field that they are about."""
    return refusals(lambda error: form.add_error(_FIELDS.get(error.code, "name"), error.message))


def _address(grant: UploadGrant, text: str) -> str | None:
    """None where the text is of no use: of two renewals at once, one token stays."""
    return grants.link_of(text) if tokens.digest(text) == grant.digest else None


def _new(grant_id: UUID) -> str:
    """In the session."""
    return f"new_upload_link_{grant_id}"
