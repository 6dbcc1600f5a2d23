"""Who acts, for whose files, and how far: what services, selectors and workflows are called with.

The authenticator makes the principals of requests, `signed_in` those of pages. Whoever has no
request, an administrator at the shell, is `at_the_shell`.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from accounts import permissions
from accounts.models import ApiToken, TokenScope, User

ALL_SCOPES = frozenset(TokenScope)


class ActorKind(StrEnum):
    USER = "user"  # somebody who is logged in
    TOKEN = "token"  # noqa: S105  (a script, with an API token)
    GRANT = "grant"  # a guest, with what the owner of the files has granted
    STAFF = "staff"  # an administrator, at the shell or in the admin
    SYSTEM = "system"  # the portal itself


@dataclass(frozen=True)
class Actor:
    """Who acts. `label` is for people: an address, or the name of a token or grant."""

    kind: ActorKind
    id: UUID | None  # of the account, token or grant
    label: str


# What happens by itself: a file expires, a workflow is done with one.
PORTAL = Actor(ActorKind.SYSTEM, None, "the portal")


@dataclass(frozen=True)
class Principal:
    """An actor with the files of `owner` before it, who may do what `scopes` say.

    With a grant it reaches only what came under that grant, and has none of its owner's
    permissions.
    """

    owner: User
    actor: Actor
    scopes: frozenset[TokenScope]
    grant_id: UUID | None = None

    @property
    def may_read_contents(self) -> bool:
        """Whether it may see what is in files, or what was made of that, by whatever way."""
        return TokenScope.READ in self.scopes

    @property
    def is_guest(self) -> bool:
        return self.grant_id is not None

    def has_permission(self, permission: str) -> bool:
        """Whether its account has a permission, `app.codename`, staff or not."""
        return not self.is_guest and self.owner.has_perm(permission)

    def is_staff_with(self, permission: str) -> bool:
        """Whether its account is staff that has a permission (see `permissions.allows`)."""
        return not self.is_guest and permissions.allows(self.owner, permission)


def of_session(user: User) -> Principal:
    """Somebody who is logged in: may do all that their account may."""
    return Principal(user, Actor(ActorKind.USER, user.pk, user.email), ALL_SCOPES)


def of_token(token: ApiToken) -> Principal:
    """Whoever sent an API token: acts for its account, within its scopes."""
    scopes = ALL_SCOPES.intersection(map(TokenScope, token.scopes))
    return Principal(token.user, Actor(ActorKind.TOKEN, token.id, token.name), scopes)


def administrator(user: User) -> Actor:
    """Who acts in the admin, whoever's files they are."""
    return Actor(ActorKind.STAFF, user.pk, user.email)


def at_the_shell(owner: User) -> Principal:
    """An administrator at the command line, who acts for `owner`."""
    actor = Actor(ActorKind.STAFF, None, "an administrator at the shell")
    return Principal(owner, actor, ALL_SCOPES)
