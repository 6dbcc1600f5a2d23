"""What JSON bodies and answers of all doors share."""

from ninja import Schema
from pydantic import BaseModel, ConfigDict


class ErrorOut(Schema):
    code: str
    message: str


class RequestBody(BaseModel):
    """A JSON object that a request sends. What nobody reads is refused, not lost."""

    model_config = ConfigDict(extra="forbid")
