"""Signed links to a file's bytes: whoever has one may read, without an account.

A file link is good while the file is stored; a claim link, given to the one consumer, while the
consumed file's bytes are kept. The signature covers the file's id and the kind of link; how long
it is good follows from the file's row, so it never outlives the file.
"""

from enum import StrEnum
from uuid import UUID

from django.conf import settings
from django.core.signing import BadSignature, Signer

from common.errors import NotFound


class LinkKind(StrEnum):
    FILE = "f"
    CLAIM = "c"


def link(kind: LinkKind, file_id: UUID) -> str:
    """Absolute URL of the file's bytes."""
    return f"{settings.PUBLIC_URL}/{kind}/{_signer(kind).sign(file_id.hex)}"


def file_id_of(kind: LinkKind, token: str) -> UUID:
    """Raises NotFound `link_invalid` for a token that this portal did not sign."""
    try:
        return UUID(_signer(kind).unsign(token))
    except (BadSignature, ValueError) as exc:
        raise NotFound("link_invalid", "This link is not valid.") from exc


def _signer(kind: LinkKind) -> Signer:
    return Signer(salt=f"uploads.link.{kind}")
