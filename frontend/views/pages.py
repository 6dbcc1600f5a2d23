"""The dashboard and the upload page."""

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from frontend.views.access import SignedInRequest, signed_in
from uploads import selectors
from uploads.files.acceptance.checks import largest_file
from uploads.files.limits import account_usage
from uploads.workflows import selectors as run_selectors

_UNFINISHED_SHOWN = 20


@require_safe
@signed_in
def dashboard(request: SignedInRequest) -> HttpResponse:
    unfinished = selectors.unfinished_page(principal=request.principal, limit=_UNFINISHED_SHOWN)
    context = {
        "section": "dashboard",
        "dashboard": selectors.dashboard(principal=request.principal),
        "unfinished": unfinished.items,
        "more_unfinished": unfinished.next_cursor is not None,
        "account": account_usage(principal=request.principal),
        "runs": run_selectors.run_counts(principal=request.principal),
    }
    return render(request, "pages/dashboard.html", context)


@require_safe
@signed_in
def help_page(request: SignedInRequest) -> HttpResponse:
    """How things are done here, and where the references are."""
    context = {
        "section": "help",
        "address": settings.PUBLIC_URL,
        "ttl_hours": settings.FILE_UPLOAD_TTL_HOURS,
        "max_bytes": largest_file(),
    }
    return render(request, "pages/help.html", context)


@require_safe
@ensure_csrf_cookie
@signed_in
def upload(request: SignedInRequest) -> HttpResponse:
    """The upload page. Its script sends the CSRF cookie's value with each request."""
    context = {
        "section": "upload",
        "max_bytes": largest_file(),
        "allowed_types": settings.FILE_UPLOAD_ALLOWED_TYPES,
        "ttl_hours": settings.FILE_UPLOAD_TTL_HOURS,
    }
    return render(request, "pages/upload.html", context)
