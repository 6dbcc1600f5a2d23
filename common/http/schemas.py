"""Base classes and types of JSON bodies and answers."""

import re
from typing import Annotated, Any

from ninja import Schema
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, model_validator

_DATE_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def _require_text(value: Any) -> Any:
    """Refuse numbers, which pydantic would read as seconds since 1970."""
    if not isinstance(value, str) or not _DATE_AND_TIME.match(value):
        raise ValueError("must be a date and time such as 2026-01-31T12:00:00Z")
    return value


# A moment that a request names (RFC 3339).
Moment = Annotated[AwareDatetime, BeforeValidator(_require_text)]


# What the description of the API says of a body that is a file's bytes.
BINARY = {"type": "string", "format": "binary"}


class ErrorOut(Schema):
    code: str
    message: str


class RequestBody(BaseModel):
    """A JSON object in a request. Unknown members are refused, not ignored."""

    model_config = ConfigDict(extra="forbid")


class BodyWithNulls(RequestBody):
    """A body in which null means the default: many clients send null for missing values."""

    @model_validator(mode="before")
    @classmethod
    def _take_defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {
            name: cls._default(name) if value is None else value for name, value in values.items()
        }

    @classmethod
    def _default(cls, name: str) -> Any:
        field = cls.model_fields.get(name)
        if field is None or field.is_required():
            return None  # to be refused
        return field.get_default(call_default_factory=True)
