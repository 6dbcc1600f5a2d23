"""What clients of OpenAI ask for. Members that mean nothing here are left aside, as there."""

from typing import Any, Literal
from uuid import UUID

import orjson
from django.conf import settings
from django.http import HttpRequest
from pydantic import BaseModel, Field, StrictInt, ValidationError

from common.errors import InvalidInput, PayloadTooLarge
from common.http.sized import whole_body
from uploads.openai.objects import PART, key_of
from uploads.receiving.requests import UploadRequest

PURPOSES = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
_DAY = 86_400


class ExpiresAfter(BaseModel):
    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=30 * _DAY)


class Purposeful(BaseModel):
    """What a file and an upload have in common."""

    purpose: PURPOSES
    expires_after: ExpiresAfter | None = None

    @property
    def keep_seconds(self) -> int | None:
        return self.expires_after.seconds if self.expires_after else None


class NewUpload(Purposeful):
    bytes: StrictInt = Field(ge=0)
    filename: str
    mime_type: str

    def to_request(self) -> UploadRequest:
        """A `mime_type` such as `pdf`, which is none, counts for nothing."""
        return UploadRequest(
            filename=self.filename,
            size_bytes=self.bytes,
            content_type=self.mime_type if "/" in self.mime_type else "",
            metadata={"purpose": self.purpose},
            keep_seconds=self.keep_seconds,
            door="openai",
            door_data={"purpose": self.purpose},
        )


class Completion(BaseModel):
    part_ids: list[str]
    md5: str | None = Field(None, pattern=r"^[0-9a-fA-F]{32}$")

    def order(self) -> list[UUID]:
        """Raises NotFound."""
        return [key_of(PART, part) for part in self.part_ids]


class Listing(BaseModel):
    after: str | None = None
    limit: int = Field(10_000, ge=1, le=10_000)
    order: Literal["asc", "desc"] = "desc"
    purpose: str | None = None


def read_json[T: BaseModel](request: HttpRequest, kind: type[T]) -> T:
    """The body of a call. Raises InvalidInput `invalid_request`, PayloadTooLarge."""
    try:
        values = orjson.loads(whole_body(request, check_size=_check_size) or b"{}")
    except orjson.JSONDecodeError as exc:
        raise InvalidInput("invalid_request", f"The body is no JSON: {exc}.") from exc
    return read(values, kind)


def read[T: BaseModel](values: Any, kind: type[T]) -> T:
    """Raises InvalidInput `invalid_request`, which names the first field that is wrong."""
    try:
        return kind.model_validate(values)
    except ValidationError as exc:
        first = exc.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        said = f"{field}: {first['msg']}." if field else f"{first['msg']}."
        raise InvalidInput("invalid_request", said, field=field) from exc


def read_fields(fields: dict[str, str]) -> Purposeful:
    """Those of a form beside its file, of which objects are written `expires_after[seconds]`."""
    values: dict[str, Any] = {}
    for name, value in fields.items():
        outer, _, inner = name.partition("[")
        if inner:
            values.setdefault(outer, {})[inner.removesuffix("]")] = value
        else:
            values[name] = value
    return read(values, Purposeful)


def _check_size(size: int) -> None:
    if size > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        raise PayloadTooLarge(
            "body_too_large",
            f"Such a body has at most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes.",
        )
