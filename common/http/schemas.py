"""What JSON bodies and answers of all doors share."""

from typing import Any

from ninja import Schema
from pydantic import BaseModel, ConfigDict, model_validator


class ErrorOut(Schema):
    code: str
    message: str


class RequestBody(BaseModel):
    """A JSON object that a request sends. What nobody reads is refused, not lost."""

    model_config = ConfigDict(extra="forbid")


class BodyWithNulls(RequestBody):
    """One in which null is the default: many clients write it for what they do not give."""

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
