"""Upload grants: an owner lets somebody without an account send files, within limits.

Whoever holds a grant's token is a guest: a principal with the grant's owner and scopes, who reaches
only what came under the grant.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from accounts import tokens
from accounts.bearers import Credential
from accounts.models import TokenScope
from accounts.principals import Actor, ActorKind, Principal
from common import audit, content_types
from common.db import database_now
from common.errors import (
    Conflict,
    DooritoError,
    Forbidden,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    Unauthenticated,
)
from common.models import TimeStampedQuerySet
from uploads import policy, selectors
from uploads.models import UploadGrant

PREFIX = "drg_"
MAX_TYPES = 50
_MOST_FILES = 2**31 - 1
_MOST_BYTES = 2**63 - 1
_ASK = "Ask whoever gave it to you for a new one."


@dataclass(frozen=True)
class NewGrant:
    """What an owner grants. A limit of None is none; sizes in bytes."""

    name: str
    scopes: Collection[str] = (TokenScope.UPLOAD,)
    max_files: int | None = None
    max_bytes: int | None = None  # of all files together
    max_file_size: int | None = None
    allowed_types: Collection[str] = ()
    batch_id: UUID | None = None
    expires_at: datetime | None = None


# --- Given and taken back ------------------------------------------------------------------------


def create_grant(*, principal: Principal, new: NewGrant) -> tuple[UploadGrant, str]:
    """A new grant and its token's text, which exists nowhere else afterwards.

    Raises Forbidden `grant_by_guest` or `scope_missing` (nobody grants more than they may),
    InvalidInput `grant_name_invalid`, `scope_unknown`, `grant_limit_invalid`,
    `grant_type_invalid` or `grant_expiry_past`, NotFound `batch_not_found`, Conflict
    `batch_closed`.
    """
    scopes = _checked_scopes(new.scopes, principal=principal)
    text = tokens.generate(prefix=PREFIX)
    grant = UploadGrant(
        owner=principal.owner,
        name=_checked_name(new.name),
        hint=tokens.hint(text),
        digest=tokens.digest(text),
        scopes=scopes,
        max_files=_checked_limit("max_files", new.max_files, most=_MOST_FILES),
        max_bytes=_checked_limit("max_bytes", new.max_bytes, most=_MOST_BYTES),
        max_file_size=_checked_limit("max_file_size", new.max_file_size, most=_MOST_BYTES),
        allowed_types=_checked_types(new.allowed_types),
        batch_id=_open_batch(new.batch_id, principal=principal),
        expires_at=_checked_expiry(new.expires_at),
    )
    with transaction.atomic():
        grant.save(force_insert=True)
        audit.record("grant.created", subject="grant", subject_id=grant.id, label=grant.name)
    return grant, text


def revoke_grant(*, principal: Principal, grant_id: UUID) -> UploadGrant:
    """End a grant of the owner's; somebody else's does not exist. Repeating it changes nothing.

    What was stored under it stays; what is still being sent can only be finished by the owner.
    """
    own = UploadGrant.objects.filter(id=grant_id, owner=principal.owner)
    if principal.is_guest:
        own = own.none()
    revoke(own)
    grant = own.first()
    if grant is None:
        raise NotFound("grant_not_found", "There is no such upload grant.")
    return grant


def revoke(selection: QuerySet[UploadGrant]) -> int:
    """End the grants of a selection that still live; how many did."""
    with transaction.atomic():
        living = selection.filter(revoked_at=None).select_for_update(of=("self",))
        names = dict(living.values_list("id", "name"))
        for grant_id, name in names.items():
            audit.record("grant.revoked", subject="grant", subject_id=grant_id, label=name)
        return UploadGrant.objects.filter(id__in=names).update(revoked_at=timezone.now())


# --- Guests --------------------------------------------------------------------------------------


def guest_of(text: str) -> Credential:
    """Who holds this token, for the authenticator; one query.

    Raises Unauthenticated `grant_invalid`, `grant_revoked` or `grant_expired`, Forbidden
    `account_inactive`. Only whoever holds the token learns more than "invalid".
    """
    grant = _grant_with(text)
    if grant is None:
        raise Unauthenticated(
            "grant_invalid", "This upload grant is not known. Check that it was copied whole."
        )
    _require_living(grant)
    if not grant.owner.is_active:
        raise Forbidden("account_inactive", "The account that gave this upload grant is off.")
    return Credential(principal_of(grant), kind="upload grant", advice=_ASK)


def principal_of(grant: UploadGrant) -> Principal:
    scopes = frozenset(map(TokenScope, grant.scopes))
    actor = Actor(ActorKind.GRANT, grant.id, grant.name)
    return Principal(grant.owner, actor, scopes, grant_id=grant.id)


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
            "size_missing", "This upload grant limits sizes: say first how many bytes the file has."
        )
    if limits and size_bytes is not None and size_bytes > min(limits):
        raise PayloadTooLarge(
            "file_too_large",
            f"The file is too large: this upload grant takes at most {min(limits)} bytes a file.",
            max_bytes=min(limits),
        )
    policy.require_declared_type(
        grant.allowed_types, content_type, filename, taker="this upload grant"
    )


def require_pieces(grant: UploadGrant) -> None:
    """Refuse to take a file in pieces that are put together later where all that comes is counted.

    Pieces and the whole would count twice. Raises Forbidden `pieces_not_granted`.
    """
    if grant.max_files is not None or grant.max_bytes is not None:
        raise Forbidden(
            "pieces_not_granted",
            "This upload grant counts files or bytes: send the file as one upload, without "
            "parallel parts.",
        )


def check_detected_type(detected: str, *, grant_id: UUID | None) -> None:
    """Refuse a content that the portal or, from a guest, the grant does not take.

    Raises UnsupportedType `type_not_allowed`.
    """
    policy.check_detected_type(detected)
    if grant_id is not None:
        allowed = get_grant(grant_id).allowed_types
        policy.require_detected_type(allowed, detected, taker="this upload grant")


def require_batch(grant: UploadGrant, batch_id: UUID | None) -> UUID | None:
    """The batch that a guest's file joins: the grant's, whether it is named or not.

    Raises NotFound `batch_not_found` for another.
    """
    if batch_id not in (None, grant.batch_id):
        raise selectors.batch_not_found()
    return grant.batch_id


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
        raise Unauthenticated("grant_expired", f"This upload grant has expired. {_ASK}")


def _require_room(grant: UploadGrant | None, *, size_bytes: int) -> None:
    if grant is None:
        raise _revoked()
    _require_living(grant)
    if grant.max_files is not None and grant.files_begun >= grant.max_files:
        raise Conflict(
            "grant_files_used_up",
            f"All of the {grant.max_files} files that this upload grant takes were sent, or are "
            f"being sent. {_ASK}",
            max_files=grant.max_files,
        )
    left = None if grant.max_bytes is None else grant.max_bytes - grant.bytes_begun
    if left is not None and size_bytes > left:
        raise PayloadTooLarge(
            "grant_bytes_used_up",
            f"The file has {size_bytes} bytes; this upload grant takes {max(left, 0)} more. "
            "Send a smaller file, or ask whoever gave it to you for a new one.",
            max_bytes=max(left, 0),
        )


def _revoked() -> DooritoError:
    return Unauthenticated("grant_revoked", f"This upload grant was revoked. {_ASK}")


def _grant_with(text: str) -> UploadGrant | None:
    if not tokens.looks_valid(text, prefix=PREFIX):
        return None
    grants = UploadGrant.objects.select_related("owner").timed()
    return grants.filter(digest=tokens.digest(text)).first()


# --- Checks of a new grant -----------------------------------------------------------------------


def _checked_scopes(scopes: Collection[str], *, principal: Principal) -> list[str]:
    if principal.is_guest:
        raise Forbidden("grant_by_guest", "A guest cannot let others send files.")
    known = [scope.value for scope in UploadGrant.SCOPES]
    unknown = set(scopes).difference(known)
    if unknown or not scopes:
        named = ", ".join(sorted(unknown)) or "none"
        raise InvalidInput(
            "scope_unknown", f"A grant's scopes can be {', '.join(known)}; given: {named}."
        )
    missing = sorted(set(scopes).difference(principal.scopes))
    if missing:
        raise Forbidden(
            "scope_missing",
            f"You cannot grant what your token may not do itself: {', '.join(missing)}.",
        )
    return [scope for scope in known if scope in scopes]


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise InvalidInput("grant_name_invalid", "Name the grant with 1 to 100 characters.")
    return name


def _checked_limit(field: str, limit: int | None, *, most: int) -> int | None:
    if limit is not None and not 1 <= limit <= most:
        raise InvalidInput(
            "grant_limit_invalid", f"{field} must be from 1 to {most}, or none.", field=field
        )
    return limit


def _checked_types(types: Collection[str]) -> list[str]:
    patterns = list(dict.fromkeys(pattern.strip().lower() for pattern in types))
    if len(patterns) > MAX_TYPES:
        raise InvalidInput("grant_type_invalid", f"At most {MAX_TYPES} types can be named.")
    for pattern in patterns:
        if not content_types.is_pattern(pattern):
            raise InvalidInput(
                "grant_type_invalid",
                f"{pattern[:100]} is not a content type such as application/pdf or image/*.",
            )
    return patterns


def _open_batch(batch_id: UUID | None, *, principal: Principal) -> UUID | None:
    if batch_id is None:
        return None
    batch = selectors.get_batch(principal=principal, batch_id=batch_id)
    if batch.closed_at is not None:
        raise Conflict("batch_closed", "The batch is closed; choose one that takes more files.")
    return batch.id


def _checked_expiry(expires_at: datetime | None) -> datetime | None:
    if expires_at is not None and expires_at <= database_now():
        raise InvalidInput("grant_expiry_past", "The grant's expiry must lie in the future.")
    return expires_at
