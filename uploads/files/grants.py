"""Upload grants: an owner lets somebody without an account send files, within limits.

Whoever holds a grant's token is a guest: a principal with the grant's owner and scopes, who reaches
only what came under the grant. What a new grant may be is checked in `uploads.files.new_grants`;
the page that a grant's link opens for guests is in `uploads.files.visits`.
"""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from accounts import tokens
from accounts.bearers import Credential
from accounts.models import TokenScope
from accounts.principals import Actor, ActorKind, Principal
from common import audit
from common.errors import (
    Conflict,
    DooritoError,
    Forbidden,
    InvalidInput,
    PayloadTooLarge,
    Unauthenticated,
)
from common.models import TimeStampedQuerySet
from common.sizes import readable
from uploads import policy, selectors
from uploads.files.new_grants import NewGrant, checked
from uploads.models import UploadBatch, UploadGrant

PREFIX = "drg_"
_ASK = "Ask whoever gave it to you for a new one."


# --- Given and taken back ------------------------------------------------------------------------


def create_grant(*, principal: Principal, new: NewGrant) -> tuple[UploadGrant, str]:
    """A new grant and its token's text, which exists nowhere else afterwards.

    Raises what `new_grants.checked` raises.
    """
    text = tokens.generate(prefix=PREFIX)
    values = checked(vars(new), principal=principal)
    with transaction.atomic():
        grant = UploadGrant.objects.create(
            owner=principal.owner, hint=tokens.hint(text), digest=tokens.digest(text), **values
        )
        audit.record("grant.created", subject="grant", subject_id=grant.id, label=grant.name)
    return grant, text


def change_grant(*, principal: Principal, grant_id: UUID, **values: Any) -> UploadGrant:
    """Other limits, another end, or whatever else of a NewGrant is given; what came still counts.

    Whoever has the page open sends under the new ones from the next file on. Raises NotFound
    `grant_not_found`, Conflict `grant_revoked`, Forbidden `scope_missing` where the grant allows
    more than the caller may, and what `new_grants.checked` raises.
    """
    grant = _own_grant(principal, grant_id)
    columns = checked(values, principal=principal)
    if not columns:
        return grant
    with transaction.atomic():
        if not UploadGrant.objects.filter(id=grant.id, revoked_at=None).change(**columns):
            raise Conflict("grant_revoked", "The upload link was revoked. Create a new one.")
        audit.record("grant.changed", subject="grant", subject_id=grant.id, label=grant.name)
    return selectors.get_grant(principal=principal, grant_id=grant_id)


def replace_token(*, principal: Principal, grant_id: UUID) -> tuple[UploadGrant, str]:
    """Another token for a grant whose first one is lost or known too widely: it ends at once.

    What was counted and what came stays. Raises NotFound `grant_not_found`, Forbidden
    `scope_missing` where the grant allows more than the caller may, Conflict `grant_ended` where
    there is nothing that another token could open.
    """
    grant = _own_grant(principal, grant_id)
    text = tokens.generate(prefix=PREFIX)
    lives = Q(expires_at=None) | Q(expires_at__gt=Now())
    with transaction.atomic():
        replaced = UploadGrant.objects.filter(lives, id=grant.id, revoked_at=None).change(
            hint=tokens.hint(text), digest=tokens.digest(text)
        )
        if not replaced:
            raise Conflict("grant_ended", "The upload link has ended. Create a new one.")
        audit.record("grant.renewed", subject="grant", subject_id=grant.id, label=grant.name)
    return selectors.get_grant(principal=principal, grant_id=grant_id), text


def _own_grant(principal: Principal, grant_id: UUID) -> UploadGrant:
    """One of the owner's, to be handed on: nobody hands on more than they may do themselves."""
    grant = selectors.get_grant(principal=principal, grant_id=grant_id)
    needed = {*grant.scopes, *([TokenScope.WORKFLOWS] if grant.workflow_id else [])}
    missing = sorted(needed.difference(principal.scopes))
    if missing:
        raise Forbidden(
            "scope_missing",
            f"This upload link allows what your token may not do itself: {', '.join(missing)}.",
        )
    return grant


def link_of(text: str) -> str:
    """The address of the page that a grant's token opens."""
    return f"{settings.PUBLIC_URL}/send/{text}/"


