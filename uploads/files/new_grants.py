"""What an owner may grant, and what of it makes no sense."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from accounts import link_passwords
from accounts.models import TokenScope
from accounts.principals import Principal
from common import content_types, lengths
from common.db import database_now
from common.errors import Conflict, Forbidden, InvalidInput, NotFound
from uploads import selectors
from uploads.models import UploadGrant, Workflow

MAX_TYPES = 50
_MOST_FILES = 2**31 - 1
_MOST_BYTES = 2**63 - 1
_COLUMNS = {"password": "password_hash"}


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
    message: str = ""  # to the guest
    password: str = ""  # that the guest is asked for
    workflow: str = ""  # the slug of one, started on each file
    mails_owner: bool = False  # of what came


def checked(values: Mapping[str, Any], *, principal: Principal) -> dict[str, Any]:
    """The columns of its row for values that are named as those of a NewGrant.

    Raises Forbidden `grant_by_guest` or `scope_missing` (nobody grants more than they may),
    InvalidInput `grant_name_invalid`, `grant_message_invalid`, `scope_unknown`,
    `grant_limit_invalid`, `grant_type_invalid`, `grant_expiry_past` or `link_password_invalid`,
    NotFound `batch_not_found` or `workflow_not_found`, Conflict `batch_closed`.
    """
    if principal.is_guest:
        raise Forbidden("grant_by_guest", "A guest cannot let others send files.")
    checks: dict[str, Callable[[Any], Any]] = {
        "name": _checked_name,
        "scopes": partial(_checked_scopes, principal=principal),
        "max_files": partial(_checked_limit, "max_files", most=_MOST_FILES),
        "max_bytes": partial(_checked_limit, "max_bytes", most=_MOST_BYTES),
        "max_file_size": partial(_checked_limit, "max_file_size", most=_MOST_BYTES),
        "allowed_types": _checked_types,
        "batch_id": partial(_open_batch, principal=principal),
        "expires_at": partial(checked_expiry, code="grant_expiry_past"),
        "message": _checked_message,
        "password": link_passwords.hashed,
        "workflow": partial(_active_workflow, principal=principal),
        "mails_owner": bool,
    }
    return {_COLUMNS.get(name, name): checks[name](value) for name, value in values.items()}


def _checked_scopes(scopes: Collection[str], *, principal: Principal) -> list[str]:
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
    if not 1 <= len(name) <= lengths.LINK_NAME or not name.isprintable():
        raise InvalidInput(
            "grant_name_invalid", f"Name the link with 1 to {lengths.LINK_NAME} characters."
        )
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


def _checked_message(message: str) -> str:
    message = message.replace("\r\n", "\n").strip()
    if len(message) > lengths.LINK_MESSAGE or "\x00" in message:
        raise InvalidInput(
            "grant_message_invalid",
            f"The message to the guest may have {lengths.LINK_MESSAGE} characters.",
        )
    return message


def _active_workflow(slug: str, *, principal: Principal) -> Workflow | None:
    if not slug:
        return None
    if TokenScope.WORKFLOWS not in principal.scopes:
        raise Forbidden(
            "scope_missing", "Your token may not start workflows, so its links cannot either."
        )
    workflow = Workflow.objects.filter(slug=slug, is_active=True).first()
    if workflow is None:
        raise NotFound("workflow_not_found", "There is no active workflow with this slug.")
    return workflow


def checked_expiry(expires_at: datetime | None, *, code: str) -> datetime | None:
    """Raises InvalidInput with the `code` for a time that is past."""
    if expires_at is not None and expires_at <= database_now():
        raise InvalidInput(code, "The link's expiry must lie in the future.")
    return expires_at
