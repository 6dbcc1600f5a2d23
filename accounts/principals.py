"""Principals: who acts, on whose files, with which scopes. Services and selectors take one.

The authenticator makes the principals of API requests, `signed_in` those of pages, and
`at_the_shell` that of an administrator at the command line.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from accounts import permissions
from accounts.models import ApiToken, TokenScope, User

AT_THE_SHELL = "an administrator at the shell"
ALL_SCOPES = frozenset(TokenScope)


class ActorKind(StrEnum):
    USER = "user"  # a logged-in user
    TOKEN = "token"  # noqa: S105  (a script, with an API token)
    GRANT = "grant"  # a guest with an upload grant from the owner of the files
    STAFF = "staff"  # an administrator, at the shell or in the admin
    SYSTEM = "system"  # the portal itself


@dataclass(frozen=True)
class Actor:
    """Who acts. `label` is for people: an address, or the name of a token or grant."""

    kind: ActorKind
    id: UUID | None  # of the account, token or grant
    label: str


# The actor of what happens automatically: a file expires, or a workflow is done with a file.
PORTAL = Actor(ActorKind.SYSTEM, None, "the portal")


@dataclass(frozen=True)
class Principal:
    """An actor on the files of `owner`, who may do what `scopes` allow.

    With a grant, the actor reaches only files that came under that grant, and has none of the
    owner's permissions.
    """

    owner: User
    actor: Actor
    scopes: frozenset[TokenScope]
    grant_id: UUID | None = None

    @property
    def may_read_contents(self) -> bool:
        """Whether the actor may see files' contents, or anything derived from them."""
        return TokenScope.READ in self.scopes

    @property
    def is_guest(self) -> bool:
        return self.grant_id is not None

    def has_permission(self, permission: str) -> bool:
        """Whether the account has a permission, `app.codename`, whether or not it is staff."""
        return not self.is_guest and self.owner.has_perm(permission)

    def is_staff_with(self, permission: str) -> bool:
        """Whether the account is staff and has a permission (see `permissions.allows`)."""
        return not self.is_guest and permissions.allows(self.owner, permission)


def of_session(user: User) -> Principal:
    """The principal of a logged-in user, who may do all that the account may."""
    return Principal(user, Actor(ActorKind.USER, user.pk, user.email), ALL_SCOPES)


def of_token(token: ApiToken) -> Principal:
    """The principal of an API token: acts for the token's account, within its scopes."""
    scopes = ALL_SCOPES.intersection(map(TokenScope, token.scopes))
    return Principal(token.user, Actor(ActorKind.TOKEN, token.id, token.name), scopes)


def administrator(user: User) -> Actor:
    """The actor for what somebody does in the admin, regardless of who owns the files."""
    return Actor(ActorKind.STAFF, user.pk, user.email)


def at_the_shell(owner: User) -> Principal:
    """The principal of an administrator at the command line, who acts for `owner`."""
    actor = Actor(ActorKind.STAFF, None, AT_THE_SHELL)
    return Principal(owner, actor, ALL_SCOPES)
