"""What a client asks for before it sends a file."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import UUID

from accounts.principals import Principal
from common.errors import InvalidInput
from uploads import policy
from uploads.files import grants
from uploads.files.acceptance import checks
from uploads.files.states import NewFile
from uploads.models import PartOrder, Transfer


@dataclass(frozen=True)
class UploadRequest:
    """What a client says about a file before sending it. Sizes in bytes."""

    filename: str
    size_bytes: int | None  # None: to be declared later
    content_type: str = ""
    relative_path: str = ""
    sha256: str = ""
    batch_id: UUID | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    chunk_size_bytes: int | None = None
    part_order: PartOrder = PartOrder.NUMBERED
    transfer: Transfer = Transfer.PORTAL  # where it can be; see `direct.transfer_for`
    keep_seconds: int | None = None  # at least, once it is stored
    is_piece: bool = False  # see `uploads.receiving.concatenating`
    door: str = "api"  # through which it is asked for, and what that has to tell again later
    door_data: dict[str, Any] = field(default_factory=dict)

    def checked(self) -> "UploadRequest":
        """The request in normal form.

        Raises InvalidInput, PayloadTooLarge, or UnsupportedType `type_not_allowed` for what is
        plainly none of the allowed types.
        """
        filename = policy.check_filename(self.filename)
        content_type = policy.check_content_type(self.content_type)
        size_bytes = None if self.size_bytes is None else policy.check_size(self.size_bytes)
        if size_bytes is None and self.part_order != PartOrder.APPENDED:
            raise InvalidInput("size_missing", "Say how many bytes the file has.")
        policy.check_declared_type(content_type, filename)
        if size_bytes is not None:
            checks.require_checkable(size_bytes)
            policy.chunk_size_for(size_bytes, self.chunk_size_bytes)
        return replace(
            self,
            filename=filename,
            size_bytes=size_bytes,
            content_type=content_type,
            relative_path=policy.check_relative_path(self.relative_path),
            sha256=policy.check_sha256(self.sha256),
            metadata=policy.check_metadata(self.metadata),
            idempotency_key=policy.check_idempotency_key(self.idempotency_key),
        )

    def new_file(self, principal: Principal, file_id: UUID) -> NewFile:
        """The row that begins with it. A size that is still to be declared counts as 0 bytes."""
        return NewFile(
            id=file_id,
            owner=principal.owner,
            filename=self.filename,
            size_bytes=self.size_bytes or 0,
            content_type=self.content_type,
            relative_path=self.relative_path,
            batch_id=self.batch_id,
            grant_id=principal.grant_id,
            metadata=self.metadata,
            is_piece=self.is_piece,
        )

    def under_grant(self, principal: Principal) -> "UploadRequest":
        """The request as the grant of a guest has it: its limits and its batch.

        Raises PayloadTooLarge, UnsupportedType `type_not_allowed`, NotFound `batch_not_found`,
        Forbidden `pieces_not_granted`.
        """
        if principal.grant_id is None:
            return self
        grant = grants.get_grant(principal.grant_id)
        grants.check_file(
            grant,
            filename=self.filename,
            content_type=self.content_type,
            size_bytes=self.size_bytes,
        )
        if self.is_piece:
            grants.require_pieces(grant)
            return self
        return replace(self, batch_id=grants.require_batch(grant, self.batch_id))

    def digest(self) -> str:
        """Tells a repeat of what was asked from another use of its idempotency key."""
        told = asdict(self)
        del told["door"], told["door_data"]
        if self.part_order == PartOrder.NUMBERED:
            del told["part_order"]  # as it was before there were others: keys are kept for long
        if self.transfer == Transfer.PORTAL:
            del told["transfer"]
        if self.keep_seconds is None:
            del told["keep_seconds"]  # likewise
        if not self.is_piece:
            del told["is_piece"]  # likewise
        values = json.dumps(told, sort_keys=True, default=str, ensure_ascii=True)
        return hashlib.sha256(values.encode()).hexdigest()
