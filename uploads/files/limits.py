"""Quotas: how much an account may take up at a time.

Exact however many requests come at once: what an account begins is charged first, and accounts
that have a limit then take turns until they commit, so that each sees what the others charged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import connection

from accounts.principals import Principal
from common.errors import DooritoError, Forbidden, InsufficientStorage, TooManyRequests
from uploads.files.usage import Charge, Usage, usage_of
from uploads.models import AccountLimits

_TURNS = 0x71756F74  # of the advisory lock, beside a hash of the owner
_RETRY_SECONDS = 60


@dataclass(frozen=True)
class Limits:
    """None: no limit. The fields are those of Usage."""

    size_bytes: int | None
    files: int | None
    open_sessions: int | None


def limits_of(owner_id: UUID) -> Limits:
    own = AccountLimits.objects.filter(owner=owner_id)
    return _effective(own.values_list("size_bytes", "files", "open_sessions").first())


@dataclass(frozen=True)
class AccountUsage:
    used: Usage
    limits: Limits


def account_usage(*, principal: Principal) -> AccountUsage:
    """An account's usage and limits. Raises Forbidden `usage_not_shown` for guests."""
    if principal.is_guest:
        raise Forbidden("usage_not_shown", "A guest does not see what the account takes up.")
    return AccountUsage(usage_of(principal.owner.id), limits_of(principal.owner.id))


def enforce(charge: Charge, *, for_guest: bool) -> None:
    """Refuse what was just charged beyond a limit, in the transaction that charged it.

    Raises InsufficientStorage `quota_bytes` or `quota_files`, TooManyRequests `quota_uploads`.
    """
    limits = _effective(charge.limits)
    if charge.owner_id is None or not any(_limited(limits, charge.charged)):
        return
    with connection.cursor() as cursor:
        values: list[int | str] = [_TURNS, str(charge.owner_id)]
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", values)
    before = usage_of(charge.owner_id) - charge.charged
    _require_within(limits, before, charge.charged, for_guest=for_guest)


def require_room(owner_id: UUID, *, size_bytes: int, for_guest: bool) -> None:
    """Refuse what `enforce` would refuse now, before space is set aside for an upload."""
    limits, wanted = limits_of(owner_id), Usage(size_bytes, files=1, open_sessions=1)
    if any(_limited(limits, wanted)):
        _require_within(limits, usage_of(owner_id), wanted, for_guest=for_guest)


def _effective(own: Sequence[int | None] | None) -> Limits:
    defaults = (
        settings.PORTAL_QUOTA_BYTES,
        settings.PORTAL_QUOTA_FILES,
        settings.PORTAL_QUOTA_UPLOADS,
    )
    chosen = (
        default if limit is None else limit
        for limit, default in zip(own or (None, None, None), defaults, strict=True)
    )
    return Limits(*(limit or None for limit in chosen))


def _limited(limits: Limits, wanted: Usage) -> Iterator[tuple[str, int]]:
    """The wanted fields that have a limit, each with its limit."""
    for name in ("size_bytes", "files", "open_sessions"):
        limit: int | None = getattr(limits, name)
        if limit is not None and getattr(wanted, name) > 0:
            yield name, limit


def _require_within(limits: Limits, used: Usage, wanted: Usage, *, for_guest: bool) -> None:
    for name, limit in _limited(limits, wanted):
        if getattr(used, name) + getattr(wanted, name) > limit:
            raise _for_guest() if for_guest else _exceeded(name, limit, used, wanted)


def _exceeded(name: str, limit: int, used: Usage, wanted: Usage) -> DooritoError:
    numbers = {"limit": limit, "used": max(getattr(used, name), 0)}
    if name == "open_sessions":
        return TooManyRequests(
            "quota_uploads",
            f"Your account may have {limit} uploads under way at once, and has {numbers['used']}. "
            "Finish or cancel one of them, and try again.",
            retry_after=_RETRY_SECONDS,
            **numbers,
        )
    what_to_do = "Delete files that are not needed, or ask an administrator for more."
    if name == "files":
        return InsufficientStorage(
            "quota_files",
            f"Your account may keep {limit} files at a time, and has {numbers['used']}. "
            f"{what_to_do}",
            **numbers,
        )
    return InsufficientStorage(
        "quota_bytes",
        f"Your account may keep {limit} bytes at a time and has {numbers['used']}; the file has "
        f"{wanted.size_bytes}. {what_to_do}",
        **numbers,
    )


def _for_guest() -> DooritoError:
    return InsufficientStorage(
        "quota_of_owner",
        "The account that these files go to has no room for this one now. Tell its owner, or try "
        "again later.",
    )
