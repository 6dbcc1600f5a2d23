"""Who is asking: the one function for sessions and bearer tokens.

`Authenticator` fits django-ninja's ``auth=`` and plain views alike.
"""

import copy
from typing import NoReturn

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from ninja.security.base import AuthBase

from accounts import permissions, principals, services
from accounts.principals import Principal
from common.db import release_connection
from common.errors import Forbidden, Unauthenticated

_WITH_BODY = {"POST", "PUT", "PATCH"}


class AuthenticatedRequest(HttpRequest):
    """A request that an Authenticator has let through."""

    principal: Principal


class Authenticator(AuthBase):
    """Returns the principal of a request, or raises Unauthenticated or Forbidden.

    A token must hold every one of `scopes`; a session may do all that its user may. With a
    `permission` the user must be staff that has it (see `permissions.require`). Sets
    `request.principal`, and `request.user` to its owner. A request that
    carries a bearer token is judged by it alone: its cookies count for nothing, so that a page
    elsewhere gains nothing by adding them, and CSRF is no concern.
    """

    csrf = True  # makes the page of the API's documentation send the header
    openapi_type = "http"
    openapi_scheme = "bearer"
    openapi_description = "An API token, `drt_…`. In the browser, the session cookie does as well."

    def __init__(self, *scopes: str, permission: str = "") -> None:
        super().__init__()
        self.scopes = frozenset(scopes)
        self.permission = permission

    def __call__(self, request: HttpRequest) -> Principal:
        text = _bearer(request)
        principal = _by_session(request) if text is None else self._by_token(text)
        request.user = principal.owner
        request.principal = principal  # type: ignore[attr-defined]
        if self.permission:
            permissions.require(principal.owner, self.permission)
        if request.method in _WITH_BODY:
            release_connection()  # a slow body is read next
        return principal

    def _by_token(self, text: str) -> Principal:
        token = services.authenticate_token(text)
        missing = sorted(self.scopes.difference(token.scopes))
        if missing:
            raise Forbidden(
                "scope_missing",
                f"This API token lacks the scope {', '.join(missing)}. Create one that has it.",
            )
        services.note_use(token)
        return principals.of_token(token)


class _HeaderCsrfCheck(CsrfViewMiddleware):
    """Django's own check (cookie, Origin, Referer), with the token in the X-CSRFToken header.

    Django looks into the form of a POST first, and would read a body of any size to find one.
    It does so for POST only, and is therefore shown a copy of the request that says PUT.
    """

    def enforce(self, request: HttpRequest) -> None:
        if request.method == "POST":
            request = copy.copy(request)
            request.method = "PUT"
        self.process_view(request, _unreachable, (), {})

    def _reject(self, request: HttpRequest, reason: str) -> NoReturn:  # noqa: ARG002
        raise Forbidden("csrf_failed", f"{reason} Reload the page and try again.")


def _bearer(request: HttpRequest) -> str | None:
    """The credentials of an ``Authorization: Bearer`` header (RFC 6750, 2.1)."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def _by_session(request: HttpRequest) -> Principal:
    user = request.user
    if isinstance(user, AnonymousUser) or not user.is_active:
        raise Unauthenticated("not_authenticated", "Log in, or send an API token.")
    _csrf_check.enforce(request)
    return principals.of_session(user)


def _unreachable(_request: HttpRequest) -> HttpResponse:
    raise AssertionError("the CSRF check calls no view")


_csrf_check = _HeaderCsrfCheck(_unreachable)
