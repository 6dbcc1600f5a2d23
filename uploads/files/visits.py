"""Visits: somebody has opened the page of an upload grant, and sends files from there.

The address of the page holds the grant's token. What the page sends with its requests is no cookie
but a pass: signed, good for some hours, for this grant while it lives, and for sending only. So a
visit is no session of the portal, and changes nothing about one.
"""

import hashlib
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from django.core import signing

from accounts.bearers import Credential
from accounts.models import TokenScope
from common.errors import Forbidden, Unauthenticated
from uploads.files import grants
from uploads.models import UploadGrant

PREFIX = "drv_"
LIFETIME = timedelta(hours=12)  # of a pass; the page renews it while it sends
_SALT = "uploads.visit"
_MARK = 16  # characters


def opened(token: str) -> UploadGrant:
    """The grant whose page a token opens. Raises as `grants.guest_of`, and Forbidden
    `scope_missing` where nothing may be sent with it.
    """
    grant = grants.living_grant(token)
    if TokenScope.UPLOAD not in grant.scopes:
        raise Forbidden("scope_missing", "This link is not for sending files.")
    return grant


def pass_for(grant: UploadGrant) -> str:
    """For whoever has opened the page, and has told the password if there is one."""
    values = [grant.id.hex, _mark(grant)]
    return PREFIX + signing.dumps(values, salt=_SALT)


def visitor_of(text: str) -> Credential:
    """Who holds this pass, for the authenticator; one query.

    Raises Unauthenticated `visit_over`, and what `grants.guest_of` raises.
    """
    try:
        key, mark = signing.loads(text.removeprefix(PREFIX), salt=_SALT, max_age=LIFETIME)
    except signing.SignatureExpired as exc:
        raise Unauthenticated(
            "visit_over", "This page was open for long. Load it again to go on."
        ) from exc
    except signing.BadSignature as exc:
        raise grants.unknown() from exc
    grant = grants.living_grant_with_id(UUID(key))
    if _mark(grant) != mark:  # another token, or password, took the place of what was told
        raise grants.unknown()
    credential = grants.credential_of(grant)
    sender = replace(credential.principal, scopes=frozenset({TokenScope.UPLOAD}))
    return replace(credential, principal=sender)


def _mark(grant: UploadGrant) -> str:
    """Of what opened the page."""
    told = f"{grant.digest} {grant.password_hash}"
    return hashlib.sha256(told.encode()).hexdigest()[:_MARK]
