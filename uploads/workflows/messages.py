"""Messages from the process of an attempt to its worker: JSON that the worker validates."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from common import lengths

TRACEBACK_LENGTH = 20_000
OUTPUT_LENGTH = 2**20  # characters; the settings allow at most this


_Warning = Annotated[str, Field(max_length=lengths.RUN_WARNING)]


class _Base(BaseModel):
    model_config = ConfigDict(frozen=True)


class ProgressMade(_Base):
    kind: Literal["progress"] = "progress"
    percent: float | None
    message: Annotated[str, Field(max_length=lengths.PROGRESS)]


class Spent(_Base):
    kind: Literal["spent"] = "spent"
    amount: Annotated[Decimal, Field(ge=0, lt=10**12, max_digits=18, decimal_places=6)]


class Logged(_Base):
    kind: Literal["log"] = "log"
    at: AwareDatetime
    level: Annotated[str, Field(max_length=lengths.LOG_LEVEL)]
    message: Annotated[str, Field(max_length=lengths.LOG_LINE)]


class Completed(_Base):
    """The task succeeded. `file` is the path of the result in the attempt's folder."""

    kind: Literal["completed"] = "completed"
    output_text: Annotated[str, Field(max_length=OUTPUT_LENGTH)]
    is_cut: bool
    file: str | None
    filename: str
    warnings: Annotated[list[_Warning], Field(max_length=lengths.RUN_WARNINGS)] = []


class AwaitingAnswer(_Base):
    """An external runner continues the work; its answer is due within `seconds`."""

    kind: Literal["handed_over"] = "handed_over"
    seconds: Annotated[float, Field(gt=0, le=30 * 86_400)]


class Failed(_Base):
    kind: Literal["failed"] = "failed"
    code: Annotated[str, Field(max_length=lengths.ERROR_CODE)]
    message: Annotated[str, Field(max_length=lengths.ERROR_MESSAGE)]
    traceback: Annotated[str, Field(max_length=TRACEBACK_LENGTH)] = ""
    may_retry: bool = False
    retry_after: float | None = None  # seconds


ProgressMessage = ProgressMade | Spent | Logged
FinalMessage = Completed | AwaitingAnswer | Failed
Message = ProgressMessage | FinalMessage

_message: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def decode(text: bytes) -> Message:
    """Raises ValueError."""
    return _message.validate_json(text)
