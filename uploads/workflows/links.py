"""Signed links with which external runners report back, each valid for one attempt."""

from uuid import UUID

from django.conf import settings
from django.core.signing import BadSignature, Signer

from common.errors import NotFound


def callback_link(run_id: UUID, lease_id: UUID | None) -> str:
    """Where an external runner reports to, for one attempt of a run."""
    value = f"{run_id.hex}{lease_id.hex if lease_id else ''}"
    return f"{settings.PUBLIC_URL}/api/v1/runs/callback/{_callback_signer().sign(value)}"


def attempt_of(token: str) -> tuple[UUID, UUID]:
    """The run and the lease that a callback link is for. Raises NotFound `link_invalid`."""
    try:
        value = _callback_signer().unsign(token)
        return UUID(value[:32]), UUID(value[32:])
    except (BadSignature, ValueError) as exc:
        raise NotFound("link_invalid", "This link is not valid.") from exc


def _callback_signer() -> Signer:
    return Signer(salt="uploads.run.callback")
