"""Authentication of requests, for sessions and bearer tokens alike.

`Authenticator` works both as django-ninja's ``auth=`` and in plain views.
"""

import copy
from typing import NoReturn

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from ninja.security.base import AuthBase

from accounts import bearers, permissions, principals, rates
from accounts.principals import Principal
from accounts.rates import Rate
from common.db import release_connection
from common.errors import Conflict, Forbidden, Unauthenticated

# Header that a page's script sends with each request: the id of the account the page belongs to.
PAGE_ACCOUNT = "X-Page-Account"
_WITH_BODY = {"POST", "PUT", "PATCH"}
_UNTRUSTED = "does not match any trusted origins."  # how Django's reasons end


class AuthenticatedRequest(HttpRequest):
    """A request that an Authenticator has let through."""

    principal: Principal


class Authenticator(AuthBase):
    """Returns a request's principal; raises Unauthenticated, Forbidden, Conflict, TooManyRequests.

    A token must hold every one of `scopes`; a session may do all that its user may. With a
    `permission` the user must be staff that has it (see `permissions.require`), and what may be
    done so often only is counted by its `rate`. Sets
    `request.principal`, and `request.user` to its owner, or to an anonymous user for a guest. If a
    request carries a bearer token, only the token counts and cookies are ignored. A page of another
    site therefore gains nothing by sending cookies along, and no CSRF check is needed.
    """

    csrf = True  # makes the API's documentation page send the CSRF header
    openapi_type = "http"
    openapi_scheme = "bearer"
    openapi_description = (
        "An API token, `drt_…`, or an upload grant, `drg_…`. "
        "In the browser, the session cookie does as well."
    )

    def __init__(
        self,
        *scopes: str,
        permission: str = "",
        rate: Rate | None = None,
        guest_scope: str | None = None,
    ) -> None:
        """`guest_scope` is enough for a guest, who reaches only what was sent with the grant."""
        super().__init__()
        self.rate = rate
        self.scopes = frozenset(scopes)
        self.guest_scope = guest_scope
        self.permission = permission

    def __call__(self, request: HttpRequest) -> Principal:
        text = _bearer(request)
        principal = _by_session(request) if text is None else self._by_token(request, text)
        request.principal = principal  # type: ignore[attr-defined]
        # Code that looks only at `request.user` must not mistake a guest for the owner.
        request.user = AnonymousUser() if principal.is_guest else principal.owner
        if self.permission:
            permissions.require(request.user, self.permission)
        if self.rate:
            rates.take(request, self.rate)
        if request.method in _WITH_BODY:
            release_connection()  # the body is read next, which may take long
        return principal

    def _by_token(self, request: HttpRequest, text: str) -> Principal:
        try:
            credential = bearers.credential_of(text)
        except Unauthenticated:
            rates.take_of_address(request, rates.TOKEN_FAILURES)
            raise
        missing = self._missing(credential.principal)
        if missing:
            raise Forbidden(
                "scope_missing",
                f"This {credential.kind} lacks the scope {', '.join(missing)}. {credential.advice}",
            )
        if credential.note_use:
            credential.note_use()
        return credential.principal

    def _missing(self, principal: Principal) -> list[str]:
        if principal.is_guest and self.guest_scope in principal.scopes:
            return []
        return sorted(self.scopes.difference(principal.scopes))


class _HeaderCsrfCheck(CsrfViewMiddleware):
    """Django's own check (cookie, Origin, Referer), with the token in the X-CSRFToken header.

    For a POST, Django looks for the token in the form first and would read a body of any size to
    find it. It does so for POST only, so this check passes a copy of the request with method PUT.
    """

    def enforce(self, request: HttpRequest) -> None:
        if request.method == "POST":
            request = copy.copy(request)
            request.method = "PUT"
        self.process_view(request, _unreachable, (), {})

    def _reject(self, request: HttpRequest, reason: str) -> NoReturn:
        explanation = explain_untrusted_origin(request, reason)
        raise Forbidden("csrf_failed", explanation or f"{reason} Reload the page and try again.")


def explain_untrusted_origin(request: HttpRequest, reason: str) -> str:
    """Advice for the operator when Django's CSRF check refused a form because of its origin.

    This happens to every form behind a proxy that passes on another Host or scheme. Empty for any
    other `reason`.
    """
    origin = request.headers.get("Origin", "")
    if not reason.endswith(_UNTRUSTED) or origin == "null":
        return ""
    seen = f"{request.scheme}://{request.get_host()}"
    return (
        f"The browser sent this from {origin or 'an address that it hides'}, but it arrived as a "
        f"request to {seen}. If both are this portal, whoever runs it has to list the browser's "
        "address in DJANGO_CSRF_TRUSTED_ORIGINS, or let the proxy in front pass on Host and "
        "X-Forwarded-Proto."
    )


def require_account_of_page(request: HttpRequest) -> None:
    """Refuse a request if its page belongs to another account than its session cookie.

    All open pages of a browser share one cookie. Without this check, after a log-in as somebody
    else in one tab, the uploads of another tab would go to the new account. Raises Conflict
    `account_changed`.
    """
    account = request.headers.get(PAGE_ACCOUNT)
    if account is not None and account != str(request.user.pk):
        raise Conflict(
            "account_changed",
            "Another account is logged in in this browser now. Log in with the account of this "
            "page again, or reload the page.",
        )


def _bearer(request: HttpRequest) -> str | None:
    """The credentials of an ``Authorization: Bearer`` header (RFC 6750, 2.1)."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def _by_session(request: HttpRequest) -> Principal:
    user = request.user
    if isinstance(user, AnonymousUser) or not user.is_active:
        raise Unauthenticated("not_authenticated", "Log in, or send an API token.")
    require_account_of_page(request)
    _csrf_check.enforce(request)
    return principals.of_session(user)


def _unreachable(_request: HttpRequest) -> HttpResponse:
    raise AssertionError("the CSRF check calls no view")


_csrf_check = _HeaderCsrfCheck(_unreachable)
