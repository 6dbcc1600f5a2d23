"""Who may open a page, and what users see when they may not."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Concatenate, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.utils.cache import add_never_cache_headers
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from accounts import principals
from accounts.authentication import require_account_of_page
from accounts.models import User
from accounts.permissions import require
from accounts.principals import Principal
from common.errors import Conflict, DooritoError, Forbidden, NotFound


class SignedInRequest(HttpRequest):
    """The request that a view behind `signed_in` gets; its user is never anonymous."""

    user: User
    principal: Principal


type Page[**P] = Callable[Concatenate[SignedInRequest, P], HttpResponseBase]


def signed_in[**P](view: Page[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Only for logged-in users. Objects of others are a 404, and no cache keeps the page.

    Requests from a page of another account are refused (see `require_account_of_page`). What the
    user has no permission for is a 403.
    """

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _to_login(request)
        page = cast(SignedInRequest, request)
        page.principal = principals.of_session(page.user)
        try:
            require_account_of_page(request)
        except Conflict as exc:
            return _to_the_other_accounts_page(request, exc)
        try:
            response = view(page, *args, **kwargs)
        except NotFound as exc:
            raise Http404(exc.message) from exc
        except Forbidden as exc:
            raise PermissionDenied(exc.message) from exc
        add_never_cache_headers(response)
        return response

    return guarded


def permitted[**P](
    permission: str,
) -> Callable[[Page[P]], Callable[Concatenate[HttpRequest, P], HttpResponseBase]]:
    """Like `signed_in`, but only for staff with a permission."""

    def decorate(view: Page[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @signed_in
        @wraps(view)
        def checked(
            request: SignedInRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            require(request.user, permission)
            return view(request, *args, **kwargs)

        return checked

    return decorate


@contextmanager
def refusals(tell: Callable[[DooritoError], object]) -> Iterator[None]:
    """Pass the errors of a service to `tell`, except NotFound, which stays a 404."""
    try:
        yield
    except NotFound:
        raise
    except DooritoError as error:
        tell(error)


def refusals_shown(request: HttpRequest) -> AbstractContextManager[None]:
    """Show the errors of a service at the top of the next page."""
    return refusals(lambda error: messages.error(request, error.message))


def is_fragment(request: HttpRequest) -> bool:
    """Whether htmx asks for a part of the page.

    Links and restored history entries take the main area out of the whole page.
    """
    return _is_htmx(request) and "HX-Boosted" not in request.headers


def _is_htmx(request: HttpRequest) -> bool:
    headers = request.headers
    return headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in headers


def _to_login(request: HttpRequest) -> HttpResponse:
    if not _is_htmx(request):
        return redirect_to_login(_address_to_return_to(request))
    # htmx would follow a redirect and put the log-in page into the fragment's place.
    current = urlsplit(request.headers.get("HX-Current-URL", "")).path or "/"
    if not is_fragment(request):
        current = _address_to_return_to(request)
    login = f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': current})}"
    return HttpResponse(status=204, headers={"HX-Redirect": login})


def _to_the_other_accounts_page(request: HttpRequest, refusal: Conflict) -> HttpResponse:
    """Have htmx reload the whole page, since the open page belongs to another account.

    Only htmx sends the header. (An ordinary form is refused for its CSRF token, which a log-in
    renews.)
    """
    messages.warning(
        request, "Another account is logged in in this browser now. Nothing was changed."
    )
    return HttpResponse(refusal.message, status=refusal.status, headers={"HX-Refresh": "true"})


def _address_to_return_to(request: HttpRequest) -> str:
    """The requested page; for a form, the page with the form, as its target may not take GET."""
    if request.method in ("GET", "HEAD"):
        return request.get_full_path()
    referer = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(
        referer, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return resolve_url(settings.LOGIN_REDIRECT_URL)
    page = urlsplit(referer)
    return f"{page.path}?{page.query}" if page.query else page.path