def revoke_grant(*, principal: Principal, grant_id: UUID) -> UploadGrant:
    """End a grant of the owner's; somebody else's does not exist. Repeating it changes nothing.

    What was stored under it stays; what is still being sent can only be finished by the owner.
    """
    grant = selectors.get_grant(principal=principal, grant_id=grant_id)
    revoke(UploadGrant.objects.filter(id=grant.id))
    return selectors.get_grant(principal=principal, grant_id=grant_id)


def revoke(selection: QuerySet[UploadGrant]) -> int:
    """End the grants of a selection that still live; how many did."""
    with transaction.atomic():
        living = selection.filter(revoked_at=None).select_for_update(of=("self",))
        names = dict(living.values_list("id", "name"))
        for grant_id, name in names.items():
            audit.record("grant.revoked", subject="grant", subject_id=grant_id, label=name)
        return UploadGrant.objects.filter(id__in=names).update(revoked_at=Now())


# --- Guests --------------------------------------------------------------------------------------


def guest_of(text: str) -> Credential:
    """Who holds this token, for the authenticator; one query.

    Raises Unauthenticated `grant_invalid`, `grant_revoked` or `grant_expired`, Forbidden
    `account_inactive`. Only whoever holds the token learns more than "invalid".
    """
    grant = living_grant(text)
    if grant.password_hash:
        raise Forbidden(
            "grant_password_needed",
            f"This upload link asks for a password: open {link_of('…')} in a browser.",
        )
    return credential_of(grant)


def living_grant(text: str) -> UploadGrant:
    """The grant of a token, whether or not it asks for a password. Raises as `guest_of` does."""
    if not tokens.looks_valid(text, prefix=PREFIX):
        raise unknown()
    return require_living(_with_owners().filter(digest=tokens.digest(text)).first())


def living_grant_with_id(grant_id: UUID) -> UploadGrant:
    """For whoever has proven before to know its token. Raises as `guest_of` does."""
    return require_living(_with_owners().filter(id=grant_id).first())


def require_living(grant: UploadGrant | None) -> UploadGrant:
    if grant is None:
        raise unknown()
    _require_living(grant)
    if not grant.owner.is_active:
        raise Forbidden("account_inactive", "The account that gave this upload link is off.")
    return grant


def credential_of(grant: UploadGrant) -> Credential:
    return Credential(principal_of(grant), kind="upload link", advice=_ASK)


def principal_of(grant: UploadGrant) -> Principal:
    scopes = frozenset(map(TokenScope, grant.scopes))
    actor = Actor(ActorKind.GRANT, grant.id, grant.name)
    return Principal(grant.owner, actor, scopes, grant_id=grant.id)


def unknown() -> Unauthenticated:
    return Unauthenticated(
        "grant_invalid", "This upload link is not known. Check that it was copied whole."
    )


def get_grant(grant_id: UUID) -> UploadGrant:
    """Raises Unauthenticated `grant_revoked` if it is gone, with the account that gave it."""
    grant = UploadGrant.objects.filter(id=grant_id).first()
    if grant is None:
        raise _revoked()
    return grant


def check_file(
    grant: UploadGrant, *, filename: str, content_type: str, size_bytes: int | None
) -> None:
    """Refuse a file that the grant never takes, whatever was sent before.

    Raises PayloadTooLarge `file_too_large`, UnsupportedType `type_not_allowed`, InvalidInput
    `size_missing` where a size that is told later could be too large.
    """
    limits = [most for most in (grant.max_file_size, grant.max_bytes) if most is not None]
    if limits and size_bytes is None:
        raise InvalidInput(
            "size_missing", "This upload link limits sizes: say first how many bytes the file has."
        )
    if limits and size_bytes is not None and size_bytes > min(limits):
        raise PayloadTooLarge(
            "file_too_large",
            f"The file is too large: this upload link takes up to {readable(min(limits))} a file.",
            max_bytes=min(limits),
        )
    policy.require_declared_type(
        grant.allowed_types, content_type, filename, taker="this upload link"
    )


def require_pieces(grant: UploadGrant) -> None:
    """Refuse to take a file in pieces that are put together later where all that comes is counted.

    Pieces and the whole would count twice. Raises Forbidden `pieces_not_granted`.
    """
    if grant.max_files is not None or grant.max_bytes is not None:
        raise Forbidden(
            "pieces_not_granted",
            "This upload link counts files or bytes: send the file as one upload, without "
            "parallel parts.",
        )


