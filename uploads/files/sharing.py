"""Share links: whoever has one downloads a file without an account, while the file is stored.

Unlike the signed links that events carry (`uploads.files.links`), each is a row: it can be ended
before its file, and says how often it was used.
"""

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from accounts import link_passwords, tokens
from accounts.principals import Principal
from common import audit
from common.errors import Conflict, Forbidden, Gone, NotFound
from common.models import TimeStampedQuerySet
from uploads import selectors
from uploads.files import lifecycle
from uploads.files.new_grants import checked_expiry
from uploads.models import IngestFile, ShareLink

PREFIX = "drs_"


def create_share(
    *, principal: Principal, file_id: UUID, expires_at: datetime | None = None, password: str = ""
) -> tuple[ShareLink, str]:
    """A new link and its token's text, which exists nowhere else afterwards.

    Raises NotFound, Conflict `file_not_stored` or `too_many_links`, Gone `file_consumed` or
    `file_deleted`, Forbidden `share_by_guest`, InvalidInput `share_expiry_past` or
    `link_password_invalid`.
    """
    if principal.is_guest:
        raise Forbidden("share_by_guest", "A guest cannot share files.")
    file = selectors.get_own_file(principal=principal, file_id=file_id)
    lifecycle.require_readable(file)
    text = tokens.generate(prefix=PREFIX)
    share = ShareLink(
        file=file,
        created_by=principal.owner,
        hint=tokens.hint(text),
        digest=tokens.digest(text),
        password_hash=link_passwords.hashed(password),
        expires_at=checked_expiry(expires_at, code="share_expiry_past"),
    )
    with transaction.atomic():
        IngestFile.objects.select_for_update(no_key=True).get(id=file.id)  # so that they count
        if _living(ShareLink.objects.filter(file=file)).count() >= selectors.MAX_SHARES:
            raise Conflict(
                "too_many_links",
                f"The file has {selectors.MAX_SHARES} share links already. Revoke one of them.",
            )
        share.save(force_insert=True)
        _record("created", share)
    return share, text


def revoke_share(*, principal: Principal, file_id: UUID, share_id: UUID) -> None:
    """End a link of a file of the owner's. Repeating it changes nothing.

    Raises NotFound `share_not_found`.
    """
    file = selectors.get_own_file(principal=principal, file_id=file_id)
    share = ShareLink.objects.filter(id=share_id, file=file).first()
    if share is None or principal.is_guest:
        raise NotFound("share_not_found", "There is no such share link.")
    revoke(ShareLink.objects.filter(id=share.id))


def revoke(selection: QuerySet[ShareLink]) -> int:
    """End the links of a selection that still live; how many did."""
    with transaction.atomic():
        unrevoked = selection.filter(revoked_at=None).select_related("file")
        shares = list(unrevoked.select_for_update(of=("self",)).order_by("id"))
        for share in shares:
            _record("revoked", share)
        return ShareLink.objects.filter(id__in=[share.id for share in shares]).update(
            revoked_at=Now()
        )


def link_of(text: str) -> str:
    """The address of the page that a share link's token opens."""
    return f"{settings.PUBLIC_URL}/share/{text}/"


def opened(text: str) -> ShareLink:
    """The link that a token opens, with its file; one query.

    Raises NotFound `share_unknown`, Gone `share_revoked` or `share_expired`, and what
    `lifecycle.require_readable` raises.
    """
    share = _with_text(text)
    if share is None:
        raise NotFound("share_unknown", "This link is not known. Check that it was copied whole.")
    if share.revoked_at is not None or not share.created_by.is_active:
        raise Gone("share_revoked", "This link was revoked. Ask whoever gave it to you.")
    if share.expires_at is not None and share.expires_at <= share.read_at:
        raise Gone("share_expired", "This link has expired. Ask whoever gave it to you.")
    share.file.read_at = share.read_at
    lifecycle.require_readable(share.file)
    return share


def count_download(share: ShareLink) -> None:
    """Raises Gone `share_revoked` if the link has ended meanwhile."""
    counted = _living(ShareLink.objects.filter(id=share.id)).change(
        downloads=F("downloads") + 1, last_used_at=Now()
    )
    if not counted:
        raise Gone("share_revoked", "This link has just ended. Ask whoever gave it to you.")


def _with_text(text: str) -> ShareLink | None:
    if not tokens.looks_valid(text, prefix=PREFIX):
        return None
    shares = ShareLink.objects.select_related("file", "created_by").timed()
    return shares.filter(digest=tokens.digest(text)).first()


def _living(shares: TimeStampedQuerySet) -> TimeStampedQuerySet:
    return shares.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), revoked_at=None)


def _record(action: str, share: ShareLink) -> None:
    label = f"{share.hint}… of {share.file.original_filename}"
    audit.record(f"share.{action}", subject="share", subject_id=share.id, label=label)
