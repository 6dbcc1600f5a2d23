"""Pages for people without an account: an upload link's, and a share link's.

The secret is in the address. So no other site, no cache and no search engine may learn it, and
what is sent from these pages carries no `Referer` but the portal's origin. (Without any, a browser
would send `Origin: null` with a form, which Django refuses.) Whoever has told a link's password
gets a cookie for the page's address alone. Nothing here reads or writes a session: who is logged
in stays so, and nobody comes to be.
"""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from functools import wraps

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import link_passwords, rates
from accounts.client_address import client_address
from common.errors import DooritoError, Forbidden, TooManyRequests, Unauthenticated
from common.http.problems import answers_problems
from frontend.forms.links import LinkPasswordForm, kind_names
from uploads.api.content import linked_response
from uploads.files import sharing, visits
from uploads.files.acceptance.checks import largest_file
from uploads.models import ShareLink, UploadGrant

type _View = Callable[[HttpRequest, str], HttpResponseBase]

_COOKIE = "doorito_link"
_SALT = "frontend.link"
_OPEN_FOR = timedelta(hours=12)  # once the password is told
_UNKNOWN = {"grant_invalid", "share_unknown"}
_OVER = {"grant_revoked", "grant_expired", "account_inactive", "scope_missing"}
_HEADINGS = {
    "grant_revoked": "This link was revoked",
    "share_revoked": "This link was revoked",
    "grant_expired": "This link has expired",
    "share_expired": "This link has expired",
    "file_deleted": "The file is no longer here",
    "file_consumed": "The file is no longer here",
    "rate_limited": "Too many requests",
}


def for_strangers(view: _View) -> _View:
    """Counts requests of an address, tells what is over with a link, and keeps its secret."""

    @wraps(view)
    def guarded(request: HttpRequest, token: str) -> HttpResponseBase:
        try:
            rates.take_of_address(request, rates.LINKS)
            response = view(request, token)
        except DooritoError as error:
            response = _refusal(request, error)
        response.headers["Referrer-Policy"] = "strict-origin"
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        if not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response

    return guarded


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("password")
@for_strangers
def send(request: HttpRequest, token: str) -> HttpResponseBase:
    """The page of an upload link; POST tells its password."""
    grant = visits.opened(token)
    home = reverse("frontend:send", args=[token])
    locked = _locked(request, grant, home=home)
    if locked is not None:
        return locked
    if request.method == "POST":
        return HttpResponseRedirect(home)
    bytes_left = _left(grant.max_bytes, grant.bytes_begun)
    limits = [grant.max_file_size, bytes_left, largest_file()]
    context = {
        "grant": grant,
        "max_bytes": min(limit for limit in limits if limit is not None),
        "files_left": _left(grant.max_files, grant.files_begun),
        "bytes_left": bytes_left,
        "types": kind_names(grant.allowed_types or settings.FILE_UPLOAD_ALLOWED_TYPES),
        "visit": visits.pass_for(grant),
        "pass_url": reverse("frontend:send_pass", args=[token]),
    }
    return render(request, "strangers/send.html", context)


@csrf_exempt  # it changes nothing, and no other site can read its answer
@require_POST
@answers_problems
def renew(request: HttpRequest, token: str) -> HttpResponse:
    """Another pass for a page that is still open, while the link and its password cookie last."""
    rates.take_of_address(request, rates.LINKS)
    grant = visits.opened(token)
    if grant.password_hash and not _has_told(request, grant):
        raise Unauthenticated("visit_over", "This page was open for long. Load it again to go on.")
    response = JsonResponse({"pass": visits.pass_for(grant)})
    if grant.password_hash:
        _let_in(response, grant, home=reverse("frontend:send", args=[token]))
    add_never_cache_headers(response)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("password")
@for_strangers
def share(request: HttpRequest, token: str) -> HttpResponseBase:
    """The page of a share link; POST tells its password."""
    found = sharing.opened(token)
    home = reverse("frontend:share", args=[token])
    locked = _locked(request, found, home=home)
    if locked is not None:
        return locked
    if request.method == "POST":
        return HttpResponseRedirect(home)
    context = {
        "share": found,
        "file": found.file,
        "content_url": reverse("frontend:share_content", args=[token]),
    }
    return render(request, "strangers/share.html", context)


@require_safe
@for_strangers
def share_content(request: HttpRequest, token: str) -> HttpResponseBase:
    """The bytes. Counted is what begins at the beginning: a download that goes on is none more."""
    found = sharing.opened(token)
    locked = _locked(request, found, home=reverse("frontend:share", args=[token]))
    if locked is not None:
        return HttpResponseRedirect(reverse("frontend:share", args=[token]))
    response = linked_response(request, found.file)
    if _begins(request, response):
        try:
            sharing.count_download(found)
        except DooritoError:
            response.close()
            raise
    return response


def _begins(request: HttpRequest, response: HttpResponseBase) -> bool:
    if request.method != "GET":
        return False
    spans = response.headers.get("Content-Range", "")
    return response.status_code in (200, 302) or spans.startswith("bytes 0-")


def _left(most: int | None, begun: int) -> int | None:
    return None if most is None else max(most - begun, 0)


def _refusal(request: HttpRequest, error: DooritoError) -> HttpResponse:
    if error.code in _UNKNOWN:
        try:
            rates.take_of_address(request, rates.TOKEN_FAILURES)
        except TooManyRequests as refusal:
            error = refusal
    status = 404 if error.code in _UNKNOWN else 410 if error.code in _OVER else error.status
    heading = _HEADINGS.get(error.code, "This link does not work")
    context = {"heading": heading, "text": error.message}
    response = render(request, "strangers/over.html", context, status=status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


# --- Passwords -----------------------------------------------------------------------------------


def _locked(
    request: HttpRequest, link: UploadGrant | ShareLink, *, home: str
) -> HttpResponse | None:
    """The page that asks for the link's password, or what comes of telling it; None when it is
    told, or there is none.
    """
    if not link.password_hash or _has_told(request, link):
        return None
    form = LinkPasswordForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "strangers/password.html", {"form": form})
    try:
        link_passwords.require_match(
            form.cleaned_data["password"],
            kept=link.password_hash,
            link_id=link.id,
            address=client_address(request),
        )
    except (Forbidden, TooManyRequests) as refusal:
        form.add_error("password", refusal.message)
        page = render(request, "strangers/password.html", {"form": form}, status=refusal.status)
        if refusal.retry_after is not None:
            page.headers["Retry-After"] = str(refusal.retry_after)
        return page
    return _let_in(HttpResponseRedirect(home), link, home=home)


def _let_in[R: HttpResponse](response: R, link: UploadGrant | ShareLink, *, home: str) -> R:
    response.set_cookie(
        _COOKIE,
        signing.dumps(_told(link), salt=_SALT),
        max_age=_OPEN_FOR,
        path=home,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


def _has_told(request: HttpRequest, link: UploadGrant | ShareLink) -> bool:
    try:
        told = signing.loads(request.COOKIES.get(_COOKIE, ""), salt=_SALT, max_age=_OPEN_FOR)
    except signing.BadSignature:
        return False
    return bool(told == _told(link))


def _told(link: UploadGrant | ShareLink) -> str:
    """Another token or password of the link, and what was told counts no more."""
    return hashlib.sha256(f"{link.digest} {link.password_hash}".encode()).hexdigest()