def check_detected_type(detected: str, *, grant_id: UUID | None) -> None:
    """Refuse a content that the portal or, from a guest, the grant does not take.

    Raises UnsupportedType `type_not_allowed`.
    """
    policy.check_detected_type(detected)
    if grant_id is not None:
        allowed = get_grant(grant_id).allowed_types
        policy.require_detected_type(allowed, detected, taker="this upload link")


def require_batch(grant: UploadGrant, batch_id: UUID | None) -> UUID | None:
    """The batch that a guest's file joins: the grant's, whether it is named or not; where that has
    none, one that a guest has opened with it, or none.

    Raises NotFound `batch_not_found` for another.
    """
    if batch_id in (None, grant.batch_id):
        return grant.batch_id
    opened = UploadBatch.objects.filter(id=batch_id, grant=grant)
    if grant.batch_id is not None or not opened.exists():
        raise selectors.batch_not_found()
    return batch_id


# --- Limits --------------------------------------------------------------------------------------


def charge(grant_id: UUID, *, size_bytes: int) -> None:
    """Count a file that begins, in the transaction that begins it: exact, however many at once.

    Raises Unauthenticated `grant_revoked` or `grant_expired`, Conflict `grant_files_used_up`,
    PayloadTooLarge `grant_bytes_used_up`.
    """
    wanted = UploadGrant.objects.filter(id=grant_id)
    if _count(wanted.filter(_has_room(size_bytes)), size_bytes=size_bytes):
        return
    # Held, so that the reason still holds when it is told. Where there is none any more, because
    # others have given back meanwhile, there is room.
    held = wanted.select_for_update(no_key=True).timed().first()
    _require_room(held, size_bytes=size_bytes)
    _count(wanted, size_bytes=size_bytes)


def charge_size(grant_id: UUID, *, size_bytes: int) -> None:
    """Count the size of a file that began without one: nothing limits it, see `check_file`."""
    UploadGrant.objects.filter(id=grant_id).update(bytes_begun=F("bytes_begun") + size_bytes)


def require_room(principal: Principal, *, size_bytes: int) -> None:
    """Refuse what `charge` would refuse now, before a body is taken or space is set aside."""
    if principal.grant_id is not None:
        grants = UploadGrant.objects.timed()
        grant = grants.filter(id=principal.grant_id).first()
        _require_room(grant, size_bytes=size_bytes)


def give_back(grant_id: UUID, *, size_bytes: int) -> None:
    """Take back what `charge` counted for a file that failed, in the transaction of its failure."""
    UploadGrant.objects.filter(id=grant_id).update(
        files_begun=F("files_begun") - 1, bytes_begun=F("bytes_begun") - size_bytes
    )


def _has_room(size_bytes: int) -> Q:
    """As `_require_room` has it."""
    has_file = Q(max_files=None) | Q(max_files__gt=F("files_begun"))
    has_bytes = Q(max_bytes=None) | Q(max_bytes__gte=F("bytes_begun") + size_bytes)
    lives = Q(expires_at=None) | Q(expires_at__gt=Now())
    return Q(has_file, has_bytes, lives, revoked_at=None)


def _count(wanted: TimeStampedQuerySet, *, size_bytes: int) -> bool:
    return wanted.change(
        files_begun=F("files_begun") + 1, bytes_begun=F("bytes_begun") + size_bytes
    )


def _require_living(grant: UploadGrant) -> None:
    if grant.revoked_at is not None:
        raise _revoked()
    if grant.expires_at is not None and grant.expires_at <= grant.read_at:
        raise Unauthenticated("grant_expired", f"This upload link has expired. {_ASK}")


def _require_room(grant: UploadGrant | None, *, size_bytes: int) -> None:
    if grant is None:
        raise _revoked()
    _require_living(grant)
    if grant.max_files is not None and grant.files_begun >= grant.max_files:
        raise Conflict(
            "grant_files_used_up",
            f"All {grant.max_files} files that this upload link takes are there or under way. "
            f"{_ASK}",
            max_files=grant.max_files,
        )
    left = None if grant.max_bytes is None else grant.max_bytes - grant.bytes_begun
    if left is not None and size_bytes > left:
        raise PayloadTooLarge(
            "grant_bytes_used_up",
            f"This upload link takes {readable(max(left, 0))} more. Send a smaller file, or ask "
            "whoever gave it to you for a new one.",
            max_bytes=max(left, 0),
        )


def _revoked() -> DooritoError:
    return Unauthenticated("grant_revoked", f"This upload link was revoked. {_ASK}")


def _with_owners() -> QuerySet[UploadGrant]:
    return UploadGrant.objects.select_related("owner").timed()
